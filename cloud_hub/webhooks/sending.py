"""One message over the wire: to the address that was checked, within a time and a size, following nothing.

httpcore rather than a client above it: it follows no redirects, keeps no cookies and reads no proxy from the
environment, and it lets us open its connections ourselves. So the number that was checked is the one that is
connected to, while TLS still verifies the name.
"""

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import httpcore

from cloud_hub.errors import HubError
from cloud_hub.webhooks.addresses import Gate, RefusedAddress

WITHIN_S: Final = 10.0
"""From the name's resolution to the answer's end."""
ANSWER_BYTES_MAX: Final = 64 * 1024
KEPT_BYTES: Final = 1024
"""What is kept of an answer."""
_WRITE_BYTES = 16 * 1024

SocketOptions = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]


class _TooMuch(HubError):
    """The answer is longer than anybody reads."""


class _TooLate(HubError):
    """The time is over."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one attempt."""

    status: int | None
    duration_ms: int
    problem: str
    """Empty when the message was accepted."""
    text: str = ""
    asked_to_wait_s: float | None = None


class _Allowance:
    """What an exchange may still take of time and bytes."""

    def __init__(self) -> None:
        self._ends_at = 0.0
        self._bytes = 0

    def renew(self) -> None:
        """Begin an exchange."""
        self._ends_at = time.monotonic() + WITHIN_S
        self._bytes = ANSWER_BYTES_MAX

    def left_s(self) -> float:
        """Return the seconds left. Raises: _TooLate."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise _TooLate(f"it took longer than {WITHIN_S:g} seconds")
        return left

    def take(self, count: int) -> None:
        """Count bytes that came. Raises: _TooMuch."""
        self._bytes -= count
        if self._bytes < 0:
            raise _TooMuch(f"the answer is longer than {ANSWER_BYTES_MAX // 1024} KiB")


class _Stream(httpcore.NetworkStream):
    """A connection on which every step counts against the exchange: one that drips is as late as one that is silent."""

    def __init__(self, inner: httpcore.NetworkStream, allowance: _Allowance) -> None:
        self._inner, self._allowance = inner, allowance

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - httpcore's signature
        """Read what is there."""
        came = self._inner.read(max_bytes, self._allowance.left_s())
        self._allowance.take(len(came))
        return came

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - httpcore's signature
        """Write piece by piece, so that a reader who dawdles is late as well."""
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._inner.write(buffer[start : start + _WRITE_BYTES], self._allowance.left_s())

    def close(self) -> None:
        """Close."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - httpcore's signature
    ) -> httpcore.NetworkStream:
        """Agree on keys with whoever has a certificate for the name."""
        inner = self._inner.start_tls(ssl_context, server_hostname, self._allowance.left_s())
        return _Stream(inner, self._allowance)

    def get_extra_info(self, info: str) -> object:
        """Answer what httpcore wants to know of the socket."""
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens connections to checked numbers only."""

    def __init__(self, gate: Gate, allowance: _Allowance) -> None:
        self._gate, self._allowance = gate, allowance
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - httpcore's signature
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve the name once, check, and connect to what was checked."""
        numbers = self._gate.open_numbers(host, port)
        for number in numbers[:-1]:
            try:
                return self._connect(number, port, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(numbers[-1], port, local_address, socket_options)

    def _connect(
        self, number: str, port: int, local_address: str | None, socket_options: SocketOptions | None
    ) -> httpcore.NetworkStream:
        inner = self._inner.connect_tcp(number, port, self._allowance.left_s(), local_address, socket_options)
        return _Stream(inner, self._allowance)


class Sender:
    """Sends messages one after another, over one connection while the receiver keeps it open. Close it."""

    def __init__(self, gate: Gate, tls: ssl.SSLContext | None = None) -> None:
        self._gate = gate
        self._allowance = _Allowance()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=1,
            http2=False,
            network_backend=_Backend(gate, self._allowance),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.close()

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post a message; whatever goes wrong is told in the answer."""
        self._allowance.renew()
        begun = time.monotonic()
        try:
            self._gate.check_url(url)
            return self._exchange(url, headers, body, begun)
        except RefusedAddress as error:
            return _failed(begun, str(error))
        except (_TooLate, _TooMuch) as error:
            return _failed(begun, f"{error}: answer at once with 2xx, and work on the message afterwards")
        except httpcore.TimeoutException:
            return _failed(begun, f"no answer within {WITHIN_S:g} seconds: answer at once, and work afterwards")
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            return _failed(
                begun, f"the address cannot be reached or does not speak HTTP: {error or type(error).__name__}"
            )

    def _exchange(self, url: str, headers: Mapping[str, str], body: bytes, begun: float) -> Answer:
        named = {"content-type": "application/json", "user-agent": "Meterhaul-Webhooks/1", **headers}
        sent = [(name.encode(), value.encode()) for name, value in named.items()]
        with self._pool.stream("POST", url, headers=sent, content=body) as response:
            kept = b""
            for chunk in response.iter_stream():
                kept += chunk
                if len(kept) >= KEPT_BYTES:
                    break  # the rest is not worth waiting for; httpcore closes the connection
            text = kept[:KEPT_BYTES].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
            return Answer(
                response.status, _since_ms(begun), _problem_of(response.status), text, _asked_to_wait(response.headers)
            )


def _problem_of(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"the address answers with a redirect ({status}), which is not followed: set the final address"
    if status == 410:
        return "the address answers 410 Gone: nobody wants messages there any more"
    return f"the address answers with the status {status}"


def _asked_to_wait(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    values = [value for name, value in headers if name.lower() == b"retry-after"]
    return float(values[0]) if values and values[0].isdigit() and len(values[0]) < 8 else None


def _failed(begun: float, problem: str) -> Answer:
    return Answer(None, _since_ms(begun), problem)


def _since_ms(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
