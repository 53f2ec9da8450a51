"""Price-time matching of an incoming order with a book.

`match_order` matches, `match_resume` goes on after a pause, `amend_order` changes a resting order; `match_fillable` and
`match_cost` say beforehand what would trade and at what cost.

For other compiled modules only: nothing to import from Python.
"""
