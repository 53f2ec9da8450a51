"""Memory that the next commands of a batch will need, fetched while the present one is worked on.

`prefetch_first` and `prefetch_batch` go through the batch; `prefetch_makers` and `prefetch_settlement` through the fills.

For other compiled modules only: nothing to import from Python.
"""
