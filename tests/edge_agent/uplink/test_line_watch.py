import socket
from collections.abc import Iterator

import pytest

from edge_agent.uplink.line_watch import LineWatch
from edge_agent.uplink.tcp_info import LineBytes, TcpInfo, read_tcp_info

HEADER = 52


class Line:
    """What a kernel would say of a line, and the time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.now_s = 1000.0
        self.heard_s = 1000.0
        self.unanswered = 0
        self.survived: list[float] = []
        self.watch = LineWatch(
            on_survived=self.survived.append, ask_kernel=lambda _: self._tell(), clock=lambda: self.now_s
        )
        self.watch.opened(sock)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.watch.look(self.sock)

    def ask(self) -> None:
        self.unanswered = 30

    def answer(self) -> None:
        self.unanswered, self.heard_s = 0, self.now_s

    def _tell(self) -> TcpInfo:
        return TcpInfo(LineBytes(100, 50), HEADER, 10, self.unanswered, self.now_s - self.heard_s)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        with client, peer:
            yield client, peer


@pytest.fixture
def line(sockets: tuple[socket.socket, socket.socket]) -> Line:
    return Line(sockets[0])


def test_a_silence_that_the_line_lived_through_is_told(line: Line) -> None:
    line.pass_time(300)
    line.ask()
    line.pass_time(1)
    line.answer()
    line.pass_time(1)
    assert line.survived == [pytest.approx(301)]


def test_short_silences_are_told_to_nobody(line: Line) -> None:
    for _ in range(10):
        line.pass_time(50)
        line.answer()
    line.pass_time(1)
    assert line.survived == []


def test_what_was_never_answered_after_a_silence_is_a_silent_death(line: Line) -> None:
    line.pass_time(300)
    line.ask()
    line.pass_time(20)
    line.watch.closing(line.sock)
    assert line.watch.died_after_idle_s == pytest.approx(301)


def test_an_answer_to_the_very_question_that_is_refused_at_once_counts_as_well(line: Line) -> None:
    """A network that forgot the line may reset it, before anybody looks again."""
    line.pass_time(300)
    line.ask()
    line.watch.closing(line.sock)
    assert line.watch.died_after_idle_s == pytest.approx(300)


def test_an_end_while_nothing_was_asked_teaches_nothing(line: Line) -> None:
    line.pass_time(300)
    line.watch.closing(line.sock)
    assert line.watch.died_after_idle_s is None


def test_an_end_in_the_middle_of_talk_teaches_nothing(line: Line) -> None:
    line.pass_time(30)
    line.ask()
    line.pass_time(60)
    line.watch.closing(line.sock)
    assert line.watch.died_after_idle_s is None


def test_closing_is_counted(line: Line) -> None:
    line.watch.closing(line.sock)
    assert line.watch.bytes.total > 150


def test_the_kernel_counts_what_is_sent_and_what_waits(sockets: tuple[socket.socket, socket.socket]) -> None:
    client, peer = sockets
    before = read_tcp_info(client)
    client.sendall(b"x" * 1000)
    assert len(peer.recv(1000, socket.MSG_WAITALL)) == 1000
    peer.sendall(b"y" * 500)
    assert len(client.recv(500, socket.MSG_WAITALL)) == 500
    after = read_tcp_info(client)
    assert before is not None
    assert after is not None
    assert 1000 + after.header_bytes <= after.line.up - before.line.up <= 1000 + 3 * after.header_bytes
    assert 500 + after.header_bytes <= after.line.down - before.line.down <= 500 + 3 * after.header_bytes
    assert after.unanswered_bytes == 0


def test_a_closed_socket_tells_nothing() -> None:
    closed = socket.socket()
    closed.close()
    assert read_tcp_info(closed) is None
