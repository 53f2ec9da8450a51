# Prefetching for a batch of commands. Inline: no .pyx of its own.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.book.book cimport side_mask
from fastpath.standalone.engine cimport ENGINE_CANCEL, ENGINE_NEW, ENGINE_REDUCE, engine_book, engine_command_t, engine_t
from fastpath.book.side cimport __builtin_prefetch, cell_of, in_window, side_t, level_bit
from fastpath.model.structs cimport price_t
from fastpath.book.pool cimport NIL, PAGE_SHIFT, id_slot, level_side, order_t

cdef enum:
    STAGE = 6                     # commands between one step and the next
    HORIZON = 32                  # of the ring: a power of two above the three steps

cdef struct prefetch_t:         # by command number modulo HORIZON
    uint32_t levels[HORIZON]      # the level the command's price probably has


cdef inline uint32_t target_level(const engine_t* engine, const engine_command_t* command, uint32_t side) noexcept nogil:
    """The level a NEW, MODIFY or MOVE goes to; some level nobody needs if that is not known or is out of the window."""
    cdef const side_t* book_side
    cdef price_t key = command.price ^ side_mask(side)
    if engine_book(engine, command.instrument) == NULL:
        return NIL
    book_side = &engine.books[command.instrument].sides[side]
    if not in_window(book_side, key >> PAGE_SHIFT):
        return NIL
    return (cell_of(book_side, key >> PAGE_SHIFT)[0] << PAGE_SHIFT) + level_bit(key)


cdef inline uint32_t probable_level(const engine_t* engine, const engine_command_t* command, const order_t* order) noexcept nogil:
    """Where the order of a command will rest, and on the way what it leaves behind."""
    if command.op == ENGINE_NEW:
        return target_level(engine, command, (command.side - 1) & 1)
    __builtin_prefetch(&engine.pool.levels[order.level])
    __builtin_prefetch(&engine.pool.orders[order.links.prev])
    __builtin_prefetch(&engine.pool.orders[order.links.next])
    if command.op == ENGINE_CANCEL or command.op == ENGINE_REDUCE:
        return NIL
    return target_level(engine, command, level_side(order.level))


cdef inline void prefetch_batch(
    const engine_t* engine, const engine_command_t* commands, uint64_t i, uint64_t n, prefetch_t* ahead
) noexcept nogil:
    """Have the cache lines of coming commands fetched, one dependent step further for each STAGE commands nearer.

    Deep books live outside the near caches and nearly all of a command's time is waiting for a few lines, each known only
    from the one before: id -> order -> its level and neighbors; price -> level -> last order there. Guesses
    only: what commands in between change makes a prefetch useless, never wrong.
    """
    cdef uint32_t level
    cdef uint64_t at = i + 3 * STAGE
    if at < n:
        __builtin_prefetch(&engine.pool.orders[id_slot(engine.ids, commands[at].id)])
    at -= STAGE
    if at < n:
        level = probable_level(engine, &commands[at], &engine.pool.orders[id_slot(engine.ids, commands[at].id)])
        ahead.levels[at % HORIZON] = level
        __builtin_prefetch(&engine.pool.levels[level])
    at -= STAGE
    if at < n:
        __builtin_prefetch(&engine.pool.orders[engine.pool.levels[ahead.levels[at % HORIZON]].links.prev])
