# Number types, and the packed records that go into the fast path and come out of it.
#
# A *command* goes in, *events* come out. Both are flat little-endian records of a fixed size, so a batch is one contiguous
# buffer that C reads without touching a Python object and that the journal can store. Python reads and writes them by the
# layouts that `structs.pyx` exports. Enumerations are in `enums.pxd`.

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
