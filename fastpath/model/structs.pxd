# The vocabulary of the fast path: number types, enumerations and the packed records that cross its border.
#
# Design: a *command* goes in, *events* come out. Both are flat little-endian records of a fixed size, so a batch is one
# contiguous buffer that C reads without touching a Python object, that the journal can store, and that `struct`
# or numpy can read in Python. Enumeration values equal those of the wire contract (proto/tradewind/v1): tests compare them.

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

ctypedef int64_t price_t      # ticks of the instrument
ctypedef int64_t qty_t        # lots of the instrument
ctypedef int64_t ts_t         # nanoseconds since the Unix epoch, UTC

cdef extern from *:
    """
    typedef __int128 tw_money;
    """
    # Smallest units of an asset, or of an instrument's quote money. In records it takes two words: see arith.pxd.
    ctypedef long long money_t "tw_money"

cpdef enum Side:
    SIDE_UNSPECIFIED = 0
    SIDE_BUY = 1
    SIDE_SELL = 2

cpdef enum OrderType:
    ORDER_TYPE_UNSPECIFIED = 0
    ORDER_TYPE_LIMIT = 1
    ORDER_TYPE_MARKET = 2
    ORDER_TYPE_MARKET_TO_LIMIT = 3
    ORDER_TYPE_STOP = 4
    ORDER_TYPE_STOP_LIMIT = 5
    ORDER_TYPE_TAKE_PROFIT = 6
    ORDER_TYPE_TAKE_PROFIT_LIMIT = 7
    ORDER_TYPE_TRAILING_STOP = 8
    ORDER_TYPE_TRAILING_STOP_LIMIT = 9
    ORDER_TYPE_ICEBERG = 10
    ORDER_TYPE_HIDDEN = 11

cpdef enum TimeInForce:
    TIME_IN_FORCE_UNSPECIFIED = 0
    TIME_IN_FORCE_GTC = 1
    TIME_IN_FORCE_IOC = 2
    TIME_IN_FORCE_FOK = 3
    TIME_IN_FORCE_GTD = 4
    TIME_IN_FORCE_DAY = 5

cpdef enum OrderStatus:
    ORDER_STATUS_UNSPECIFIED = 0
    ORDER_STATUS_NEW = 1
    ORDER_STATUS_PARTIALLY_FILLED = 2
    ORDER_STATUS_FILLED = 3
    ORDER_STATUS_CANCELED = 4
    ORDER_STATUS_REJECTED = 5
    ORDER_STATUS_EXPIRED = 6
    ORDER_STATUS_PENDING_NEW = 7
    ORDER_STATUS_PENDING_CANCEL = 8
    ORDER_STATUS_PENDING_REPLACE = 9
    ORDER_STATUS_PENDING_UNKNOWN = 10

cpdef enum Liquidity:
    LIQUIDITY_UNSPECIFIED = 0
    LIQUIDITY_MAKER = 1
    LIQUIDITY_TAKER = 2

cpdef enum TradingStatus:
    TRADING_STATUS_UNSPECIFIED = 0
    TRADING_STATUS_OPEN = 1
    TRADING_STATUS_HALTED = 2
    TRADING_STATUS_CANCEL_ONLY = 3
    TRADING_STATUS_REDUCE_ONLY = 4

cpdef enum AccountMode:
    ACCOUNT_MODE_UNSPECIFIED = 0
    ACCOUNT_MODE_LIVE = 1
    ACCOUNT_MODE_PAPER = 2
    ACCOUNT_MODE_SIMULATION = 3

cpdef enum SelfTradePrevention:
    SELF_TRADE_PREVENTION_UNSPECIFIED = 0
    SELF_TRADE_PREVENTION_NONE = 1
    SELF_TRADE_PREVENTION_CANCEL_NEWEST = 2
    SELF_TRADE_PREVENTION_CANCEL_OLDEST = 3
    SELF_TRADE_PREVENTION_CANCEL_BOTH = 4
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL = 5

cpdef enum TriggerSource:
    TRIGGER_SOURCE_UNSPECIFIED = 0
    TRIGGER_SOURCE_LAST = 1
    TRIGGER_SOURCE_BID_ASK = 2
    TRIGGER_SOURCE_MID = 3
    TRIGGER_SOURCE_MARK = 4
    TRIGGER_SOURCE_INDEX = 5

cpdef enum TrailingUnit:
    TRAILING_UNIT_UNSPECIFIED = 0
    TRAILING_UNIT_TICKS = 1
    TRAILING_UNIT_BPS = 2

cpdef enum LinkType:
    LINK_TYPE_UNSPECIFIED = 0
    LINK_TYPE_OCO = 1
    LINK_TYPE_OTO = 2
    LINK_TYPE_BRACKET = 3

cpdef enum PaperModel:           # when orders that rest at a mirrored venue fill
    PAPER_MODEL_UNSPECIFIED = 0  # as QUEUE
    PAPER_MODEL_OPTIMISTIC = 1   # first in the queue: every trade at their price is theirs
    PAPER_MODEL_QUEUE = 2        # behind what was displayed when they came, as far as it is still there
    PAPER_MODEL_PESSIMISTIC = 3  # last in the queue: only when the market trades through their price

cpdef enum OrderFlag:            # bit set in command_t.flags and event_t.flags
    ORDER_FLAG_POST_ONLY = 1
    ORDER_FLAG_POST_ONLY_SLIDE = 2
    ORDER_FLAG_REDUCE_ONLY = 4
    ORDER_FLAG_CLOSE_POSITION = 8
    ORDER_FLAG_QUOTE_QTY = 16        # command_t.amount is the quote money to spend; qty is 0
    ORDER_FLAG_CANCEL_ON_DISCONNECT = 32
    ORDER_FLAG_PROTECTED = 64        # a MARKET order whose price field bounds it
    ORDER_FLAG_WAITING = 128         # events only: the order waits for its trigger, its parent or its list, or is on its way
    ORDER_FLAG_CHANGE_PENDING = 256  # events only: a cancel or an amendment is on its way to its venue

cpdef enum RejectReason:
    REJECT_REASON_UNSPECIFIED = 0
    REJECT_REASON_UNSUPPORTED_ORDER_TYPE = 1
    REJECT_REASON_UNSUPPORTED_TIME_IN_FORCE = 2
    REJECT_REASON_INSTRUMENT_NOT_FOUND = 3
    REJECT_REASON_INSTRUMENT_NOT_TRADING = 4
    REJECT_REASON_PRICE_NOT_ON_TICK = 5
    REJECT_REASON_QTY_NOT_ON_LOT = 6
    REJECT_REASON_QTY_BELOW_MIN = 7
    REJECT_REASON_QTY_ABOVE_MAX = 8
    REJECT_REASON_NOTIONAL_BELOW_MIN = 9
    REJECT_REASON_NOTIONAL_ABOVE_MAX = 10
    REJECT_REASON_PRICE_COLLAR = 11
    REJECT_REASON_STALE_MARKET_DATA = 12
    REJECT_REASON_NO_LIQUIDITY = 13
    REJECT_REASON_SLIPPAGE_LIMIT = 14
    REJECT_REASON_WOULD_TAKE_LIQUIDITY = 15
    REJECT_REASON_FOK_NOT_FILLABLE = 16
    REJECT_REASON_SELF_TRADE = 17
    REJECT_REASON_REDUCE_ONLY_VIOLATION = 18
    REJECT_REASON_INSUFFICIENT_BALANCE = 19
    REJECT_REASON_INSUFFICIENT_MARGIN = 20
    REJECT_REASON_LEVERAGE_LIMIT = 21
    REJECT_REASON_POSITION_LIMIT = 22
    REJECT_REASON_EXPOSURE_LIMIT = 23
    REJECT_REASON_CONCENTRATION_LIMIT = 24
    REJECT_REASON_OPEN_ORDER_LIMIT = 25
    REJECT_REASON_ORDER_RATE_LIMIT = 26
    REJECT_REASON_DAILY_LOSS_LIMIT = 27
    REJECT_REASON_DRAWDOWN_LIMIT = 28
    REJECT_REASON_VAR_LIMIT = 29
    REJECT_REASON_TRADING_HALTED = 30
    REJECT_REASON_TRADING_REDUCE_ONLY = 31
    REJECT_REASON_VENUE_UNAVAILABLE = 32
    REJECT_REASON_VENUE_RATE_BUDGET = 33
    REJECT_REASON_VENUE_REJECTED = 34
    REJECT_REASON_CLIENT_ORDER_ID_CONFLICT = 35
    REJECT_REASON_EXPIRE_TIME_IN_PAST = 36
    REJECT_REASON_RECONCILING = 37
    REJECT_REASON_MIN_QTY_NOT_FILLABLE = 38
    REJECT_REASON_ORDER_NOT_FOUND = 39
    REJECT_REASON_ORDER_NOT_OPEN = 40
    REJECT_REASON_ACCOUNT_NOT_FOUND = 41
    REJECT_REASON_ASSET_NOT_FOUND = 42
    REJECT_REASON_AMOUNT_OVERFLOW = 43
    REJECT_REASON_CAPACITY = 44            # a bound of the engine's memory is reached
    REJECT_REASON_INVALID_COMMAND = 45     # a field is out of its domain; the edge should have caught it
    REJECT_REASON_ACCOUNT_MODE = 46        # this account may not trade on this kind of instrument
    REJECT_REASON_TRADING_CANCEL_ONLY = 47
    REJECT_REASON_LINKED_ORDER = 48        # an order of the same group was refused
    REJECT_REASON_UNSUPPORTED_TRIGGER_SOURCE = 49    # nobody tells this price of the instrument
    REJECT_REASON_CHANGE_PENDING = 50      # another change of the order is on its way to its venue
    REJECT_REASON_NOT_TRADABLE = 51        # the instrument is market data only; no trading status lifts that
    REJECT_REASON_LINKED_PRICE = 52        # an order of a list would trade at once, or with another of it, where it should wait

cpdef enum CancelReason:         # why an order left the book unfilled; event_t.cancel_reason
    CANCEL_REASON_UNSPECIFIED = 0
    CANCEL_REASON_REQUESTED = 1
    CANCEL_REASON_IOC_REMAINDER = 2
    CANCEL_REASON_MARKET_REMAINDER = 3
    CANCEL_REASON_SELF_TRADE = 4
    CANCEL_REASON_LINKED_ORDER = 5
    CANCEL_REASON_MASS_CANCEL = 6
    CANCEL_REASON_DISCONNECT = 7
    CANCEL_REASON_TIMER = 8
    CANCEL_REASON_REDUCE_ONLY = 9
    CANCEL_REASON_INSTRUMENT_RETIRED = 10
    CANCEL_REASON_AMENDED_AWAY = 11
    CANCEL_REASON_INSUFFICIENT_BALANCE = 12
    CANCEL_REASON_INSTRUMENT_CHANGED = 13    # its instrument has another tick or lot now
    CANCEL_REASON_AMOUNT_OVERFLOW = 14     # its account cannot hold what it would bring

cpdef enum CommandKind:
    COMMAND_DEFINE_ASSET = 1
    COMMAND_DEFINE_INSTRUMENT = 2
    COMMAND_DEFINE_ACCOUNT = 3
    COMMAND_ADJUST_BALANCE = 4       # amount of asset into (or, negative, out of) account; the other leg is the outside world
    COMMAND_PLACE = 10
    COMMAND_CANCEL = 11
    COMMAND_AMEND = 12
    COMMAND_MASS_CANCEL = 13
    COMMAND_SET_TRADING_STATUS = 20
    COMMAND_TIMER = 21               # time has come to ts_ns: expire what is due
    COMMAND_SESSION_CLOSED = 22      # cancel-on-disconnect of session (0: of all)
    COMMAND_SET_DEADMAN_TIMER = 23   # cancel all orders of account at expire_ns unless set again before; 0: off
    COMMAND_ARRIVALS = 24            # orders and changes on their way to a mirrored venue whose time has come get there
    COMMAND_SET_REFERENCE_PRICES = 25    # of an instrument: mark price (price) and index price (trigger_price), 0: none; until expire_ns
    COMMAND_SUCCEED_INSTRUMENT = 26  # instrument takes over from all others of its name: their orders end, their positions become its
    COMMAND_MIRROR_BEGIN = 30        # a new picture of a venue's book follows; flags = MirrorState
    COMMAND_MIRROR_LEVEL = 31        # side, price, qty displayed by the venue
    COMMAND_MIRROR_TRADE = 32        # a trade printed at the venue: side = aggressor, price, qty (0: what it fills is known already)
    COMMAND_MIRROR_END = 33
    COMMAND_MIRROR_CANCELED = 34     # of display_qty at side and price, qty was canceled: the queue there moves up

cpdef enum MirrorState:
    MIRROR_STALE = 0                 # no picture to trust: takers are refused, nothing fills
    MIRROR_LIVE = 1

cpdef enum EventKind:
    EVENT_REJECTED_COMMAND = 1       # not an order: reason says why nothing changed
    EVENT_ASSET_DEFINED = 2
    EVENT_INSTRUMENT_DEFINED = 3
    EVENT_ACCOUNT_DEFINED = 4
    EVENT_BALANCE_CHANGED = 5
    EVENT_POSITION_CHANGED = 6
    EVENT_ORDER_ACCEPTED = 10
    EVENT_ORDER_REJECTED = 11
    EVENT_ORDER_FILLED = 12          # one fill of one order (two events a trade: maker's, then taker's)
    EVENT_ORDER_CANCELED = 13
    EVENT_ORDER_EXPIRED = 14
    EVENT_ORDER_AMENDED = 15
    EVENT_ORDER_TRIGGERED = 16
    EVENT_ORDER_REPLAYED = 17        # same client order id, same body: the order as it stands
    EVENT_CANCEL_REJECTED = 18
    EVENT_AMEND_REJECTED = 19
    EVENT_TRADING_STATUS_CHANGED = 20
    EVENT_ORDERS_CANCELED = 21       # end of a mass cancel: qty = how many orders, cancel_reason = why
    EVENT_DEADMAN_TIMER_SET = 22     # account, expire_ns
    EVENT_INSTRUMENT_SUCCEEDED = 23  # instrument took over from all others of its name; qty = how many orders that canceled

cdef packed struct command_t:        # 192 bytes; unused fields are 0
    uint64_t seq                     #   0 stamped by the runner, +1 each command
    ts_t     ts_ns                   #   8 stamped by the runner
    uint8_t  kind                    #  16 CommandKind
    uint8_t  side                    #  17
    uint8_t  order_type              #  18
    uint8_t  time_in_force           #  19
    uint32_t flags                   #  20 OrderFlag set (PLACE), MirrorState (MIRROR_BEGIN), TradingStatus (SET_TRADING_STATUS), AccountMode (DEFINE_ACCOUNT)
    uint32_t account                 #  24 dense account number, from 1
    uint32_t instrument              #  28 dense instrument number, from 1
    uint64_t order_id                #  32 the order meant by CANCEL and AMEND (0: by client_order_id)
    price_t  price                   #  40
    qty_t    qty                     #  48
    price_t  trigger_price           #  56
    qty_t    display_qty             #  64
    qty_t    min_qty                 #  72
    int64_t  amount                  #  80 money, low word: ADJUST_BALANCE, quote-quantity market
    ts_t     expire_ns               #  88
    int64_t  trailing_offset         #  96
    uint64_t link_id                 # 104 orders of one group carry the same non-zero id
    uint32_t session                 # 112
    uint32_t stp_group               # 116 0: the account itself
    uint8_t  stp_mode                # 120
    uint8_t  trigger_source          # 121
    uint8_t  trailing_unit           # 122
    uint8_t  link_type               # 123
    uint32_t asset                   # 124 dense asset number, from 1
    char     client_order_id[36]     # 128 zero padded
    uint8_t  link_size               # 164 orders of the group, none of which enters before all have come; 0: each as it comes
    uint8_t  amount_scale            # 165 ADJUST_BALANCE: decimals of a unit of the amount; 0: as the asset was first defined
    uint16_t pad
    uint64_t stp_owner               # 168 whose group stp_group is: orders of other owners are never in it. 0: of those who may use all accounts
    int64_t  amount_high             # 176 high word of the amount
    char     reserved[8]             # 184

cdef packed struct asset_def_t:      # DEFINE_ASSET: the same 192 bytes
    uint64_t seq
    ts_t     ts_ns
    uint8_t  kind
    uint8_t  scale                   #  17 decimals of the smallest unit; a later definition may give more
    uint8_t  first_scale             #  18 those of the first definition; 0 in records of builds whose amounts had 64 bits
    uint8_t  pad
    uint32_t asset                   #  20
    char     name[64]                #  24 zero padded
    char     reserved[104]           #  88

cdef packed struct instrument_def_t: # DEFINE_INSTRUMENT: the same 192 bytes. Sent again, it updates limits and fees
    uint64_t seq
    ts_t     ts_ns
    uint8_t  kind
    uint8_t  mirrored                #  17 1: fills come from a mirrored venue book, 0: our own book
    uint8_t  status                  #  18 TradingStatus
    uint8_t  price_decimals          #  19 decimals shown
    uint32_t instrument              #  20
    uint32_t base_asset              #  24
    uint32_t quote_asset             #  28
    int64_t  base_per_lot            #  32 units of 10**-base_scale of the base asset in one lot
    int64_t  quote_per_tick_lot      #  40 units of quote money (10**-quote_scale) of one tick times one lot
    qty_t    min_qty                 #  48 lots
    qty_t    max_qty                 #  56 lots
    int64_t  min_notional            #  64 units of quote money
    int64_t  maker_fee_ppm           #  72 parts per million of notional, may be negative (rebate)
    int32_t  taker_fee_ppm           #  80
    uint8_t  base_scale              #  84 0: as the base asset was first defined
    uint8_t  quote_scale             #  85 0: as the quote asset was first defined
    uint16_t pad
    char     name[48]                #  88 venue:SYMBOL
    ts_t     latency_in_ns           # 136 mirrored: how long an order takes to the venue
    ts_t     latency_out_ns          # 144 mirrored: how long what happens there takes to us; the mirror is late by it
    char     tick_size[16]           # 152 decimal text, for whoever reads a journal
    char     lot_size[16]            # 168
    uint8_t  asset_class             # 184 spot, perpetual, ...: for names and views, as the contract size
    uint8_t  tradable                # 185 0: takes no orders, whatever its status
    int8_t   contract_exponent       # 186 contract size = contract_mantissa * 10**contract_exponent
    uint8_t  paper_model             # 187 PaperModel
    int32_t  contract_mantissa       # 188

cdef packed struct account_def_t:    # DEFINE_ACCOUNT: the same 192 bytes
    uint64_t seq
    ts_t     ts_ns
    uint8_t  kind
    uint8_t  mode                    #  17 AccountMode
    uint16_t pad
    uint32_t account                 #  20
    char     name[64]                #  24
    char     reserved[104]           #  88

# Money takes two words (arith.money_of): the low one has a field of its own, the high one stands where the kind of event has
# no other use for the field. All high words are 0 unless an amount is beyond int64.
#   order events        cum_notional: position_qty; total (fees): position_cost; fee: realized_pnl
#   BALANCE_CHANGED     total: position_cost; reserved_amount: position_qty; delta: realized_pnl. flags: decimals of a unit
#                       (0, in records of older builds: those of the asset's first definition)
#   POSITION_CHANGED    position_cost: reserved_amount; realized_pnl: delta; total (beyond whole lots): fee. flags: as above
cdef packed struct event_t:          # 256 bytes; unused fields are 0
    uint64_t event_seq               #   0 +1 each event, the sequence of durable streams
    uint64_t command_seq             #   8 the command that caused it
    ts_t     ts_ns                   #  16 the command's time
    uint8_t  kind                    #  24 EventKind
    uint8_t  side                    #  25
    uint8_t  order_type              #  26
    uint8_t  time_in_force           #  27
    uint32_t flags                   #  28
    uint32_t account                 #  32
    uint32_t instrument              #  36
    uint64_t order_id                #  40
    price_t  price                   #  48 limit price
    qty_t    qty                     #  56 order quantity
    qty_t    cum_qty                 #  64
    qty_t    leaves_qty              #  72
    price_t  last_price              #  80 FILLED
    qty_t    last_qty                #  88
    uint64_t counter_order_id        #  96 the other order of the trade (0: the venue)
    uint64_t trade_id                # 104
    int64_t  fee                     # 112 units of quote money, positive = paid
    int64_t  cum_notional            # 120 units of quote money filled so far
    uint8_t  status                  # 128 OrderStatus after this event
    uint8_t  liquidity               # 129
    uint8_t  reject_reason           # 130
    uint8_t  cancel_reason           # 131
    uint32_t asset                   # 132 BALANCE_CHANGED. Order events: TriggerSource | TrailingUnit << 8
    int64_t  total                   # 136 BALANCE_CHANGED: balance after. POSITION_CHANGED: base units beyond whole lots, signed. Order events: fees of the order so far
    int64_t  reserved_amount         # 144 BALANCE_CHANGED: of it reserved for open orders. Order events: trailing_offset
    int64_t  delta                   # 152 BALANCE_CHANGED: change of total. Order events: when it was placed, ns
    int64_t  position_qty            # 160 POSITION_CHANGED: lots, signed
    int64_t  position_cost           # 168 POSITION_CHANGED: quote money paid for the open quantity, signed as the quantity
    int64_t  realized_pnl            # 176 POSITION_CHANGED: quote money, since ever, before fees
    price_t  trigger_price           # 184
    qty_t    display_qty             # 192
    ts_t     expire_ns               # 200
    uint64_t link_id                 # 208
    char     client_order_id[36]     # 216
    uint32_t last_of_command         # 252 1 on the last event of a command
