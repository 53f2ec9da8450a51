"""Memory that the next commands of a batch will need, fetched while the present one is worked on.

`look_ahead_start` and `look_ahead` go through the batch; `prefetch_makers` and `prefetch_settlement` through the fills.

For other compiled modules only: nothing to import from Python.
"""
