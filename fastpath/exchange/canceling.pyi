"""Cancels of single orders.

`cancel` carries out CANCEL; `request_cancel` cancels an order, or sends the cancel to its venue; `find_meant` finds the
order that a command names.

For other compiled modules only: nothing to import from Python.
"""
