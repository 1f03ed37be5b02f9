"""The parts of a running agent, and how they are joined."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import structlog

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock
from edge_agent.clock.timekeeper import Timekeeper
from edge_agent.control.control import Control
from edge_agent.control.in_force import Start
from edge_agent.control.signatures import Signatures
from edge_agent.domain.delivery import Policy
from edge_agent.errors import AgentError
from edge_agent.health.reporter import HealthReporter
from edge_agent.identity import agent_version, read_boot_id
from edge_agent.local.server import LocalServer
from edge_agent.memory import give_back_memory
from edge_agent.polling.recorder import Recorder
from edge_agent.polling.status import meters_line
from edge_agent.polling.supervisor import Supervisor
from edge_agent.settings import Settings, read_service_manager
from edge_agent.systemd import Notifier, Watchdog
from edge_agent.uplink.economy import Economy
from edge_agent.uplink.forwarder import Forwarder
from edge_agent.uplink.uplink import Uplink
from protocol.messages import Health, encode_health
from protocol.ranges import Range
from protocol.site.plan import SitePlan
from protocol.topics import Up

log = structlog.get_logger()

_SCAN_IN_HAND_S = 5.0
"""How long a poll may take beyond its bus's own timeout before it is cut off at the end."""


class Agent:
    """All parts of a running agent, each given what it needs of the others."""

    def __init__(
        self,
        *,
        settings: Settings,
        start: Start,
        signatures: Signatures,
        buffer: Buffer,
        uplink: Uplink,
        clock: AgentClock,
    ) -> None:
        self._settings, self._start, self._buffer, self._uplink, self._clock = settings, start, buffer, uplink, clock
        self._plan = start.in_force.plan
        manager = read_service_manager()
        self._notifier = Notifier(manager.notify_socket)
        self._forwarder = self._make_forwarder()
        self._timekeeper = Timekeeper(
            clock=clock, buffer=buffer, on_stamped=self._forwarder.stamped, on_change=self._tell_soon
        )
        self._recorder = Recorder(buffer=buffer, clock=clock, on_stored=self._stored, on_held=self._held)
        self._supervisor = Supervisor(
            plan=self._plan,
            sink=self._recorder,
            clock=clock,
            on_change=self._tell_soon,
            lines_at_once=settings.polling.lines_at_once,
        )
        self._economy = Economy(
            settings=settings.uplink,
            policy=self._plan.config.uplink,
            buffer=buffer,
            uplink=uplink,
            sender=self._forwarder,
            clock=clock,
            thin_gauges=self._supervisor.thin_gauges,
            on_change=self._tell_soon,
        )
        self._health = self._make_health()
        self._control = Control(
            settings=settings,
            start=start,
            signatures=signatures,
            uplink=uplink,
            clock=clock,
            site=self,
            buffer=buffer,
            forwarder=self._forwarder,
            supervisor=self._supervisor,
            health=self._health,
        )
        self._local = LocalServer(
            path=settings.socket_path, supervisor=self._supervisor, health=self._health.collect, clock=clock
        )
        self._watchdog = Watchdog(
            manager=manager,
            notifier=self._notifier,
            buses=lambda: self._supervisor.progress,
            storing=self._recorder,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish what is in hand; a task that fails ends all."""
        log.info(
            "agent_started",
            controller_id=self._settings.controller_id,
            version=agent_version(),
            configuration=self._start.in_force.source,
            meters=len(self._plan.meters),
            stream=self._buffer.stream_id.hex(),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(self._supervisor.run(stopping), name="supervisor")
                serving = [tasks.create_task(part(), name=name) for name, part in self._services().items()]
                self._notifier.ready()
                give_back_memory()
                await stopping.wait()
                log.info("agent_stopping")
                self._notifier.stopping()
                await self._finish(polling)
                for task in (polling, *serving):
                    task.cancel()
        finally:
            # After a crash as well: what was read belongs on disk.
            with suppress(AgentError):
                await self._recorder.flush()

    # What changes with the site configuration

    async def switch(self, plan: SitePlan) -> None:
        """Poll and send by another plan from now on; what both plans have in common goes on undisturbed.

        Raises: StorageUnavailable when the buffer does not take the change; all is then as before.
        """

        async def begin_stream() -> None:
            await self._buffer.begin_stream(plan.manifest, started_at_ms=self._clock.now_ms())
            self._forwarder.stream_begun()

        is_new = plan.manifest.hash != self._buffer.manifest_hash
        await self._supervisor.reconfigure(
            plan, switch=(lambda: self._recorder.between_cycles(begin_stream)) if is_new else None
        )
        self._economy.follow(plan.config.uplink)
        give_back_memory()

    def greet_hub(self) -> None:
        """Say hello anew; only an answer to that hello counts."""
        self._forwarder.greet_anew()

    def _services(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        return {
            "timekeeper": self._timekeeper.run,
            "recorder": self._recorder.run,
            "uplink": self._uplink.run,
            "forwarder": self._forwarder.run,
            "economy": self._economy.run,
            "health": self._health.run,
            "watchdog": self._watchdog.run,
            "local": self._local.run,
            **self._control.services(),
        }

    async def _finish(self, polling: asyncio.Task[None]) -> None:
        """Let the scans in hand arrive, store them, and deliver what can be delivered at once."""
        longest_s = max(bus.config.timeout_s for bus in self._supervisor.plan.buses)
        await asyncio.wait({polling}, timeout=longest_s + _SCAN_IN_HAND_S)
        await self._recorder.flush()
        await self._forwarder.stop()
        await self._uplink.stop()
        await self._economy.keep()

    # What one part tells another

    def _stored(self, stored: Range) -> None:
        self._watchdog.committed()
        self._forwarder.stored(stored)

    def _held(self) -> None:
        self._watchdog.committed()
        self._timekeeper.scans_held()

    def _tell_soon(self) -> None:
        self._health.changed()
        self._notifier.status(meters_line(self._supervisor.statuses))

    async def _send_health(self, health: Health) -> None:
        await self._uplink.publish(Up.HEALTH, encode_health(health))

    # Parts that take many words

    def _make_forwarder(self) -> Forwarder:
        chosen = self._settings.uplink
        return Forwarder(
            buffer=self._buffer,
            uplink=self._uplink,
            policy=Policy(
                window=chosen.window, scans_per_batch=chosen.scans_per_batch, ack_timeout_s=chosen.ack_timeout_s
            ),
            controller_id=self._settings.controller_id,
            clock=self._clock,
            hello_every_s=chosen.hello_every_s,
            agent_version=agent_version(),
            boot_id=read_boot_id(),
        )

    def _make_health(self) -> HealthReporter:
        supervisor = self._supervisor
        return HealthReporter(
            statuses=lambda: supervisor.statuses,
            buffer_stats=self._buffer.stats,
            recorder_counters=lambda: _recorder_counters(self._recorder),
            uplink_counters=lambda: {**_uplink_counters(self._uplink), "outstanding": self._forwarder.outstanding},
            send=self._send_health,
            now_ms=self._clock.now_ms,
            agent_version=agent_version(),
            every_s=self._settings.uplink.health_every_s,
            change_pause_s=self._settings.uplink.health_pause_s,
            more={
                "buses": lambda: {bus: asdict(status) for bus, status in supervisor.bus_statuses.items()},
                "routers": lambda: {meter: s.router for meter, s in supervisor.statuses.items() if s.router},
                "traffic": self._economy.report,
                "clock": self._timekeeper.report,
                "configuration": lambda: self._control.report(),  # noqa: PLW0108 - made after this, of this
            },
        )


def _recorder_counters(recorder: Recorder) -> dict[str, Any]:
    return {"waiting_in_memory": recorder.scans_in_memory, "is_storage_failing": recorder.is_storage_failing}


def _uplink_counters(uplink: Uplink) -> dict[str, Any]:
    return {
        **asdict(uplink.stats),
        "connected": uplink.is_connected,
        "fault": None if uplink.fault is None else str(uplink.fault),
    }
