"""Storage of resting orders, their levels and icebergs, shared by the books of an engine, and a map from id to slot.

`pool_take` and `pool_give` take a slot and give it back; `id_map_get`, `id_map_put_hashed` and `id_map_remove_hashed` work
by id.

For other compiled modules only: nothing to import from Python.
"""
