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

# Some kinds of command have a struct of their own, below, of the same size; all others are command_t.
cdef packed struct command_t:        # 192 bytes; unused fields are 0
    uint64_t seq                     #   0 stamped by the runner, +1 each command
    ts_t     ts_ns                   #   8 stamped by the runner
    uint8_t  kind                    #  16 CommandKind
    uint8_t  side                    #  17
    uint8_t  order_type              #  18
    uint8_t  time_in_force           #  19
    uint32_t flags                   #  20 PLACE: OrderFlag set
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
    char     client_order_id[36]     # 128 zero padded. ADJUST_BALANCE: the request id
    uint8_t  link_size               # 164 orders of the group, none of which enters before all have come; 0: each as it comes
    uint8_t  amount_scale            # 165 ADJUST_BALANCE: decimals of a unit of the amount; 0: as the asset was first defined
    uint16_t pad
    uint64_t stp_owner               # 168 whose group stp_group is: orders of other owners are never in it. 0: of those who may use all accounts
    int64_t  amount_high             # 176 high word of the amount
    char     unused_end[8]            # 184

cdef packed struct trading_status_t: # SET_TRADING_STATUS: the same 192 bytes
    uint64_t seq
    ts_t     ts_ns
    uint8_t  kind
    uint8_t  pad[3]
    uint32_t trading_status          #  20 TradingStatus
    uint32_t unused
    uint32_t instrument              #  28 0: all
    char     unused_end[160]          #  32

cdef packed struct reference_prices_t:   # SET_REFERENCE_PRICES: the same 192 bytes
    uint64_t seq
    ts_t     ts_ns
    uint8_t  kind
    uint8_t  pad[3]
    uint32_t sets                    #  20 ReferenceKind
    uint32_t unused
    uint32_t instrument              #  28
    uint64_t unused_2                #  32
    price_t  mark_price              #  40 of the kind VALUATION: the valuation price. 0: none
    qty_t    unused_3                #  48
    price_t  index_price             #  56 0: none
    char     unused_4[24]            #  64
    ts_t     until_ns                #  88
    char     unused_end[96]          #  96

cdef packed struct mirror_command_t: # MIRROR_*: the same 192 bytes
    uint64_t seq
    ts_t     ts_ns
    uint8_t  kind
    uint8_t  side                    #  17 of a level; of a trade, the aggressor's
    uint16_t pad
    uint32_t state                   #  20 BEGIN: MirrorState
    uint32_t unused
    uint32_t instrument              #  28
    uint64_t unused_2
    price_t  price                   #  40
    qty_t    qty                     #  48
    price_t  unused_3
    qty_t    displayed               #  64 CANCELED: of which qty was canceled
    char     unused_end[120]          #  72

cdef packed struct asset_def_t:      # DEFINE_ASSET: the same 192 bytes
    uint64_t seq
    ts_t     ts_ns
    uint8_t  kind
    uint8_t  scale                   #  17 decimals of the smallest unit; a later definition may give more
    uint8_t  first_scale             #  18 those of the first definition; 0 in records of builds whose amounts had 64 bits
    uint8_t  pad
    uint32_t asset                   #  20
    char     name[64]                #  24 zero padded
    char     unused_end[104]          #  88

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
    char     unused_end[104]          #  88

# Money takes two words (arith.money_of): one of the plain name and one named `_high`, which is 0 unless the amount is beyond
# int64. Where a field means different things by kind of event it is a union, whose members are named.
cdef union event_detail_t:
    uint32_t flags                   # order events: OrderFlag set
    uint32_t scale                   # BALANCE_CHANGED, POSITION_CHANGED: decimals of a unit; 0 in records of older builds: as first defined
    uint32_t trading_status          # INSTRUMENT_DEFINED, TRADING_STATUS_CHANGED
    uint32_t account_mode            # ACCOUNT_DEFINED

cdef union event_size_t:
    qty_t    qty                     # order events: order quantity
    int64_t  order_count             # ORDERS_CANCELED, INSTRUMENT_SUCCEEDED: how many orders were canceled

cdef union event_money_t:
    int64_t  fee                     # FILLED: units of quote money, positive = paid
    int64_t  rest_high               # POSITION_CHANGED

cdef packed struct order_part_t:     # of order events
    uint8_t  trigger_source          # 132 TriggerSource
    uint8_t  trailing_unit           # 133 TrailingUnit
    uint16_t unused
    int64_t  cum_fee                 # 136 units of quote money, of all fills so far
    int64_t  trailing_offset         # 144 in trailing_unit
    ts_t     placed_ns               # 152
    int64_t  cum_notional_high       # 160
    int64_t  cum_fee_high            # 168
    int64_t  fee_high                # 176

cdef packed struct balance_part_t:   # of BALANCE_CHANGED; money in units of 10**-scale
    uint32_t asset                   # 132
    int64_t  total                   # 136 after the change
    int64_t  reserved                # 144 of it for open orders
    int64_t  delta                   # 152 change of the total
    int64_t  reserved_high           # 160
    int64_t  total_high              # 168
    int64_t  delta_high              # 176

cdef packed struct position_part_t:  # of POSITION_CHANGED
    uint32_t unused                  # 132
    int64_t  rest                    # 136 base units of 10**-scale beyond whole lots, signed
    int64_t  cost_high               # 144
    int64_t  realized_pnl_high       # 152
    int64_t  open_qty                # 160 lots, signed
    int64_t  cost                    # 168 quote money paid for the open quantity, signed as the quantity
    int64_t  realized_pnl            # 176 quote money, since ever, before fees

cdef union event_part_t:
    order_part_t order
    balance_part_t balance
    position_part_t position
    uint32_t asset                   # REJECTED_COMMAND, ASSET_DEFINED

cdef packed struct event_t:          # 256 bytes; unused fields are 0
    uint64_t event_seq               #   0 +1 each event, the sequence of durable streams
    uint64_t command_seq             #   8 the command that caused it
    ts_t     ts_ns                   #  16 the command's time
    uint8_t  kind                    #  24 EventKind
    uint8_t  side                    #  25
    uint8_t  order_type              #  26
    uint8_t  time_in_force           #  27
    event_detail_t detail            #  28
    uint32_t account                 #  32
    uint32_t instrument              #  36
    uint64_t order_id                #  40
    price_t  price                   #  48 limit price
    event_size_t size                #  56
    qty_t    cum_qty                 #  64
    qty_t    leaves_qty              #  72
    price_t  last_price              #  80 FILLED
    qty_t    last_qty                #  88
    uint64_t counter_order_id        #  96 the other order of the trade (0: the venue)
    uint64_t trade_id                # 104
    event_money_t money              # 112
    int64_t  cum_notional            # 120 units of quote money filled so far
    uint8_t  status                  # 128 OrderStatus after this event
    uint8_t  liquidity               # 129
    uint8_t  reject_reason           # 130
    uint8_t  cancel_reason           # 131
    event_part_t of                  # 132 what the kind of event is about
    price_t  trigger_price           # 184
    qty_t    display_qty             # 192
    ts_t     expire_ns               # 200
    uint64_t link_id                 # 208
    char     client_order_id[36]     # 216
    uint32_t last_of_command         # 252 1 on the last event of a command
