"""A real receiver of webhooks on a loopback port, for tests; and what lets the hub send to it."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.policy import WebhookPolicy

LOOPBACK = (ip_network("127.0.0.0/8"),)


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[BaseHTTPRequestHandler, Received], int | None]
"""Gets each message and returns the status to answer with, or None when it has answered by itself."""


@dataclass
class Receiver:
    """Answers 204 unless told otherwise."""

    port: int = 0
    answer: Script = field(default=lambda _handler, _received: 204)
    received: list[Received] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The messages' ids in the order in which they came."""
        return [one.headers["webhook-id"] for one in self.received]

    def gate(self) -> Gate:
        """Return a gate that lets messages through to this receiver."""
        return Gate(WebhookPolicy(allows_http=True, ports=frozenset({self.port}), networks=LOOPBACK))

    def wait_for(self, count: int, timeout_s: float = 30) -> None:
        """Wait until so many messages have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, timeout_s), f"{len(self.received)} came"


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            with receiver.arrived:
                receiver.received.append(received)
                receiver.connections.add(self.client_address)
                receiver.arrived.notify_all()
            status = receiver.answer(self, received)
            if status is not None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: senders hang up in the middle."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
