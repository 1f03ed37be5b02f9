"""What the hub orders, taken in one after the other: the newest configuration first, then commands."""

import asyncio
from collections import deque
from contextlib import suppress

import structlog

from edge_agent.control.commands import Commands
from edge_agent.control.configuration import Configuration
from edge_agent.control.signatures import SignatureCheckFailed
from edge_agent.errors import StorageUnavailable
from edge_agent.uplink.uplink import Uplink
from protocol.control import decode_signed, parse_command
from protocol.errors import ProtocolError
from protocol.topics import Down

WAITING_MAX = 8
_RETRY_S = 30.0

log = structlog.get_logger()


class Orders:
    """Listens to the hub, and lets one order be followed at a time."""

    def __init__(
        self, *, uplink: Uplink, configuration: Configuration, commands: Commands, retry_s: float = _RETRY_S
    ) -> None:
        self._configuration, self._commands, self._retry_s = configuration, commands, retry_s
        self._wanted: bytes | None = None
        """The newest configuration order that was not judged yet."""
        self._waiting: deque[bytes] = deque()
        self._is_turning_away = False
        self._hub_answered = False
        self._changed = asyncio.Event()
        uplink.listen(self)

    def hub_answered(self) -> None:
        """Note that the hub answered a hello."""
        self._hub_answered = True
        self._changed.set()

    async def run(self) -> None:
        """Follow orders until cancelled."""
        await self._begin()
        while True:
            self._changed.clear()
            await self._work()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._changed.wait()

    # Told by the uplink

    def on_connected(self) -> None:
        """Wait for what the hub says."""

    def on_disconnected(self) -> None:
        """Go on with what is there."""

    def on_message(self, kind: Down, payload: bytes) -> None:
        """Take an order in; it is followed when its turn comes."""
        if kind is Down.CONFIG and payload:
            self._wanted = payload
        elif kind is Down.COMMAND and len(self._waiting) < WAITING_MAX:
            self._waiting.append(payload)
        elif kind is Down.COMMAND:
            self._turn_away(payload)
        self._changed.set()

    def _turn_away(self, payload: bytes) -> None:
        if not self._is_turning_away:
            self._is_turning_away = True
            log.warning("commands_turned_away", waiting=WAITING_MAX)
        with suppress(ProtocolError):
            command = parse_command(decode_signed(payload).body)
            self._commands.refuse_in_passing(
                command, f"{WAITING_MAX} commands are waiting already; order it again later"
            )

    async def _begin(self) -> None:
        """Make good what the run before left open, as soon as the disk takes it."""
        while True:
            try:
                await self._configuration.begin()
                await self._commands.begin()
            except StorageUnavailable as error:
                log.warning("orders_unavailable", reason=str(error))
                await asyncio.sleep(self._retry_s)
            else:
                return

    async def _work(self) -> None:
        """Do everything that waits."""
        await self._see_to_trial()
        if self._wanted is not None:
            payload, self._wanted = self._wanted, None
            if not await self._take_configuration(payload):
                self._wanted = self._wanted or payload
        while self._waiting:
            await self._commands.take(self._waiting.popleft())
            await self._see_to_trial()
        self._is_turning_away = False

    async def _take_configuration(self, payload: bytes) -> bool:
        """Judge a configuration; False when that has to be tried again."""
        try:
            await self._configuration.take(payload)
        except (StorageUnavailable, SignatureCheckFailed) as error:
            log.warning("configuration_put_off", reason=str(error))
            return False
        return True

    async def _see_to_trial(self) -> None:
        if self._hub_answered:
            try:
                await self._configuration.hub_answered()
                await self._commands.remember()
                self._hub_answered = False
            except StorageUnavailable as error:
                log.warning("orders_unavailable", reason=str(error))
        await self._configuration.end_trial()

    def _wait_s(self) -> float | None:
        """Return how long to wait unless something happens: to the end of a trial, or until what failed is tried again."""
        is_undone = self._wanted is not None or self._hub_answered
        waits = (self._configuration.trial_left_s, self._retry_s if is_undone else None)
        return min((wait for wait in waits if wait is not None), default=None)
