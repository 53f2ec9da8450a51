"""The limits of the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much the engine takes and keeps. Beyond a bound it refuses with a reason; it never drops."""

    max_orders: int = 4_000_000
    """Orders for ever: a client order id is never given twice."""
    max_open_orders: int = 1_000_000
    max_instruments: int = 4_096
    max_accounts: int = 65_536
    max_assets: int = 4_096
    queue_commands: int = 65_536
    """Commands that wait for the journal; more are refused with QueueFull."""
    batch_commands: int = 8_192
    """Commands of one group commit, and the most that one call may submit."""
    closed_orders: int = 200_000
    """Closed orders kept for ListOrders; older ones are still found by id."""
    fills: int = 200_000
    """Fills kept for ListFills."""
    stream_log_bytes: int = 64 * 2**20
    """Recent events kept for streams: how far a reader may lag behind, and from how far back it can resume."""
    heartbeat_s: float = 10.0
    journal_stall_s: float = 5.0
    """How long a sync may take before commands are refused until it is over."""
    journal_retry_s: float = 0.5
    """Between two tries to write a row that the journal refused."""
