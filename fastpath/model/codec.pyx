"""Packed, versioned form of command records, for the journal.

Format (all integers little-endian):

    u8   version (1)
    u32  number of records, at most MAX_RECORDS
    each record, seen as 24 words of 8 bytes:
        u24  one bit a word: set if the word is not zero
        each such word: u8 mask of its bytes that are not zero, then those bytes

The first two words of a record (seq, ts_ns) are stored as differences: seq from the previous record's seq + 1, ts_ns from
the previous record's. Subtraction wraps, so any 192 bytes survive the round trip; a typical limit order takes about 50.
Each input has exactly one packed form, and `decode` accepts nothing else.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.model.structs cimport command_t

VERSION = 1
MAX_RECORDS = 1 << 20

cdef enum:
    WORDS = 24                      # words in a record
    HEADER_SIZE = 5
    MAX_PACKED_RECORD = 3 + WORDS * 9


def encode(const uint8_t[::1] commands not None) -> bytes:
    """Pack n*192 bytes of command records. ValueError if the length is no multiple of 192 or n exceeds MAX_RECORDS."""
    cdef size_t size = <size_t>commands.shape[0]
    if size % sizeof(command_t) != 0:
        raise ValueError(f"commands are records of {sizeof(command_t)} bytes; got {size} bytes")
    cdef uint32_t count = <uint32_t>(size // sizeof(command_t))
    if size // sizeof(command_t) > MAX_RECORDS:
        raise ValueError(f"at most {MAX_RECORDS} records are packed at once; got {size // sizeof(command_t)}")
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, HEADER_SIZE + count * MAX_PACKED_RECORD)
    cdef uint8_t* start = <uint8_t*>PyBytes_AS_STRING(packed)
    cdef uint8_t* end = start + HEADER_SIZE
    cdef const uint8_t* source = &commands[0] if size else NULL
    cdef uint64_t previous[2]
    cdef uint32_t i
    start[0] = VERSION
    memcpy(start + 1, &count, sizeof(count))
    memset(previous, 0, sizeof(previous))
    with nogil:
        for i in range(count):
            end = pack_record(source + i * sizeof(command_t), previous, end)
    return packed[:end - start]


def decode(const uint8_t[::1] packed not None) -> bytes:
    """Unpack what `encode` made. ValueError, with nothing returned, for anything else."""
    cdef size_t size = <size_t>packed.shape[0]
    cdef uint32_t count = 0, i
    if size < HEADER_SIZE:
        raise ValueError(f"packed commands are cut short: {size} bytes")
    if packed[0] != VERSION:
        raise ValueError(f"packed commands of version {packed[0]} cannot be read; this build reads version {VERSION}")
    memcpy(&count, &packed[1], sizeof(count))
    if count > MAX_RECORDS or count * 3 > size:
        raise ValueError(f"packed commands are corrupt: {count} records cannot fit {size} bytes")
    cdef bytes commands = PyBytes_FromStringAndSize(NULL, count * sizeof(command_t))
    cdef uint8_t* target = <uint8_t*>PyBytes_AS_STRING(commands)
    cdef const uint8_t* cursor = &packed[0] + HEADER_SIZE
    cdef const uint8_t* end = &packed[0] + size
    cdef uint64_t previous[2]
    memset(previous, 0, sizeof(previous))
    with nogil:
        for i in range(count):
            cursor = unpack_record(cursor, end, previous, target + i * sizeof(command_t))
            if cursor == NULL:
                break
    if cursor == NULL:
        raise ValueError(f"packed commands are corrupt in record {i}")
    if cursor != end:
        raise ValueError(f"packed commands are followed by {end - cursor} unknown bytes")
    return commands


cdef uint8_t* pack_record(const uint8_t* record, uint64_t* previous, uint8_t* out) noexcept nogil:
    """Append one packed record at `out`; returns the new end."""
    cdef uint64_t words[WORDS]
    cdef uint64_t seq, ts_ns
    cdef uint8_t* bitmap = out
    cdef uint8_t* mask
    cdef uint8_t byte
    cdef int w, b
    memcpy(words, record, sizeof(words))
    seq, ts_ns = words[0], words[1]
    words[0] -= previous[0] + 1
    words[1] -= previous[1]
    previous[0] = seq
    previous[1] = ts_ns
    memset(bitmap, 0, 3)
    out += 3
    for w in range(WORDS):
        if words[w] == 0:
            continue
        bitmap[w >> 3] |= 1 << (w & 7)
        mask = out
        mask[0] = 0
        out += 1
        for b in range(8):
            byte = <uint8_t>(words[w] >> (8 * b))
            if byte:
                mask[0] |= 1 << b
                out[0] = byte
                out += 1
    return out


cdef const uint8_t* unpack_record(const uint8_t* cursor, const uint8_t* end, uint64_t* previous,
                                  uint8_t* record) noexcept nogil:
    """Read one packed record; returns the new cursor, or NULL if the bytes are none that `pack_record` writes."""
    cdef uint64_t words[WORDS]
    cdef const uint8_t* bitmap = cursor
    cdef uint8_t mask
    cdef int w, b
    if end - cursor < 3:
        return NULL
    cursor += 3
    memset(words, 0, sizeof(words))
    for w in range(WORDS):
        if not bitmap[w >> 3] >> (w & 7) & 1:
            continue
        if cursor == end or cursor[0] == 0:
            return NULL
        mask = cursor[0]
        cursor += 1
        for b in range(8):
            if not mask >> b & 1:
                continue
            if cursor == end or cursor[0] == 0:
                return NULL
            words[w] |= <uint64_t>cursor[0] << (8 * b)
            cursor += 1
    words[0] += previous[0] + 1
    words[1] += previous[1]
    previous[0] = words[0]
    previous[1] = words[1]
    memcpy(record, words, sizeof(words))
    return cursor
