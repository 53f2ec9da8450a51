"""The fast paths of plain commands of the standalone engine; anything else takes the general path in `engine`.

`plain_new`, `plain_cancel` and `plain_reduce` do the whole command, or nothing and return False.

For other compiled modules only: nothing to import from Python.
"""
