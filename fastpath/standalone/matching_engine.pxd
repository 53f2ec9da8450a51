# The matching engine as a Python object. Other compiled code reaches the engine in it, and drives it by fastpath/standalone/engine.pxd.

from libc.stdint cimport uint32_t

from fastpath.book.book cimport book_t
from fastpath.standalone.engine cimport engine_t

cdef class MatchingEngine:
    cdef engine_t* engine
    cdef book_t* _book(self, uint32_t instrument) except NULL
