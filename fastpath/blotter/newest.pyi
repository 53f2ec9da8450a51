"""The newest event of each (account, number), for balances by asset and positions by instrument: class `Newest`.

`put` takes an event over; `of_account` and `all` return records.

For other compiled modules only: nothing to import from Python.
"""
