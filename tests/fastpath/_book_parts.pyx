# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Python classes around the parts of a book, which have none: for `test_book_parts.py`."""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from fastpath.book.book cimport book_enter, book_leave
from fastpath.book.far_levels cimport far_close, far_erase, far_find, far_from, far_insert, far_prepare, far_t
from fastpath.book.pool cimport (
    NIL,
    PAGE_LEVELS,
    PAGE_SHIFT,
    id_map_free,
    id_map_get,
    id_map_give,
    id_map_has,
    id_map_new,
    id_map_offer,
    id_map_reserve,
    id_map_slots,
    id_map_t,
    id_map_take,
    id_slot,
    id_tag,
    pool_free,
    pool_give,
    pool_give_page,
    pool_new,
    pool_t,
    pool_take,
    pool_take_page,
)
from fastpath.book.side cimport side_after, side_close, side_find, side_init, side_reserve, side_t


cdef class FarLevels:
    cdef far_t far

    def __dealloc__(self):
        far_close(&self.far)

    def __len__(self):
        return self.far.count

    def insert(self, int64_t key, uint32_t level):
        if not far_prepare(&self.far):
            raise MemoryError
        far_insert(&self.far, key, level)

    def erase(self, int64_t key):
        far_erase(&self.far, key)

    def find(self, int64_t key):
        return far_find(&self.far, key)

    def at_or_after(self, int64_t key):
        cdef int64_t found = 0
        cdef uint32_t level = far_from(&self.far, key, &found)
        return None if level == NIL else (found, level)

    def blocks(self):
        """The keys as they lie, block by block; what the directory calls the first of each comes before them."""
        cdef uint32_t i, at
        return [
            [self.far.directory[i].first, *[self.far.directory[i].block.keys[at] for at in range(self.far.directory[i].block.count)]]
            for i in range(self.far.blocks)
        ]


cdef class Side:
    """A side of a book as books use it; of each level it knows only how many orders rest there."""

    cdef pool_t* pool
    cdef side_t book_side

    def __cinit__(self, uint32_t capacity):
        self.pool = pool_new(capacity, 0)
        if self.pool == NULL:
            raise MemoryError
        side_init(&self.book_side, self.pool.pages)

    def __dealloc__(self):
        side_close(&self.book_side)
        pool_free(self.pool)

    def enter(self, int64_t key):
        """One more order at a key."""
        if not side_reserve(&self.book_side):
            raise MemoryError
        self.pool.levels[book_enter(self.pool, &self.book_side, 0, key)].count += 1

    def leave(self, int64_t key):
        cdef uint32_t handle = side_find(&self.book_side, key)
        self.pool.levels[handle].count -= 1
        book_leave(self.pool, &self.book_side, handle)

    def count(self, int64_t key):
        """How many orders rest at a key."""
        cdef uint32_t handle = side_find(&self.book_side, key)
        return 0 if handle == NIL else self.pool.levels[handle].count

    def after(self, int64_t key):
        cdef int64_t found = 0
        return None if side_after(&self.book_side, key, &found) == NIL else found

    @property
    def best(self):
        if self.book_side.best == NIL:
            assert self.book_side.best_key == INT64_MAX
            return None
        assert self.pool.levels[self.book_side.best].key == self.book_side.best_key
        return self.book_side.best_key

    @property
    def window(self):
        """(first page key, pages that fit, pages inside, pages outside)."""
        return self.book_side.base, self.book_side.width, self.book_side.near, self.book_side.far.count


cdef class Pool:
    cdef pool_t* pool

    def __cinit__(self, uint32_t capacity):
        self.pool = pool_new(capacity, 0)
        if self.pool == NULL:
            raise MemoryError

    def __dealloc__(self):
        pool_free(self.pool)

    def take(self):
        return pool_take(self.pool)

    def give(self, uint32_t slot):
        pool_give(self.pool, slot)

    def take_page(self, uint32_t side):
        """A page, whose levels must be empty rings above all slots."""
        cdef uint32_t page = pool_take_page(self.pool, side)
        cdef uint32_t handle
        for handle in range(page << PAGE_SHIFT, (page << PAGE_SHIFT) + PAGE_LEVELS):
            assert handle > self.pool.slots
            assert self.pool.levels[handle].links.prev == handle == self.pool.levels[handle].links.next
        return page

    def give_page(self, uint32_t page):
        pool_give_page(self.pool, page)

    @property
    def count(self):
        return self.pool.count


cdef class IdMap:
    """Client ids of the orders of a pool."""

    cdef pool_t* pool
    cdef id_map_t* ids

    def __cinit__(self, uint32_t capacity):
        self.pool = pool_new(capacity, id_map_slots(capacity))
        if self.pool != NULL:
            self.ids = id_map_new(self.pool)
        if self.ids == NULL:
            raise MemoryError

    def __dealloc__(self):
        id_map_free(self.ids)
        pool_free(self.pool)

    def reserve(self):
        return id_map_reserve(self.ids)

    def take(self, uint64_t id):
        return id_map_take(self.ids, id)

    def offer(self, uint64_t id):
        return id_map_offer(self.ids, id)

    def give(self, uint32_t slot):
        id_map_give(self.ids, slot)

    def get(self, uint64_t id):
        return id_map_get(self.ids, id)

    def has(self, uint64_t id):
        return id_map_has(self.ids, id)

    def first_choice(self, uint64_t id):
        return id_slot(self.ids, id)

    @property
    def count(self):
        return self.pool.count

    @property
    def hashed(self):
        return self.ids.hashed

    @property
    def buckets(self):
        return self.ids.bucket_mask + 1

    @property
    def by_id(self):
        """How many slots ids choose themselves."""
        return self.pool.by_id


def tag_of(uint64_t id):
    return id_tag(id)
