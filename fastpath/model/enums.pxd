# The enumerations of the fast path. Values equal those of the wire contract (proto/tradewind/v1): tests compare them.

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
    COMMAND_SET_REFERENCE_PRICES = 25    # of an instrument: mark price (price) and index price (trigger_price), or valuation price (price); 0: none; until expire_ns
    COMMAND_SUCCEED_INSTRUMENT = 26  # instrument takes over from all others of its name: their orders end, their positions become its
    COMMAND_MIRROR_BEGIN = 30        # a new book snapshot of a venue's book follows; flags = MirrorState
    COMMAND_MIRROR_LEVEL = 31        # side, price, qty displayed by the venue
    COMMAND_MIRROR_TRADE = 32        # a trade printed at the venue: side = aggressor, price, qty (0: what it fills is known already)
    COMMAND_MIRROR_END = 33
    COMMAND_MIRROR_CANCELED = 34     # of display_qty at side and price, qty was canceled: the queue there moves up

cpdef enum ReferenceKind:        # reference_prices_t.sets: which prices it sets, the others stay
    REFERENCE_MARK_AND_INDEX = 0     # those that triggers watch
    REFERENCE_VALUATION = 1          # the one that positions are valued by: no trigger watches it

cpdef enum MirrorState:
    MIRROR_STALE = 0                 # no book snapshot to trust: takers are refused, nothing fills
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
