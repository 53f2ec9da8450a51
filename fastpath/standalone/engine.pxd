# Many books driven by client ids: packed commands in, packed reports out. This is the entry for other compiled code.
#
# Usage, the memory rules and a complete example: docs/matching.md. In short: every engine_* call writes what happened as
# report_t records into a reports_t the caller owns (a plain array, or a ring another core reads). A call that does not
# find room for its reports does nothing and returns False: drain, then call again. No call needs the GIL or raises.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.book.book cimport book_t, depth_t
from fastpath.book.matching cimport sink_t
from fastpath.model.structs cimport price_t, qty_t
from fastpath.book.pool cimport id_map_t, pool_t

cpdef enum EngineOp:
    ENGINE_NEW = 1                # an order: side, time in force, flags, price, qty
    ENGINE_CANCEL = 2
    ENGINE_REDUCE = 3             # open quantity less qty, priority kept; all of it or more cancels
    ENGINE_MODIFY = 4             # price, and qty = new open quantity; same price and not more: priority kept
    ENGINE_MOVE = 5               # price; quantity kept, priority lost, may trade on arrival

cpdef enum EngineFlag:            # the first five are matching.TakerFlag
    ENGINE_POST_ONLY = 1
    ENGINE_POST_ONLY_SLIDE = 2
    ENGINE_HIDDEN = 4
    ENGINE_MARKET = 8
    ENGINE_MARKET_TO_LIMIT = 16
    ENGINE_EXTENDED = 128         # an engine_extension_t follows in place of the next command

cdef enum:
    ENGINE_FLAGS = 159            # all of them

cdef packed struct engine_command_t:      # 32 bytes
    uint8_t  op                   #  0 EngineOp
    uint8_t  side                 #  1 Side (NEW)
    uint8_t  time_in_force        #  2 TimeInForce (NEW): IOC and FOK never rest, all others do
    uint8_t  flags                #  3 EngineFlag set (NEW; MODIFY and MOVE take POST_ONLY, POST_ONLY_SLIDE, EXTENDED)
    uint32_t instrument           #  4
    uint64_t id                   #  8 the client's, not 0; may be used again once its order is gone
    price_t  price                # 16 any int64; MARKET: the protection price
    qty_t    qty                  # 24

cdef packed struct engine_extension_t:    # 32 bytes
    uint32_t owner                #  0 self-trade prevention group (NEW), 0: none
    uint8_t  stp_mode             #  4 SelfTradePrevention
    uint8_t  unused[3]
    qty_t    min_qty              #  8
    qty_t    display_qty          # 16 iceberg slice (NEW)
    uint64_t reserved             # 24

cpdef enum ReportKind:
    REPORT_ACCEPTED = 1           # price: where it rests, else its limit; qty and leaves: all of it, the trades follow
    REPORT_REJECTED = 2           # reason: RejectReason. Nothing changed
    REPORT_TRADE = 3              # id took from maker_id: price (the maker's), qty, leaves, maker_leaves
    REPORT_CANCELED = 4           # reason: CancelReason; qty: what was open
    REPORT_REDUCED = 5            # qty: by how much; leaves
    REPORT_MODIFIED = 6           # price and qty (open) from now on
    REPORT_DECREMENTED = 7        # self-trade prevention took qty off id and off maker_id

cdef packed struct report_t:      # 64 bytes, one cache line
    uint64_t seq                  #  0 number of the command in this engine, from 1
    uint8_t  kind                 #  8 ReportKind
    uint8_t  op                   #  9 EngineOp of the command
    uint8_t  reason               # 10 RejectReason or CancelReason
    uint8_t  side                 # 11 Side of the order `id`
    uint32_t instrument           # 12
    uint64_t id                   # 16 the order the report is about; TRADE, DECREMENTED: the taker
    uint64_t maker_id             # 24 TRADE, DECREMENTED
    price_t  price                # 32
    qty_t    qty                  # 40
    qty_t    leaves               # 48 open of `id` afterwards
    qty_t    maker_leaves         # 56 open of `maker_id` afterwards

cdef struct reports_t:            # where reports go: report number n is records[n & mask]
    uint64_t unused_1[7]          # keeps what lies beside this, and may be polled by another core, out of the cache line written here
    report_t* records
    uint64_t mask                 # array: all ones; ring: capacity - 1, the capacity being a power of two
    uint64_t head                 # number of the next report
    uint64_t limit                # head never passes it. Array: capacity; ring: reports consumed + capacity
    uint64_t unused_2[7]

cdef extern from *:
    """
    #if defined(__x86_64__)
    #define TW_FETCH_TO_WRITE(address) __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(address)))
    #else
    #define TW_FETCH_TO_WRITE(address) __builtin_prefetch((address), 1)
    #endif
    """
    void fetch_to_write "TW_FETCH_TO_WRITE"(const void* address) nogil

cdef enum:
    OWN_REPORTS = 2               # reports of a command besides its fills: ACCEPTED or MODIFIED, and CANCELED
    REPORTS_AHEAD = 8             # a reader on another core has the line of an old report: asked for this early, it is back in time

cdef inline uint64_t report_subject(uint32_t instrument, uint8_t side) noexcept nogil:
    """The second word of a report, without what happened: bytes 11 to 15."""
    return <uint64_t>instrument << 32 | <uint64_t>side << 24

cdef inline void write_report(
    reports_t* reports, uint64_t seq, uint64_t subject, uint8_t kind, uint8_t op, uint8_t reason, uint64_t id, uint64_t maker_id,
    price_t price, qty_t qty, qty_t leaves, qty_t maker_leaves
) noexcept nogil:
    """A whole line, in words of eight bytes. On the machines this runs on (little-endian) that is report_t."""
    cdef uint64_t* words = <uint64_t*>&reports.records[reports.head & reports.mask]
    fetch_to_write(words + 8 * REPORTS_AHEAD)      # past the end of the ring now and then: nothing reads it
    reports.head += 1
    words[0] = seq
    words[1] = subject | <uint64_t>reason << 16 | <uint64_t>op << 8 | kind
    words[2] = id
    words[3] = maker_id
    words[4] = <uint64_t>price
    words[5] = <uint64_t>qty
    words[6] = <uint64_t>leaves
    words[7] = <uint64_t>maker_leaves

cdef inline uint64_t reports_room(const reports_t* reports) noexcept nogil:
    return reports.limit - reports.head

cdef struct engine_t:
    pool_t*   pool
    id_map_t* ids
    book_t**  books               # by instrument; NULL: no such book
    uint32_t  max_orders          # that rest, in all books
    uint32_t  max_books
    uint64_t  seq                 # commands so far
    sink_t    sink

cdef engine_t* engine_new(uint32_t max_orders, uint32_t max_books) noexcept nogil     # NULL: out of memory
cdef void engine_free(engine_t* engine) noexcept nogil
cdef bint engine_add_book(engine_t* engine, uint32_t instrument) noexcept nogil       # False: taken, too big a number, no memory
# Cancel everything and forget the book. False: no such book (nothing reported), or no room for the reports.
cdef bint engine_retire_book(engine_t* engine, uint32_t instrument, reports_t* reports) noexcept nogil

# One command (extension: NULL unless flags say EXTENDED). False: no room for its reports, nothing happened.
cdef bint engine_submit(
    engine_t* engine, const engine_command_t* command, const engine_extension_t* extension, reports_t* reports) noexcept nogil
# A batch. Returns how many of the n records were consumed; fewer only when the reports are full.
cdef uint64_t engine_apply(
    engine_t* engine, const engine_command_t* commands, uint64_t n, reports_t* reports) noexcept nogil

# The same from plain arguments.
cdef bint engine_new_order(
    engine_t* engine, uint32_t instrument, uint64_t id, uint8_t side, uint8_t time_in_force, uint8_t flags,
    price_t price, qty_t qty, reports_t* reports) noexcept nogil
cdef bint engine_cancel(engine_t* engine, uint32_t instrument, uint64_t id, reports_t* reports) noexcept nogil
cdef bint engine_modify(
    engine_t* engine, uint32_t instrument, uint64_t id, price_t price, qty_t qty, reports_t* reports) noexcept nogil

# Views: O(1) best price, O(log n) level, O(levels read) depth. The pointer is NULL when there is no such book.
cdef inline book_t* engine_book(const engine_t* engine, uint32_t instrument) noexcept nogil:
    return engine.books[instrument] if instrument < engine.max_books else NULL

cdef uint64_t engine_hash(const engine_t* engine) noexcept nogil
cdef const char* engine_validate(const engine_t* engine) noexcept nogil      # NULL: sound
