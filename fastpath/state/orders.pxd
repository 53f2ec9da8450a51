# Every order ever placed, open or closed: what it is, how far it came, and how to find it.
#
# Records are appended in order of order_id and never leave: a client order id stays taken for ever. Memory for all of them is
# reserved at once and committed by the operating system when first touched. An order that rests also holds a slot of the
# pool, whose id field leads back here (the record number). Open orders form a chain per account in order of acceptance.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.model.arith cimport mix, mix_pair
from fastpath.containers.hash_index cimport NO_ROW, index_t
from fastpath.model.order_sets cimport CONDITIONAL_TYPES, PROTECTED_TYPES, TRAILING_TYPES, is_in, is_open_status
from fastpath.model.structs cimport command_t, money_t, price_t, qty_t, ts_t
from fastpath.containers.order_ids cimport order_ids_find, order_ids_t

cdef enum:
    CLIENT_ORDER_ID_SIZE = 36
    GROUP_OWNER = 0x80000000      # in an owner key: it is that of a self-trade group, not of an account

cdef enum WaitKind:
    WAIT_NONE = 0                 # in the market, or done
    WAIT_TRIGGER = 1              # for its trigger price
    WAIT_ACTIVATION = 2           # trailing: for the price from which it trails
    WAIT_PARENT = 3               # for the first fill of the order it is linked to
    WAIT_MORE = 4                 # for further fills of it: what there was of this one is done
    WAIT_TRANSIT = 5              # on its way to a mirrored venue
    WAIT_LIST = 6                 # for the other orders of its list

cdef struct order_record_t:
    # Trading state, hashed as a block of words up to `slot`
    uint64_t order_id
    char     client_order_id[36]
    uint32_t account
    uint32_t instrument
    uint32_t flags                # OrderFlag set
    uint8_t  side
    uint8_t  order_type
    uint8_t  time_in_force
    uint8_t  status               # OrderStatus
    uint8_t  reject_reason
    uint8_t  cancel_reason
    uint8_t  stp_mode
    uint8_t  trigger_source
    price_t  price
    qty_t    qty                  # of a child: what its parent's fills have released
    qty_t    cum_qty
    uint64_t body_digest          # of all the trader said in PLACE, for telling a repetition from a conflict
    money_t  cum_notional         # units of the instrument's quote money
    money_t  cum_fee
    money_t  amount               # to spend or raise; 0: the order has a quantity
    ts_t     placed_ns
    ts_t     changed_ns           # last change
    qty_t    display_qty
    qty_t    min_qty
    price_t  trigger_price
    ts_t     expire_ns
    uint64_t link_id
    int64_t  trailing_offset
    qty_t    awaited_qty          # of a child: to be released by its parent's fills to come
    qty_t    parent_qty           # of the parent's fills: followed by this child already
    qty_t    queue_ahead          # paper: displayed quantity at its price that trades first; -1: not known yet
    uint32_t session
    uint32_t stp_group
    int32_t  maker_fee_ppm        # the rates of its acceptance hold for its life
    int32_t  taker_fee_ppm
    int32_t  fee_carry            # see arith.fee_of
    uint8_t  trailing_unit
    uint8_t  link_type
    uint8_t  waiting              # WaitKind
    uint8_t  link_queued          # always 0 between commands
    # Layout; not trading state
    uint32_t slot                 # of the pool while it rests, else NIL
    uint32_t position_row         # of the ledger; it knows the rows of both balances
    uint32_t previous_open        # the account's chain of open orders
    uint32_t next_open
    uint32_t group                # of links, NO_ROW: none
    uint32_t changes              # ChangeKind set: on their way to its venue
    qty_t    linked_qty           # of cum_qty: taken off its siblings already; equal to it between commands
    uint64_t stp_owner            # of its stp_group; trading state, hashed unless it is 0

cdef struct open_chain_t:
    uint32_t first                # NO_ROW: none
    uint32_t last
    uint32_t placed               # orders of the account, ever
    uint32_t open_count

cdef struct order_store_t:
    order_record_t* records
    open_chain_t* open_chains     # by account
    order_ids_t ids               # from order ids to records
    index_t by_client_order_id
    index_t stp_groups            # by (stp_owner, stp_group): the first order of each
    uint32_t count
    uint32_t open_count
    uint32_t max_orders

cdef bint orders_init(order_store_t* orders, uint32_t max_orders, uint32_t max_accounts) noexcept nogil
cdef void orders_close(order_store_t* orders) noexcept nogil

cdef inline uint32_t share_of(uint32_t bound) noexcept nogil:
    """How much of a bound on the orders of all accounts one account may take."""
    return bound - bound // 10

# Record number, or NO_ROW. `client_hash`: client_order_id_hash() of the two.
cdef uint32_t orders_find_client(const order_store_t* orders, uint32_t account, const char* client_order_id,
                                 uint32_t client_hash) noexcept nogil

# A new record filled from a PLACE command, status NEW, not yet open. NO_ROW: a bound or the memory is reached. One account takes
# at most nine tenths of all records, so that there is room for the others.
cdef uint32_t orders_append(order_store_t* orders, const command_t* command, uint64_t body_digest,
                            uint32_t client_hash) noexcept nogil

# An order joins or leaves its account's chain of open orders.
cdef void orders_open(order_store_t* orders, uint32_t number) noexcept nogil
cdef void orders_leave(order_store_t* orders, uint32_t number) noexcept nogil

# Build the indexes, the chains of open orders and their number anew from the records. False: out of memory.
cdef bint orders_reindex(order_store_t* orders) noexcept nogil

# Of the self-trade group that the order names: the same for all its orders, and for no others.
cdef uint32_t group_owner(const order_store_t* orders, const order_record_t* order) noexcept nogil

cdef uint64_t body_digest(const command_t* command) noexcept nogil
cdef uint64_t orders_hash(const order_store_t* orders) noexcept nogil


cdef inline uint32_t orders_find(const order_store_t* orders, uint64_t order_id) noexcept nogil:
    """Record number, or NO_ROW."""
    return order_ids_find(&orders.ids, order_id)


cdef inline uint32_t client_order_id_hash(uint32_t account, const char* client_order_id) noexcept nogil:
    cdef uint64_t words[5]
    words[4] = account
    memcpy(words, client_order_id, 32)
    memcpy(<char*>words + 36, client_order_id + 32, 4)      # the upper half of the account's word
    return <uint32_t>mix(mix_pair(words[0], words[1]) + mix_pair(words[2], words[3]), words[4])


cdef inline uint32_t owner_of(const order_store_t* orders, const order_record_t* order) noexcept nogil:
    """Whom self-trade prevention takes the order for."""
    return order.account if order.stp_group == 0 else group_owner(orders, order)


cdef inline bint is_conditional(const order_record_t* order) noexcept nogil:
    return is_in(order.order_type, CONDITIONAL_TYPES)


cdef inline bint is_trailing(const order_record_t* order) noexcept nogil:
    return is_in(order.order_type, TRAILING_TYPES)


cdef inline uint8_t first_wait(const order_record_t* order) noexcept nogil:
    """The WaitKind an order of this type starts with, parents aside."""
    if is_trailing(order) and order.trigger_price != 0:
        return WAIT_ACTIVATION
    return WAIT_TRIGGER if is_conditional(order) else WAIT_NONE


cdef inline bint waits_for_price(const order_record_t* order) noexcept nogil:
    return order.waiting == WAIT_TRIGGER or order.waiting == WAIT_ACTIVATION


cdef inline bint is_sent(const order_record_t* order) noexcept nogil:
    """Whether it is in the market or on its way there: it waits for nothing here."""
    return order.waiting == WAIT_NONE or order.waiting == WAIT_TRANSIT


cdef inline bint has_begun(const order_record_t* order) noexcept nogil:
    """Whether it is, has been or soon will be in the market: its trigger, if it had one, has fired."""
    return is_sent(order) or order.waiting == WAIT_MORE


cdef inline bint is_funded(const order_record_t* order) noexcept nogil:
    """Whether the order, open, has what it needs reserved: in the market, or about to be."""
    return is_sent(order) or (order.waiting == WAIT_LIST and not is_conditional(order))


cdef inline bint takes_any_price(const order_record_t* order) noexcept nogil:
    """Whether in the market it is a market order, bounded by nothing but its protection."""
    return is_in(order.order_type, PROTECTED_TYPES)


cdef inline bint order_is_open(const order_record_t* order) noexcept nogil:
    return is_open_status(order.status)


cdef inline qty_t total_qty(const order_record_t* order) noexcept nogil:
    """What the trader asked for, as far as it may still be filled."""
    return order.qty + order.awaited_qty


cdef inline qty_t order_leaves_qty(const order_record_t* order) noexcept nogil:
    return total_qty(order) - order.cum_qty if order_is_open(order) else 0
