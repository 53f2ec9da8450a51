"""Walking over batches of packed records: what would be a loop over every record in Python is one call here.

Commands are `fastpath.model.structs.command_t` (192 bytes each), events `event_t` (256 bytes each); a length that is no multiple
of that raises ValueError. Nothing here decides anything about trading.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastpath.model.enums cimport (
    COMMAND_AMEND,
    COMMAND_DEFINE_ACCOUNT,
    COMMAND_PLACE,
    COMMAND_SET_TRADING_STATUS,
    COMMAND_SUCCEED_INSTRUMENT,
    ORDER_TYPE_STOP,
    ORDER_TYPE_TRAILING_STOP_LIMIT,
)
from fastpath.model.structs cimport command_t, event_t


cdef size_t command_count(const uint8_t[::1] commands) except? 0:
    if commands.shape[0] % sizeof(command_t):
        raise ValueError(f"{commands.shape[0]} bytes are no whole number of commands of {sizeof(command_t)} bytes")
    return commands.shape[0] // sizeof(command_t)


cdef size_t event_count(const uint8_t[::1] events) except? 0:
    if events.shape[0] % sizeof(event_t):
        raise ValueError(f"{events.shape[0]} bytes are no whole number of events of {sizeof(event_t)} bytes")
    return events.shape[0] // sizeof(event_t)


def stamp(uint8_t[::1] commands, uint64_t first_seq, int64_t ts_ns):
    """Give the commands their sequence numbers, `first_seq` upwards, and their time, in place."""
    cdef size_t i, count = command_count(commands)
    cdef command_t* command
    if not count:
        return
    command = <command_t*>&commands[0]
    for i in range(count):
        command[i].seq = first_seq + i
        command[i].ts_ns = ts_ns


def definitions(const uint8_t[::1] commands):
    """The DEFINE_* and SUCCEED_INSTRUMENT commands among `commands`, each as bytes, in order."""
    cdef size_t i, count = command_count(commands)
    cdef const command_t* command
    cdef list found = []
    if not count:
        return found
    command = <const command_t*>&commands[0]
    for i in range(count):
        if command[i].kind <= COMMAND_DEFINE_ACCOUNT or command[i].kind == COMMAND_SUCCEED_INSTRUMENT:
            found.append((<const char*>&command[i])[:sizeof(command_t)])
    return found


def entered_instruments(const uint8_t[::1] commands):
    """The instruments that orders may enter by `commands`: placed, amended, or let in by a trading status.

    A dictionary: number (0: any) -> whether orders that wait for prices may be among them.
    """
    cdef size_t i, count = command_count(commands)
    cdef const command_t* command
    cdef int64_t last = -1
    cdef bint conditional
    cdef dict found = {}
    if not count:
        return found
    command = <const command_t*>&commands[0]
    for i in range(count):
        if command[i].kind == COMMAND_PLACE:
            conditional = ORDER_TYPE_STOP <= command[i].order_type <= ORDER_TYPE_TRAILING_STOP_LIMIT
            if command[i].instrument == last and not conditional:
                continue
        elif command[i].kind == COMMAND_AMEND or command[i].kind == COMMAND_SET_TRADING_STATUS:
            conditional = True
        else:
            continue
        last = command[i].instrument
        found[last] = conditional or found.get(last, False)
    return found


def first_of_commands(const uint8_t[::1] events):
    """The first event of each command that has any, each as bytes, in order. What the command itself came to is told first."""
    cdef size_t i, total = event_count(events)
    cdef const event_t* event = <const event_t*>&events[0] if total else NULL
    cdef uint64_t last = 0
    cdef list found = []
    for i in range(total):
        if event[i].command_seq != last:
            last = event[i].command_seq
            found.append((<const char*>&event[i])[:sizeof(event_t)])
    return found


def event_offsets(const uint8_t[::1] events, seqs):
    """For each command sequence of `seqs`, which ascend: the byte offset of the first event of that command or a later one."""
    cdef size_t low = 0, high, middle, total = event_count(events)
    cdef const event_t* event = <const event_t*>&events[0] if total else NULL
    cdef uint64_t seq
    cdef list offsets = []
    for seq in seqs:
        high = total
        while low < high:
            middle = (low + high) // 2
            if event[middle].command_seq < seq:
                low = middle + 1
            else:
                high = middle
        offsets.append(low * sizeof(event_t))
    return offsets


def select(const uint8_t[::1] events, uint32_t account, uint8_t first_kind, uint8_t last_kind, uint64_t after=0):
    """The events of `account` with a kind in [first_kind, last_kind] and an event_seq above `after`, each as bytes."""
    cdef size_t i, total = event_count(events)
    cdef const event_t* event = <const event_t*>&events[0] if total else NULL
    cdef list found = []
    for i in range(total):
        if event[i].account == account and first_kind <= event[i].kind <= last_kind and event[i].event_seq > after:
            found.append((<const char*>&event[i])[:sizeof(event_t)])
    return found


def count(const uint8_t[::1] events, uint8_t kind):
    """How many events are of this kind."""
    cdef size_t i, found = 0, total = event_count(events)
    cdef const event_t* event = <const event_t*>&events[0] if total else NULL
    for i in range(total):
        found += event[i].kind == kind
    return found


def first_sequence(const uint8_t[::1] events):
    """The event_seq of the first event. Raises ValueError if there is none."""
    if not event_count(events):
        raise ValueError("there is no event")
    return (<const event_t*>&events[0]).event_seq


def last_sequence(const uint8_t[::1] events):
    """The event_seq of the last event. Raises ValueError if there is none."""
    cdef size_t total = event_count(events)
    if not total:
        raise ValueError("there is no event")
    return (<const event_t*>&events[0])[total - 1].event_seq


def command_sequence(const uint8_t[::1] commands):
    """The sequence number of the first command. Raises ValueError if there is none."""
    if not command_count(commands):
        raise ValueError("there is no command")
    return (<const command_t*>&commands[0]).seq
