"""Names, numbers and grids. Described in directory.pxd."""

from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint32_t

from fastpath.model.decimals cimport MAX_SCALE, grid_t
from fastpath.wire.protobuf cimport span_t

cdef enum:
    MAX_NAME = 64                 # characters


cdef class Terms:
    """What a number of ticks, lots and units of quote money of an instrument is worth."""


cdef bint take_grid(object value, grid_t* grid) except -1:
    """The grid of a positive Decimal; False if it is beyond what is handled here."""
    sign, digits, exponent = value.normalize().as_tuple()
    mantissa = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
    if sign or not 0 < mantissa <= 10 ** MAX_SCALE or exponent < -MAX_SCALE:
        return False
    grid.mantissa = mantissa
    grid.scale = max(-exponent, 0)
    return True


cdef str name_of(span_t name):
    """None: no name that anything has."""
    cdef Py_ssize_t size = name.end - name.at
    cdef Py_ssize_t i
    if not 0 < size <= MAX_NAME:
        return None
    for i in range(size):
        if name.at[i] & 0x80:
            return None
    return PyUnicode_DecodeASCII(<const char*>name.at, size, NULL)


cdef class Directory:
    """The names of a registry, for compiled readers and writers of messages."""

    def __init__(self, registry):
        self.registry = registry
        self.terms = {}
        self.account_names = {}

    cdef object find_instrument(self, span_t name):
        cdef str text = name_of(name)
        found = self.registry.find_instrument(text) if text is not None and ":" in text else None
        return self.instrument(found.number) if found is not None else None

    cdef uint32_t find_account(self, span_t name) except? 0:
        cdef str text = name_of(name)
        found = self.registry.find_account(text) if text is not None else None
        return found.number if found is not None else 0

    cdef object instrument(self, uint32_t number):
        if number not in self.terms:
            self.terms[number] = self.terms_of(number)
        return self.terms[number]

    cdef object terms_of(self, uint32_t number):
        cdef Terms terms = Terms()
        known = self.registry.instrument_by_number(number)
        terms.number = number
        terms.name = known.name.encode()
        if (take_grid(known.tick_size, &terms.tick) and take_grid(known.lot_size, &terms.lot)
                and take_grid(known.money_unit, &terms.money)):
            return terms
        return None

    cdef bytes account(self, uint32_t number):
        cdef bytes name = self.account_names.get(number)
        if name is None:
            name = self.account_names[number] = self.registry.account_by_number(number).name.encode()
        return name
