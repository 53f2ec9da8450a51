"""Expiry, cancel timers and arrivals at venues. Time comes as commands.

`run_timers`, `run_arrivals`, `set_deadman_timer` carry out their commands; `next_timer` and `next_arrival` tell when the
next one is due.

For other compiled modules only: nothing to import from Python.
"""
