"""The relay forwards, counts, and fails as a cellular link does."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from demo.errors import DemoError
from demo.processes import accepts_connections, wait_until
from demo.relay import Relay

WAIT_S = 10


class EchoServer:
    """Answers each connection with what it sends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(connection,)).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(4096):
                connection.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def relay(echo: EchoServer) -> Iterator[Relay]:
    with Relay("127.0.0.1", echo.port) as made:
        yield made


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=WAIT_S)


def ask(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(4096)


def test_bytes_pass_and_are_counted(relay: Relay) -> None:
    with connect(relay) as client:
        assert ask(client, b"hello") == b"hello"
        assert ask(client, b"again!") == b"again!"
    assert (relay.bytes_up, relay.bytes_down) == (11, 11)


def test_cut_link_resets_and_refuses_until_restored(relay: Relay) -> None:
    with connect(relay) as client:
        ask(client, b"hello")
        relay.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert not accepts_connections(relay.port)
    relay.restore()
    with connect(relay) as client:
        assert ask(client, b"back") == b"back"


def test_stalled_link_accepts_but_passes_nothing_until_restored(relay: Relay) -> None:
    with connect(relay) as old:
        ask(old, b"hello")
        relay.stall()
        with connect(relay) as new:
            for client in (old, new):
                client.sendall(b"held")
            assert (relay.bytes_up, relay.bytes_down) == (5, 5)
            relay.restore()
            assert old.recv(4096) == b"held"
            assert new.recv(4096) == b"held"


def test_stalled_link_can_be_cut(relay: Relay) -> None:
    with connect(relay) as client:
        ask(client, b"hello")
        relay.stall()
        client.sendall(b"lost")
        relay.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_client_that_leaves_ends_the_connection_to_the_target(relay: Relay) -> None:
    with connect(relay) as client:
        ask(client, b"hello")
    wait_until(lambda: not relay.connections, WAIT_S, "the relay to be idle")


def test_absent_target_ends_the_connection(echo: EchoServer) -> None:
    echo.close()
    with Relay("127.0.0.1", echo.port) as relay, connect(relay) as client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_port_in_use_is_named(echo: EchoServer) -> None:
    with pytest.raises(DemoError, match=f"cannot listen on 127.0.0.1:{echo.port}"):
        Relay("127.0.0.1", 1, port=echo.port).start()
