"""Cancels and amendments on their way to mirrored venues, by the time they arrive.

`changes_push` and `changes_pop`.

For other compiled modules only: nothing to import from Python.
"""
