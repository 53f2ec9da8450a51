"""Which fields go with which order type, and which statuses are open. Described in `order_sets.pxd`."""

ORDER_TYPES: frozenset[int]
TRIGGERED: frozenset[int]
"""Must have a trigger price."""
TRAILING: frozenset[int]
"""Must have an offset, may have a trigger price."""
CONDITIONAL: frozenset[int]
"""Both: may have a trigger source, never a minimum quantity."""
POSTABLE: frozenset[int]
"""May be post-only."""
PRICED: frozenset[int]
"""Must have a limit price."""
CLOSING: frozenset[int]
"""May close a position."""
PROTECTED: frozenset[int]
"""May have a protection price."""
QUOTE_QTY: frozenset[int]
"""May have a quantity of quote money."""
DISPLAY_QTY: frozenset[int]
"""Must have a display quantity; never reduce-only."""
IMMEDIATE_TIMES: frozenset[int]
"""Values of TimeInForce: take on arrival or not at all."""
OPEN_STATUSES: frozenset[int]
"""Values of OrderStatus: the order may still be filled or canceled; pending ones are open."""

def default_time_in_force_of(order_type: int) -> int:
    """The TimeInForce of an order that names none."""
