"""What a command causes besides what it asked for: contingent orders, reduce-only orders, triggers.

`follow_up` is called at the end of each command.

For other compiled modules only: nothing to import from Python.
"""
