"""One connection's line, watched from the thread that moves its packets: bytes, silences, and a silent death."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

from edge_agent.uplink.tcp_info import LineBytes, TcpInfo, read_tcp_info

IDLE_FROM_S = 60.0
"""Shorter silences are told to nobody: no network forgets a line so soon."""
_ANSWER_WITHIN_MS = 60_000
"""What was sent and is not acknowledged for so long ends the connection, a sign of life included."""
_FAREWELL_SEGMENTS = 3
"""Closing a connection takes about so many, after the last look at it."""


class LineWatch:
    """Looks at a connection each second or so."""

    def __init__(
        self,
        *,
        on_survived: Callable[[float], None],
        ask_kernel: Callable[[socket.socket], TcpInfo | None] = read_tcp_info,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin before there is a socket; `on_survived` is told of each silence that the line lived through."""
        self._ask_kernel, self._clock = ask_kernel, clock
        self.bytes = LineBytes()
        self.acked_bytes = 0
        """Grows for as long as the other side takes what is sent."""
        self.died_after_idle_s: float | None = None
        """Set at the end, when what was sent after a silence of so many seconds was never acknowledged."""
        self._header_bytes = 0
        self._on_survived = on_survived
        self._heard_s = clock()
        self._asked_s: float | None = None
        """When something was first found to be unanswered; None while nothing is."""

    def opened(self, line: object) -> None:
        """Have the kernel end the connection when it does not carry what is sent."""
        self._heard_s = self._clock()
        if isinstance(line, socket.socket):
            with suppress(OSError, AttributeError):  # not everywhere
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _ANSWER_WITHIN_MS)
        self.look(line)

    def look(self, line: object) -> None:
        """Take in what the kernel knows now."""
        _let_acks_wait(line)
        info = self._ask_kernel(line) if isinstance(line, socket.socket) else None
        if info is None:
            return
        self.bytes, self.acked_bytes = info.line, info.acked_bytes
        self._header_bytes = info.header_bytes
        self._note_silence(info, self._clock())

    def closing(self, line: object) -> None:
        """Take a last look."""
        self.look(line)
        farewell = _FAREWELL_SEGMENTS * self._header_bytes // 2
        self.bytes += LineBytes(farewell, farewell)
        if self._asked_s is not None and self._asked_s - self._heard_s >= IDLE_FROM_S:
            self.died_after_idle_s = self._asked_s - self._heard_s

    def _note_silence(self, info: TcpInfo, now_s: float) -> None:
        if info.unanswered_bytes:
            self._asked_s = now_s if self._asked_s is None else self._asked_s
            return
        heard_s = now_s - info.heard_s_ago
        if heard_s - self._heard_s >= IDLE_FROM_S:
            self._on_survived(heard_s - self._heard_s)
        self._heard_s, self._asked_s = max(self._heard_s, heard_s), None


def _let_acks_wait(line: object) -> None:
    """Have the kernel acknowledge what comes with what we say next, or with what comes next.

    After a silence it would acknowledge the broker's answer and the hub's at once, each by a packet of its
    own. It forgets what it was told, so it is told again each time.
    """
    if isinstance(line, socket.socket):
        with suppress(OSError, AttributeError):  # not everywhere
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
