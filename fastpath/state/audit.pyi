"""Every invariant of the trading state, for tests and support.

`audit` names the invariant that is broken; `unbalanced_assets` counts assets whose balances do not sum to 0.

For other compiled modules only: nothing to import from Python.
"""
