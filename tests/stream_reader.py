"""The stream process in a thread of the test, and readers of its streams."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from cloud_hub.stream.api import PATH
from cloud_hub.stream.server import Pace, Streams, listen, make_server
from demo.processes import wait_until

QUICK = Pace(heartbeat_s=5, recheck_s=60, slow_s=1, values_every_s=0.05)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream."""

    name: str
    data: Any
    id: str = ""


class Reader:
    """One open stream."""

    def __init__(
        self, port: int, headers: dict[str, str], last_id: str = "", *, receive_buffer: int = 0, **query: Any
    ) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.connection.sock = socket.socket()
        self.connection.sock.settimeout(30)
        if receive_buffer:
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.connection.sock.connect(("127.0.0.1", port))
        sent = headers | ({"Last-Event-ID": last_id} if last_id else {})
        self.connection.request("GET", f"{PATH}?{urlencode(query, doseq=True)}", headers=sent)
        self.response = self.connection.getresponse()
        self.comments = 0

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.response.status

    def problem(self) -> str:
        """Return why there is no stream."""
        return str(json.loads(self.response.read())["detail"])

    def next(self) -> Message | None:
        """Wait for the next message; None at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                return Message(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            elif fields:
                self.comments += 1
                fields = {}
        return None

    def next_of(self, name: str) -> Message:
        """Wait for the next message of that name."""
        while (message := self.next()) is not None:
            if message.name == name:
                return message
        raise AssertionError(f"the stream ended before {name}")

    def kinds(self, count: int) -> list[str]:
        """Wait for so many events and return their kinds."""
        return [str(self.next_of("happened").data["kind"]) for _ in range(count)]

    def close(self) -> None:
        """Go away."""
        self.response.close()
        self.connection.close()


@dataclass
class Station:
    """The stream process."""

    streams: Streams
    port: int
    end: Callable[[], None]
    """Ends the process in good order."""
    readers: list[Reader] = field(default_factory=list)

    def read(self, headers: dict[str, str], last_id: str = "", **query: Any) -> Reader:
        """Open a stream; it is closed with the station at the latest."""
        self.readers.append(Reader(self.port, headers, last_id, **query))
        return self.readers[-1]

    def ready(self, headers: dict[str, str], last_id: str = "", **query: Any) -> Reader:
        """Open a stream, and wait until it tells what happens from now on."""
        reader = self.read(headers, last_id, **query)
        assert reader.status == 200, reader.problem()
        assert reader.next_of("ready")
        return reader

    def wait_for_count(self, count: int) -> None:
        """Wait until so many streams are open."""
        wait_until(lambda: self.streams.board.count == count, 30, f"{count} open streams")


@contextmanager
def streaming(app: Flask, engine: Engine, *, pace: Pace = QUICK, **limits: int) -> Iterator[Station]:
    """Run the stream process."""
    streams = Streams(app, engine, pace=pace, **limits)
    listener = listen("127.0.0.1", 0)
    server = make_server(streams)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})

    def end() -> None:
        server.should_exit = True
        thread.join()

    thread.start()
    station = Station(streams, listener.getsockname()[1], end)
    try:
        wait_until(lambda: server.started, 30, "the stream process")
        yield station
    finally:
        end()
        listener.close()
        for reader in station.readers:
            reader.close()


def cookie_of(client: FlaskClient) -> dict[str, str]:
    """Return the header by which a browser shows its login."""
    app = client.application
    with app.test_request_context():
        name = app.session_interface.get_cookie_name(app)
    cookie = client.get_cookie(name)
    assert cookie is not None
    return {"Cookie": f"{name}={cookie.value}"}
