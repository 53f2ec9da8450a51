"""Orders in one book that cannot all be filled: reduce-only orders of one position, contingent orders of one group.

`guarded_fillable`, `guarded_cost` and `guarded_leaves` tell what can really trade.

For other compiled modules only: nothing to import from Python.
"""
