"""What the kernel knows of one TCP connection: its bytes on the line, and whether the other side still answers.

Counted per connection, because the interface that leads to the broker may also lead to the meters.
"""

import socket
import struct
from dataclasses import dataclass

_LAYOUT = struct.Struct("=8B24I4Q6I4Q2I2Q")
"""`struct tcp_info` of linux/tcp.h up to tcpi_bytes_retrans, which Linux has had since 4.19."""
_OPTION_TIMESTAMPS = 1
_IPV4_HEADER, _IPV6_HEADER, _TCP_HEADER, _TIMESTAMPS = 20, 40, 20, 12
_SYN_EXTRA = 8
"""A SYN also names its segment size, window scale and SACK."""


@dataclass(frozen=True, slots=True)
class LineBytes:
    """Bytes of IP packets, headers included, both ways."""

    up: int = 0
    down: int = 0

    def __add__(self, other: "LineBytes") -> "LineBytes":
        return LineBytes(self.up + other.up, self.down + other.down)

    @property
    def total(self) -> int:
        """Return both ways together."""
        return self.up + self.down


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """One look at a connection."""

    line: LineBytes
    header_bytes: int
    """Of IP and TCP together, per segment."""
    acked_bytes: int
    """What the other side has acknowledged, the connection's first byte (its SYN) included."""
    unanswered_bytes: int
    """What was sent and the other side has not acknowledged."""
    heard_s_ago: float
    """Seconds since the other side's last sign of life."""


def read_tcp_info(line: socket.socket) -> TcpInfo | None:
    """Look at a connection that is not closed yet; None where the kernel does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        told = line.getsockopt(socket.IPPROTO_TCP, option, _LAYOUT.size)
    except OSError:
        return None
    if len(told) < _LAYOUT.size:
        return None
    fields = _LAYOUT.unpack(told)
    options, last_data_received_ms, last_ack_received_ms = fields[5], fields[19], fields[20]
    acked, received, segments_out, segments_in = fields[34], fields[35], fields[36], fields[37]
    sent, sent_again = fields[48], fields[49]
    header = _header_bytes(line, has_timestamps=bool(options & _OPTION_TIMESTAMPS))
    return TcpInfo(
        line=LineBytes(
            sent + segments_out * header + (_SYN_EXTRA if segments_out else 0),
            received + segments_in * header + (_SYN_EXTRA if segments_in else 0),
        ),
        header_bytes=header,
        acked_bytes=acked,
        unanswered_bytes=max(0, sent - sent_again - max(0, acked - 1)),
        heard_s_ago=min(last_data_received_ms, last_ack_received_ms) / 1000,
    )


def _header_bytes(line: socket.socket, *, has_timestamps: bool) -> int:
    return (
        (_IPV6_HEADER if line.family == socket.AF_INET6 else _IPV4_HEADER)
        + _TCP_HEADER
        + (_TIMESTAMPS if has_timestamps else 0)
    )
