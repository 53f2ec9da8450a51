"""Watches how many of the orders that the engine can hold are in use."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Gauge

from server.engine.engine import Engine
from server.engine.projection import Changes
from server.process.lifecycle import ServiceState, StatusBoard

SERVICE = "engine/orders"
_WARN_PERCENT = 80

log = structlog.get_logger("engine")


class OrderRoom:
    """Shows the use on the board and in metrics; from 80 % on, logs every percent."""

    def __init__(self, engine: Engine, board: StatusBoard, registry: CollectorRegistry) -> None:
        self._engine = engine
        self._board = board
        self._percent = -1
        used = Gauge("tradewind_engine_orders", "Orders the engine holds, closed ones included.", registry=registry)
        used.set_function(lambda: engine.exchange.order_count)
        most = Gauge("tradewind_engine_max_orders", "Orders the engine can hold: engine.max_orders.", registry=registry)
        most.set(engine.limits.max_orders)
        engine.add_listener(self._look)
        self._look()

    def _look(self, _: Changes | None = None) -> None:
        used, most = self._engine.exchange.order_count, self._engine.limits.max_orders
        percent = 100 * used // most
        if percent == self._percent:
            return
        self._percent = percent
        detail = f"{used} of {most} orders used ({percent} %)"
        if percent >= _WARN_PERCENT:
            detail += ": raise engine.max_orders and start again; beyond it every new order is refused"
            log.warning("orders run out", used=used, max_orders=most, percent=percent)
        self._board.set(SERVICE, _state(percent), detail)


def _state(percent: int) -> ServiceState:
    if percent >= 100:
        return ServiceState.NOT_SERVING
    return ServiceState.DEGRADED if percent >= _WARN_PERCENT else ServiceState.SERVING
