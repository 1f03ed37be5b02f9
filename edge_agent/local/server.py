"""Answer the commands that run beside the agent: one question on a line of JSON, one answer, the end.

The socket stands in the data directory; who may read that may ask. Nothing can be changed through it.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.errors import AgentError
from edge_agent.health.brief import in_brief
from edge_agent.local.address import short_address
from edge_agent.local.relayed import RecordingBus
from edge_agent.local.whole_visit import visit_whole
from edge_agent.polling.meter_reader import Visit
from edge_agent.polling.supervisor import Supervisor
from edge_agent.site.compile import find_meter
from protocol.messages import Health
from protocol.quality import quality_name
from protocol.site.plan import GroupPlan, MeterPlan

log = structlog.get_logger()

_MODE = 0o660
_QUESTION_BYTES_MAX = 4_096
_QUESTION_WITHIN_S = 10.0
_GUESTS_MAX = 4


class LocalServer:
    """Serves status and single reads."""

    def __init__(
        self, *, path: Path, supervisor: Supervisor, health: Callable[[], Awaitable[Health]], clock: Clock
    ) -> None:
        """Describe the server; `run` opens the socket at `path`."""
        self._path, self._supervisor, self._health, self._clock = path, supervisor, health, clock
        self._guests = 0

    async def run(self) -> None:
        """Serve until cancelled. Where no socket can be made, the agent does without."""
        try:
            server = await asyncio.start_unix_server(self._serve, sock=_listen(self._path), limit=_QUESTION_BYTES_MAX)
        except OSError as error:
            log.warning("local_socket_missing", path=str(self._path), reason=error.strerror or str(error))
            return
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._guests += 1
        try:
            answer = await self._answer(reader)
            writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
            await writer.drain()
        except OSError:
            pass  # the guest has left
        finally:
            self._guests -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        if self._guests > _GUESTS_MAX:
            return {"error": "the agent answers too many commands already; try again"}
        try:
            async with asyncio.timeout(_QUESTION_WITHIN_S):
                question = json.loads(await reader.readuntil(b"\n"))
        except (TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return {"error": "the question is not a line of JSON"}
        try:
            match question:
                case {"ask": "status"}:
                    return await self._status()
                case {"ask": "read", "meter": str(meter_id)}:
                    return await self._read(meter_id)
                case _:
                    return {"error": "the question is not known to this release of the agent; restart it"}
        except AgentError as error:
            return {"error": str(error)}

    async def _status(self) -> dict[str, Any]:
        health = in_brief(await self._health())
        visits = self._supervisor.newest
        newest = {meter: _newest_report(visits[meter]) for meter in health.meters if meter in visits}
        return {"health": health.model_dump(mode="json"), "newest": newest}

    async def _read(self, meter_id: str) -> dict[str, Any]:
        """Ask a meter on the agent's own line, between two polls, and tell what was heard there, undecoded."""
        bus_plan, meter = find_meter(self._supervisor.plan, meter_id)
        observed_at_ms, heard = await self._supervisor.on_bus(meter_id, self._listen_to)
        line = bus_plan.config.model_dump(mode="json", exclude={"meters"})
        return {
            "site": {
                "buses": [line | {"meters": [meter.config.model_dump(mode="json")]}],
                "profiles": [meter.profile.model_dump(mode="json", exclude_none=True)],
            },
            "observed_at_ms": observed_at_ms,
            "heard": heard,
        }

    async def _listen_to(self, bus: ModbusBus, meter: MeterPlan) -> tuple[int, list[dict[str, Any]]]:
        bus_plan, _ = find_meter(self._supervisor.plan, meter.config.id)
        recording = RecordingBus(bus, bus_plan.config)
        visit, _ = await visit_whole(recording, meter, self._clock)
        return visit.scan.observed_at_ms, recording.heard


def _listen(path: Path) -> socket.socket:
    """Open the socket.

    Raises: OSError.
    """
    path.unlink(missing_ok=True)  # of a run that was killed; the buffer's lock says that it is over
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_address(path) as address:
            listener.bind(address)
        path.chmod(_MODE)
    except OSError:
        listener.close()
        raise
    return listener


def _newest_report(visits: Sequence[tuple[GroupPlan, Visit]]) -> dict[str, Any]:
    """Report the newest value of each point, and when it was read."""
    return {
        point.name: {
            "at_ms": visit.scan.observed_at_ms,
            "value": visit.scan.values[slot],
            "unit": point.unit,
            "quality": quality_name(visit.scan.quality_at(slot)),
        }
        for group, visit in visits
        for slot, point in enumerate(group.points)
    }
