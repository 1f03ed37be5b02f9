"""The agent put together: builds its parts, starts their tasks, and ends them in good order."""

import asyncio
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from edge_agent.buffer import Buffer, open_buffer
from edge_agent.domain.delivery import Policy
from edge_agent.errors import AgentError
from edge_agent.forwarder import Forwarder
from edge_agent.health import HealthReporter
from edge_agent.logs import configure_logging
from edge_agent.meter_reader import bus_of, wall_clock_ms
from edge_agent.poller import BusPoller, MeterStatus
from edge_agent.recorder import Recorder
from edge_agent.settings import Settings, read_password
from edge_agent.site import SitePlan, load_site
from edge_agent.uplink import Uplink, make_tls_context
from edge_agent.uplink_connection import BrokerLogin
from protocol.messages import Health, encode_health
from protocol.topics import Up

log = structlog.get_logger()

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_SCAN_IN_HAND_S = 5.0
"""How long a poll may take beyond its bus's own timeout before it is cut off at the end."""


def run_agent(settings: Settings) -> int:
    """Poll, store and forward until SIGTERM or SIGINT; return the exit code.

    Raises: AgentError for what a person can put right.
    """
    configure_logging(settings.log)
    plan = load_site(settings.site)
    uplink = _make_uplink(settings)
    _make_new_buffer(settings.buffer_path)
    try:
        asyncio.run(_run(settings, plan, uplink))
    except BaseExceptionGroup as crash:
        error = _first_agent_error(crash)
        if error is not None:
            raise error from None
        log.critical("agent_crashed", exc_info=crash)
        return 1
    return 0


async def _run(settings: Settings, plan: SitePlan, uplink: Uplink) -> None:
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    buffer = open_buffer(
        settings.buffer_path,
        manifest=plan.manifest,
        boot_id=read_boot_id(),
        max_bytes=settings.buffer.max_bytes,
        started_at_ms=wall_clock_ms(),
    )
    try:
        agent = _Agent(settings, plan, buffer, uplink)
        await agent.run(stopping)
    finally:
        await buffer.close()
    log.info("agent_stopped")


class _Agent:
    """All parts of a running agent."""

    def __init__(self, settings: Settings, plan: SitePlan, buffer: Buffer, uplink: Uplink) -> None:
        self._settings, self._plan, self._buffer, self._uplink = settings, plan, buffer, uplink
        self._forwarder = _make_forwarder(settings, buffer, uplink)
        self._recorder = Recorder(buffer=buffer, on_stored=self._forwarder.stored)
        self._health = HealthReporter(
            statuses=self._statuses,
            buffer_stats=buffer.stats,
            recorder_counters=lambda: _recorder_counters(self._recorder),
            uplink_counters=lambda: _uplink_counters(uplink),
            send=self._send_health,
            now_ms=wall_clock_ms,
            agent_version=agent_version(),
            every_s=settings.uplink.health_every_s,
        )
        self._pollers = [
            BusPoller(
                plan=bus,
                bus=bus_of(bus),
                recorder=self._recorder,
                now_ms=wall_clock_ms,
                on_change=self._health.changed,
            )
            for bus in plan.buses
        ]

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish what is in hand; a task that fails ends all."""
        log.info(
            "agent_started",
            controller_id=self._settings.controller_id,
            version=agent_version(),
            meters=len(self._plan.meters),
            stream=self._buffer.stream_id.hex(),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                polling = [
                    tasks.create_task(poller.run(stopping), name=f"poll {bus.config.id}")
                    for poller, bus in zip(self._pollers, self._plan.buses, strict=True)
                ]
                serving = [tasks.create_task(part(), name=name) for name, part in self._services().items()]
                await stopping.wait()
                log.info("agent_stopping")
                await self._finish(polling)
                for task in (*polling, *serving):
                    task.cancel()
        finally:
            # After a crash as well: what was read belongs on disk.
            with suppress(AgentError):
                await self._recorder.flush()

    def _services(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        return {
            "recorder": self._recorder.run,
            "uplink": self._uplink.run,
            "forwarder": self._forwarder.run,
            "health": self._health.run,
        }

    async def _finish(self, polling: list[asyncio.Task[None]]) -> None:
        """Let the scans in hand arrive, store them, and deliver what can be delivered at once."""
        longest_s = max(bus.config.timeout_s for bus in self._plan.buses)
        await asyncio.wait(polling, timeout=longest_s + _SCAN_IN_HAND_S)
        await self._recorder.flush()
        await self._forwarder.stop()
        await self._uplink.stop()

    def _statuses(self) -> dict[str, MeterStatus]:
        return {meter: status for poller in self._pollers for meter, status in poller.statuses.items()}

    async def _send_health(self, health: Health) -> None:
        await self._uplink.publish(Up.HEALTH, encode_health(health))


def agent_version() -> str:
    """Return the release that is installed."""
    return version("meterhaul")


def read_boot_id() -> bytes:
    """Return 16 bytes that the kernel draws at each boot; random ones where it does not tell."""
    try:
        return uuid.UUID(_BOOT_ID_FILE.read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        return secrets.token_bytes(16)


def _make_new_buffer(path: Path) -> None:
    """Let a short-lived process make the buffer's file at the very first start.

    Its schema comes from sqlite-utils, which would stay in our memory for good: 14 MB of 64. Where this
    fails, `open_buffer` makes the file itself, or says why it cannot.
    """
    if not path.exists():
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            make = "import pathlib, sys; from edge_agent import buffer_schema as b; b.connect(pathlib.Path(sys.argv[1])).close()"
            subprocess.run([sys.executable, "-c", make, path], stderr=subprocess.DEVNULL, check=False)


def _make_uplink(settings: Settings) -> Uplink:
    """Make the uplink; it connects later.

    Raises: SettingsError for certificates or a password that cannot be read.
    """
    broker = settings.broker
    tls = broker.tls
    return Uplink(
        controller_id=settings.controller_id,
        login=BrokerLogin(
            host=broker.host,
            port=broker.port_or_default,
            username=settings.broker_username,
            password=read_password(settings),
            tls=make_tls_context(ca=tls.ca, cert=tls.cert, key=tls.key) if tls else None,
            keepalive_s=broker.keepalive_s,
        ),
        agent_version=agent_version(),
        boot_id=read_boot_id(),
    )


def _recorder_counters(recorder: Recorder) -> dict[str, Any]:
    return {"waiting_in_memory": recorder.held_scans, "is_storage_failing": recorder.is_storage_failing}


def _make_forwarder(settings: Settings, buffer: Buffer, uplink: Uplink) -> Forwarder:
    chosen = settings.uplink
    return Forwarder(
        buffer=buffer,
        uplink=uplink,
        policy=Policy(window=chosen.window, scans_per_batch=chosen.scans_per_batch, ack_timeout_s=chosen.ack_timeout_s),
        send_every_s=chosen.send_every_s,
        hello_every_s=chosen.hello_every_s,
        backlog_bytes_per_s=chosen.backlog_bytes_per_s,
        agent_version=agent_version(),
        boot_id=read_boot_id(),
    )


def _uplink_counters(uplink: Uplink) -> dict[str, Any]:
    return {
        **asdict(uplink.stats),
        "connected": uplink.is_connected,
        "fault": None if uplink.fault is None else str(uplink.fault),
    }


def _stop_on_signals(stopping: asyncio.Event) -> None:
    """Set `stopping` at the first SIGTERM or SIGINT; the second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _first_agent_error(crash: BaseExceptionGroup[BaseException]) -> AgentError | None:
    """Return the first fault that a person can put right, unless something else failed as well."""
    known, other = crash.split(AgentError)
    if known is None or other is not None:
        return None
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, AgentError) else None
