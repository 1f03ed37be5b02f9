"""The agent from its start to its end: what has to be there before it runs, signals, and crashes."""

import asyncio
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from pathlib import Path

import structlog

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.opening import open_buffer
from edge_agent.buffer.refuge import MAX_BYTES as REFUGE_BYTES
from edge_agent.buffer.refuge import Refuge, is_writable
from edge_agent.clock.clock import AgentClock
from edge_agent.control.in_force import Boot, Start, choose
from edge_agent.control.journal import Journal
from edge_agent.control.keys import load_keys
from edge_agent.control.signatures import Signatures
from edge_agent.domain.keepalive import Keepalive
from edge_agent.errors import AgentError, StorageUnavailable
from edge_agent.identity import agent_version, read_boot_id
from edge_agent.logs import configure_logging
from edge_agent.memory import share_one_heap
from edge_agent.settings import Settings, read_password
from edge_agent.site.compile import load_site
from edge_agent.uplink.connection import BrokerLogin
from edge_agent.uplink.tls import make_tls_context
from edge_agent.uplink.uplink import Uplink
from edge_agent.wiring import Agent

log = structlog.get_logger()


def run_agent(settings: Settings) -> int:
    """Poll, store and forward until SIGTERM or SIGINT; return the exit code.

    Raises: AgentError for what a person can put right.
    """
    configure_logging(settings.log)
    share_one_heap()
    _allow_open_files()
    try:
        while _run_once(settings) is _Ended.DISK_IS_BACK:
            log.info("buffer_returns_to_disk", path=str(settings.buffer_path))
    except BaseExceptionGroup as crash:
        error = _first_agent_error(crash)
        if error is not None:
            raise error from None
        log.critical("agent_crashed", exc_info=crash)
        return 1
    return 0


class _Ended(Enum):
    """Why a run ended in good order."""

    STOPPED = auto()
    DISK_IS_BACK = auto()
    """The buffer was in memory, and the disk takes it again."""


def _run_once(settings: Settings) -> _Ended:
    clock = AgentClock()
    start = _choose_configuration(settings, clock)
    signatures = _make_signatures(settings)
    uplink = _make_uplink(settings)
    _make_new_buffer(settings.buffer_path)
    return asyncio.run(_run(settings, start, signatures, uplink, clock))


async def _run(settings: Settings, start: Start, signatures: Signatures, uplink: Uplink, clock: AgentClock) -> _Ended:
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    buffer = _open_buffer(settings, start, clock)
    ended = _Ended.STOPPED
    try:
        agent = Agent(settings=settings, start=start, signatures=signatures, buffer=buffer, uplink=uplink, clock=clock)
        watching = asyncio.create_task(_wait_for_disk(settings, stopping)) if buffer.is_in_memory else None
        await agent.run(stopping)
        if watching is not None and await watching:
            ended = _Ended.DISK_IS_BACK
    finally:
        await buffer.close()
    log.info("agent_stopped")
    return ended


def _open_buffer(settings: Settings, start: Start, clock: AgentClock) -> Buffer:
    """Open the buffer on disk; where that takes nothing, in memory, so that the site does not go dark.

    Raises: SettingsError, AlreadyRunning, BufferCorrupt; StorageUnavailable when memory takes nothing either.
    """
    refuge = Refuge(settings.data_dir)
    opening = partial(
        open_buffer, manifest=start.in_force.plan.manifest, boot_id=read_boot_id(), started_at_ms=clock.now_ms()
    )
    try:
        return opening(settings.buffer_path, max_bytes=settings.buffer.max_bytes, refuge=refuge)
    except StorageUnavailable as error:
        reason = f"{error}; scans are kept in memory, and a power cut loses those that are not delivered"
        log.error("running_in_memory", reason=reason)  # noqa: TRY400 - the message says it all
        bound = min(REFUGE_BYTES, settings.buffer.max_bytes)
        return opening(refuge.prepare(), max_bytes=bound, is_in_memory=True)


async def _wait_for_disk(settings: Settings, stopping: asyncio.Event) -> bool:
    """End the run when the disk takes files again, and say so; the next run brings home what is in memory."""
    while not stopping.is_set():
        if await asyncio.to_thread(is_writable, settings.data_dir):
            stopping.set()
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.buffer.disk_retry_s):
                await stopping.wait()
    return False


def _allow_open_files() -> None:
    """Raise the number of open files to what the system lets this process have: each bus may keep a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _choose_configuration(settings: Settings, clock: AgentClock) -> Start:
    """Decide by which site configuration to go.

    Raises: SettingsError.
    """
    return choose(
        Journal(settings.orders_path),
        partial(load_site, settings.site),
        Boot(read_boot_id().hex(), clock.monotonic_ms(), clock.now_ms()),
        confirm_within_s=settings.orders.confirm_within_s,
        accepts=settings.orders.site_from_hub,
    )


def _make_signatures(settings: Settings) -> Signatures:
    """Read the hub's public keys.

    Raises: SettingsError.
    """
    return Signatures(
        controller_id=settings.controller_id,
        keys=load_keys(settings.orders.keys),
        allow_unsigned=settings.orders.allow_unsigned,
    )


def _make_new_buffer(path: Path) -> None:
    """Let a short-lived process make the buffer's file at the very first start.

    Its schema comes from sqlite-utils, which would stay in our memory for good: 14 MB of 64. Where this
    fails, `open_buffer` makes the file itself, or says why it cannot.
    """
    if not path.exists():
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            make = "import pathlib, sys; from edge_agent.buffer import schema as b; b.connect(pathlib.Path(sys.argv[1])).close()"
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
        ),
        keepalive=Keepalive(broker.keepalive_s, max_s=broker.keepalive_max_s),
        agent_version=agent_version(),
        boot_id=read_boot_id(),
    )


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
