"""The sets of order types, times in force and statuses of order_sets.pxd, as Python sees them."""


def _members(uint32_t members):
    return frozenset([value for value in range(32) if members >> value & 1])


ORDER_TYPES = _members(ALL_TYPES)
TRIGGERED = _members(TRIGGERED_TYPES)
TRAILING = _members(TRAILING_TYPES)
CONDITIONAL = _members(CONDITIONAL_TYPES)
POSTABLE = _members(POSTABLE_TYPES)
PRICED = _members(PRICED_TYPES)
CLOSING = _members(CLOSING_TYPES)
PROTECTED = _members(PROTECTED_TYPES)
QUOTE_QTY = _members(QUOTE_QTY_TYPES)
DISPLAY_QTY = _members(DISPLAY_QTY_TYPES)
IMMEDIATE_TIMES = _members(IMMEDIATE)
OPEN_STATUSES = _members(OPEN_STATUS_SET)


def default_time_in_force_of(uint8_t order_type) -> int:
    """The TimeInForce of an order that names none."""
    return default_time_in_force(order_type)
