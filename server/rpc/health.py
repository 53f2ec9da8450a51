"""grpc.health.v1 over the status board: every service by its full name, every venue as feed/<venue>, and "" for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from grpc_health.v1 import health_pb2 as pb

from server.base.errors import NotFound, ShuttingDown
from server.process.lifecycle import ServiceState, ServiceStatus, StatusBoard
from server.rpc.boundary import Call

SERVING: int = pb.HealthCheckResponse.SERVING
NOT_SERVING: int = pb.HealthCheckResponse.NOT_SERVING
UNKNOWN: int = pb.HealthCheckResponse.SERVICE_UNKNOWN

_WORKS = (ServiceState.SERVING, ServiceState.DEGRADED)


class Health:
    def __init__(self, board: StatusBoard, services: tuple[str, ...]) -> None:
        """`services` are those that must work for the server as a whole (the name "") to be SERVING."""
        self._board = board
        self._services = services

    async def Check(self, request: pb.HealthCheckRequest, call: Call) -> pb.HealthCheckResponse:
        status = self._serving(request.service)
        if status == UNKNOWN:
            raise NotFound("service", request.service, hint="List shows all of them")
        return pb.HealthCheckResponse(status=status)

    async def List(self, request: pb.HealthListRequest, call: Call) -> pb.HealthListResponse:
        names = ["", *(status.name for status in self._board.all())]
        return pb.HealthListResponse(
            statuses={name: pb.HealthCheckResponse(status=self._serving(name)) for name in names}
        )

    async def Watch(self, request: pb.HealthCheckRequest, call: Call) -> AsyncIterator[pb.HealthCheckResponse]:
        changed = asyncio.Event()

        def notice(_: ServiceStatus) -> None:
            changed.set()

        stop_listening = self._board.listen(notice)
        told = None
        try:
            while True:
                changed.clear()
                stopping = self._board.stopping  # before the state: one that came while a message went out is told, too
                status = self._serving(request.service)
                if status != told:
                    told = status
                    yield pb.HealthCheckResponse(status=status)
                if stopping:
                    raise ShuttingDown("the server is stopping")
                await changed.wait()
        finally:
            stop_listening()

    def _serving(self, name: str) -> int:
        if not name:
            all_work = all(self._serving(each) == SERVING for each in self._services)
            return SERVING if all_work else NOT_SERVING
        status = self._board.get(name)
        if status is None:
            return UNKNOWN
        return SERVING if status.state in _WORKS else NOT_SERVING
