"""Calls about one order: from the bytes of the request to the bytes of the answer, as in order_lane.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fastpath.model.structs import EVENT_SIZE
from fastpath.wire.order_requests import Requests, set_client_order_id, set_group_owner
from server.engine.orders import OrderRequest
from server.rpc.new_orders import new_order
from server.rpc.order_changes import amend_order, cancel_order
from server.rpc.order_lane import OrderLane
from tradewind.v1 import orders_pb2 as pb

Check: TypeAlias = Callable[[int], OrderRequest]
"""A request that is not plain, of this owner of self-trade groups. Raises what it is refused with."""


class OrderCall:
    """One request, read."""

    def __init__(self, lane: OrderLane, accounts: set[str], read: Requests | Check) -> None:
        self.accounts = accounts
        """The account it is about, whether there is such an account or not."""
        self._lane = lane
        self._read = read

    async def answer(self, group_owner: int) -> bytes:
        """The response message, when all is durable. `group_owner` says whose self-trade group the order names. Raises
        what the order, or the change, is refused with."""
        lane, command = self._lane, self._command(group_owner)
        events = await lane.entry.submit_packed(command)
        answer = lane.writer.one(events)
        if answer is None:
            raise lane.entry.refusal(command, events[:EVENT_SIZE])
        response, decided = answer
        lane.metrics.count(decided)
        return response

    def _command(self, group_owner: int) -> bytes:
        entry, read = self._lane.entry, self._read
        if not isinstance(read, Requests):
            return entry.command(read(group_owner))
        for at in read.unnamed:
            set_client_order_id(read.commands, at, entry.new_id())
        set_group_owner(read.commands, group_owner)
        return bytes(read.commands)


class OrderCalls:
    """Reads requests. Every method raises DecodeError."""

    def __init__(self, lane: OrderLane) -> None:
        self._lane = lane

    def place(self, raw: bytes) -> OrderCall:
        read = self._lane.reader.place(raw)
        if read is not None:
            return OrderCall(self._lane, read.accounts, read)
        message = pb.PlaceOrderRequest.FromString(raw)
        registry = self._lane.entry.registry
        return OrderCall(self._lane, {message.account}, lambda owner: new_order(message, registry, owner))

    def amend(self, raw: bytes) -> OrderCall:
        read = self._lane.reader.amend(raw)
        if read is not None:
            return OrderCall(self._lane, read.accounts, read)
        message = pb.AmendOrderRequest.FromString(raw)
        return OrderCall(self._lane, {message.order.account}, lambda _: amend_order(message, self._lane.entry))

    def cancel(self, raw: bytes) -> OrderCall:
        read = self._lane.reader.cancel(raw)
        if read is not None:
            return OrderCall(self._lane, read.accounts, read)
        message = pb.CancelOrderRequest.FromString(raw)
        return OrderCall(
            self._lane, {message.order.account}, lambda _: cancel_order(message, self._lane.entry.registry)
        )
