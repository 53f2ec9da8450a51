"""The event records of the running batch.

`events_next` and `events_order` add one; `events_reject_command` says why a command changed nothing.

For other compiled modules only: nothing to import from Python.
"""
