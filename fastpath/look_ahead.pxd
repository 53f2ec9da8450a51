# Prefetching for a batch of commands. Inline: no .pyx of its own.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.book cimport ladder_mask
from fastpath.engine cimport ENGINE_CANCEL, ENGINE_NEW, ENGINE_REDUCE, engine_book, engine_command_t, engine_t
from fastpath.ladder cimport __builtin_prefetch, cell_of, in_window, ladder_t, level_bit
from fastpath.model cimport price_t
from fastpath.pool cimport NIL, PAGE_SHIFT, id_bucket, id_cell, id_map_guess, order_t, page_ladder, page_of

cdef enum:
    STAGE = 4                     # commands between one step and the next
    HORIZON = 32                  # of the rings: a power of two above the five steps

cdef struct look_ahead_t:         # by command number modulo HORIZON
    uint32_t slots[HORIZON]       # what the command's id probably maps to
    uint32_t levels[HORIZON]      # the level its price probably has


cdef inline uint32_t target_level(const engine_t* engine, const engine_command_t* command, uint32_t slot) noexcept nogil:
    """The level a NEW, MODIFY or MOVE goes to; some level nobody needs if that is not known or is out of the window."""
    cdef uint32_t index
    cdef const ladder_t* ladder
    cdef price_t key
    if command.op == ENGINE_NEW:
        index = (command.side - 1) & 1
    elif command.op == ENGINE_CANCEL or command.op == ENGINE_REDUCE:
        return NIL
    else:
        index = page_ladder(page_of(engine.pool, engine.pool.orders[slot].level))
    if engine_book(engine, command.instrument) == NULL:
        return NIL
    ladder = &engine.books[command.instrument].ladders[index]
    key = command.price ^ ladder_mask(index)
    if not in_window(ladder, key >> PAGE_SHIFT):
        return NIL
    return (cell_of(ladder, key >> PAGE_SHIFT)[0] << PAGE_SHIFT) + level_bit(key)


cdef inline void look_ahead(
    const engine_t* engine, const engine_command_t* commands, uint64_t i, uint64_t n, look_ahead_t* ahead
) noexcept nogil:
    """Have the cache lines of coming commands fetched, one dependent step further for each STAGE commands nearer.

    Deep books live outside the near caches and nearly all of a command's time is waiting for a few lines, each known only
    from the one before: id -> slot -> order -> its level and neighbours; price -> level -> last order there. Guesses
    only: what commands in between change makes a prefetch useless, never wrong.
    """
    cdef const order_t* order
    cdef uint32_t slot, level
    cdef uint64_t at = i + 5 * STAGE
    if at < n:
        __builtin_prefetch(id_cell(engine.ids, commands[at].id))
        if engine.ids.hashed > 0:
            __builtin_prefetch(id_bucket(engine.ids, commands[at].id))
    at -= STAGE
    if at < n:
        slot = id_map_guess(engine.ids, commands[at].id)
        ahead.slots[at % HORIZON] = slot
        __builtin_prefetch(&engine.pool.orders[slot])
    at -= STAGE
    if at < n:
        order = &engine.pool.orders[ahead.slots[at % HORIZON]]
        __builtin_prefetch(&engine.pool.levels[order.level])
        __builtin_prefetch(page_of(engine.pool, order.level))
        __builtin_prefetch(&engine.pool.orders[order.links.prev])
        __builtin_prefetch(&engine.pool.orders[order.links.next])
    at -= STAGE
    if at < n:
        level = target_level(engine, &commands[at], ahead.slots[at % HORIZON])
        ahead.levels[at % HORIZON] = level
        __builtin_prefetch(&engine.pool.levels[level])
    at -= STAGE
    if at < n:
        __builtin_prefetch(&engine.pool.orders[engine.pool.levels[ahead.levels[at % HORIZON]].links.prev])
