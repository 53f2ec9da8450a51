# Prefetching for a batch of commands. Inline: no .pyx of its own.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.book cimport ladder_mask
from fastpath.engine cimport ENGINE_MOVE, ENGINE_NEW, engine_book, engine_command_t, engine_t
from fastpath.ladder cimport __builtin_prefetch, cell_of, in_window, ladder_t
from fastpath.model cimport price_t
from fastpath.pool cimport id_map_guess, id_tag, level_t, order_t

cdef enum:
    STAGE = 8                     # commands between one step and the next

cdef struct look_ahead_t:
    uint32_t slots[STAGE * 4]     # what the ids of coming commands probably map to, by command number


cdef inline void look_ahead(
    const engine_t* engine, const engine_command_t* commands, uint64_t i, uint64_t n, look_ahead_t* ahead
) noexcept nogil:
    """Have the cache lines of coming commands fetched, one dependent step further for each STAGE commands nearer.

    Deep books live outside the near caches and nearly all of a command's time is waiting for a few lines, each known only
    from the one before. Guesses only: what commands in between change makes a prefetch useless, never wrong.
    """
    cdef const engine_command_t* command
    cdef const order_t* order
    cdef const level_t* level
    cdef const ladder_t* ladder
    cdef uint64_t at = i + 4 * STAGE
    cdef uint32_t handle, slot
    cdef price_t key
    if at < n:
        __builtin_prefetch(&engine.ids.buckets[id_tag(commands[at].id) >> engine.ids.shift])
    at -= STAGE
    if at < n:
        slot = id_map_guess(engine.ids, commands[at].id)
        ahead.slots[at % (4 * STAGE)] = slot
        __builtin_prefetch(&engine.pool.orders[slot])
    at -= STAGE
    if at < n:
        order = &engine.pool.orders[ahead.slots[at % (4 * STAGE)]]
        __builtin_prefetch(&engine.pool.orders[order.prev])
        __builtin_prefetch(&engine.pool.orders[order.next])
        __builtin_prefetch(&engine.pool.levels[order.level])
    at -= STAGE
    if at < n:
        command = &commands[at]
        level = &engine.pool.levels[engine.pool.orders[ahead.slots[at % (4 * STAGE)]].level]
        if (command.op == ENGINE_NEW or command.op == ENGINE_MOVE) and engine_book(engine, command.instrument) != NULL:
            ladder = &engine.books[command.instrument].ladders[
                (command.side - 1) & 1 if command.op == ENGINE_NEW else level.ladder & 3]
            key = command.price ^ ladder_mask(command.side - 1 if command.op == ENGINE_NEW else level.ladder)
            if in_window(ladder, key):
                handle = ladder.cells[cell_of(ladder, key)]
                __builtin_prefetch(&engine.pool.orders[engine.pool.levels[handle].tail])
