# The wire format of protobuf, as far as orders need it: inline leaves, no .pyx of their own.
#
# Readers are strict and bounded: a varint of more than 5 bytes (9 for values of 64 bits), a length beyond the end, or a wire type
# other than the two below is not plain, and whoever reads gives up and lets the protobuf library judge.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    VARINT = 0
    LEN = 2
    MAX_VARINT = 10               # bytes of one

cdef struct span_t:               # bytes in somebody else's buffer
    const uint8_t* at
    const uint8_t* end


cdef inline bint read_varint(span_t* source, uint64_t* value, int max_bytes) noexcept nogil:
    cdef uint64_t result = 0
    cdef int i
    for i in range(max_bytes):
        if source.at == source.end:
            return False
        result |= <uint64_t>(source.at[0] & 0x7F) << (7 * i)
        source.at += 1
        if not source.at[-1] & 0x80:
            value[0] = result
            return True
    return False


cdef inline bint read_tag(span_t* source, uint32_t* field, int* wire_type) noexcept nogil:
    cdef uint64_t tag
    if not read_varint(source, &tag, 5) or tag >> 32 != 0:
        return False
    field[0] = <uint32_t>(tag >> 3)
    wire_type[0] = tag & 7
    return True


cdef inline bint read_number(span_t* source, uint64_t* value) noexcept nogil:
    return read_varint(source, value, 9)


cdef inline bint read_bytes(span_t* source, span_t* value) noexcept nogil:
    cdef uint64_t size
    if not read_varint(source, &size, 5) or size > <uint64_t>(source.end - source.at):
        return False
    value.at = source.at
    value.end = source.at + size
    source.at = value.end
    return True


cdef inline size_t varint_size(uint64_t value) noexcept nogil:
    cdef size_t size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


cdef inline uint8_t* write_varint(uint8_t* out, uint64_t value) noexcept nogil:
    while value >= 0x80:
        out[0] = <uint8_t>(value | 0x80)
        out += 1
        value >>= 7
    out[0] = <uint8_t>value
    return out + 1


cdef inline uint8_t* write_tag(uint8_t* out, uint32_t field, int wire_type) noexcept nogil:
    return write_varint(out, <uint64_t>field << 3 | <uint64_t>wire_type)


cdef inline uint8_t* write_number(uint8_t* out, uint32_t field, uint64_t value) noexcept nogil:
    """Nothing for 0, which is what an absent field means."""
    if value == 0:
        return out
    return write_varint(write_tag(out, field, VARINT), value)


cdef inline uint8_t* write_bytes(uint8_t* out, uint32_t field, const void* value, size_t size) noexcept nogil:
    """Also if there are none: what an optional field of no bytes means is not that it is absent."""
    out = write_varint(write_tag(out, field, LEN), size)
    memcpy(out, value, size)
    return out + size


cdef inline uint8_t* write_time(uint8_t* out, uint32_t field, int64_t ns) noexcept nogil:
    """A google.protobuf.Timestamp; `ns` is not negative."""
    cdef uint64_t seconds = <uint64_t>ns // 1_000_000_000
    cdef uint64_t nanos = <uint64_t>ns % 1_000_000_000
    cdef size_t size = (1 + varint_size(seconds) if seconds != 0 else 0) + (1 + varint_size(nanos) if nanos != 0 else 0)
    out = write_varint(write_tag(out, field, LEN), size)
    out = write_number(out, 1, seconds)
    return write_number(out, 2, nanos)
