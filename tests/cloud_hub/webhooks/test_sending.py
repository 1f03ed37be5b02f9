"""One message over the wire: only to where it was checked, within a time and a size, following nothing."""

import ssl
import threading
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest
from certificates import modbus_tls_files
from webhook_receiver import Received, Receiver, Script, receiving

from cloud_hub.webhooks import sending
from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.sending import KEPT_BYTES, Answer, Sender

HEADERS = {"webhook-id": "msg_1"}


def send(receiver: Receiver, *, gate: Gate | None = None, url: str = "") -> Answer:
    with Sender(gate or receiver.gate()) as sender:
        return sender.send(url or receiver.url, HEADERS, b"{}")


def answer_with(status: int, headers: dict[str, str], body: bytes) -> Script:
    def answer(handler: BaseHTTPRequestHandler, _received: Received) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_message_arrives_as_it_was_written() -> None:
    with receiving() as receiver:
        answer = send(receiver)
    assert (answer.status, answer.problem) == (204, "")
    (received,) = receiver.received
    assert (received.path, received.body) == ("/hook", b"{}")
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_messages_share_a_connection() -> None:
    with receiving() as receiver, Sender(receiver.gate()) as sender:
        for _ in range(3):
            assert sender.send(receiver.url, HEADERS, b"{}").problem == ""
    assert len(receiver.connections) == 1


def test_a_redirect_is_not_followed() -> None:
    with receiving() as receiver:
        receiver.answer = answer_with(302, {"Location": "/elsewhere"}, b"")
        answer = send(receiver)
    assert answer.status == 302
    assert "redirect (302), which is not followed" in answer.problem
    assert [one.path for one in receiver.received] == ["/hook"]


def test_a_proxy_in_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiving() as receiver:
        assert send(receiver).problem == ""


def test_a_name_that_leads_inwards_since_it_was_saved_is_not_connected_to() -> None:
    answers = [["93.184.215.14"], ["127.0.0.1"]]
    asked: list[str] = []

    def rebind(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers.pop(0)

    with receiving() as receiver:
        gate = replace(receiver.gate(), resolve=rebind)
        gate = replace(gate, policy=replace(gate.policy, networks=()))
        url = f"http://rebinding.example:{receiver.port}/hook"
        gate.check_reachable(url)
        answer = send(receiver, gate=gate, url=url)
    assert answer.status is None
    assert "rebinding.example stands for 127.0.0.1, which is not a public address" in answer.problem
    assert receiver.received == []
    assert asked == ["rebinding.example"] * 2


def test_the_number_that_was_checked_is_the_one_that_is_connected_to() -> None:
    answers = [["127.0.0.1"], ["127.0.0.99"]]  # a second look would go where nobody listens
    with receiving() as receiver:
        gate = replace(receiver.gate(), resolve=lambda _host, _port: answers.pop(0))
        answer = send(receiver, gate=gate, url=f"http://hook.example:{receiver.port}/hook")
    assert answer.problem == ""
    assert receiver.received[0].headers["host"] == f"hook.example:{receiver.port}"
    assert answers == [["127.0.0.99"]]


def test_a_receiver_that_does_not_answer_at_its_first_number_is_tried_at_the_next() -> None:
    with receiving() as receiver:
        gate = replace(receiver.gate(), resolve=lambda _host, _port: ["127.0.0.99", "127.0.0.1"])
        assert send(receiver, gate=gate, url=f"http://hook.example:{receiver.port}/hook").problem == ""


def test_tls_verifies_the_name_though_a_number_is_connected_to() -> None:
    files = modbus_tls_files()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(files / "device.pem", files / "device.key")
    trusting = ssl.create_default_context(cafile=str(files / "ca.pem"))
    with receiving(serving) as receiver:
        gate = replace(receiver.gate(), resolve=lambda _host, _port: ["127.0.0.1"])
        answers = []
        for name, context in (("meter.test", trusting), ("other.test", trusting), ("meter.test", None)):
            with Sender(gate, context) as sender:
                answers.append(sender.send(f"https://{name}:{receiver.port}/hook", HEADERS, b"{}"))
    assert [answer.status for answer in answers] == [204, None, None]
    assert "not valid for 'other.test'" in answers[1].problem
    assert "self-signed certificate" in answers[2].problem or "unable to get local issuer" in answers[2].problem
    assert len(receiver.received) == 1


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "WITHIN_S", 0.3)


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "drips"])
def test_a_receiver_that_is_late_is_left(is_silent: bool) -> None:  # noqa: FBT001 - what the receiver does
    left = threading.Event()
    with receiving() as receiver:

        def dawdle(handler: BaseHTTPRequestHandler, _received: Received) -> None:
            while not is_silent and not left.wait(0.02):
                handler.wfile.write(b"H")
            left.wait(30)
            handler.close_connection = True

        receiver.answer = dawdle
        answer = send(receiver)
        left.set()
    assert answer.status is None
    assert answer.problem


def test_no_more_of_an_answer_is_read_than_is_kept() -> None:
    with receiving() as receiver:
        receiver.answer = answer_with(500, {}, b"\0\xff" + b"x" * 5_000_000)
        answer = send(receiver)
    assert answer.status == 500
    assert len(answer.text) == KEPT_BYTES
    assert answer.text.startswith("\N{REPLACEMENT CHARACTER}" * 2 + "x")


def test_headers_without_end_are_not_read_to_their_end() -> None:
    with receiving() as receiver:
        many = {f"X-{n}": "v" * 1000 for n in range(99)}
        receiver.answer = answer_with(200, many, b"")
        answer = send(receiver)
    assert answer.status is None
    assert "longer than 64 KiB" in answer.problem


def test_what_is_no_http_is_said_so() -> None:
    with receiving() as receiver:

        def babble(handler: BaseHTTPRequestHandler, _received: Received) -> None:
            handler.wfile.write(b"220 mail.example ESMTP\r\n")
            handler.close_connection = True

        receiver.answer = babble
        answer = send(receiver)
    assert answer.status is None
    assert "does not speak HTTP" in answer.problem


def test_nobody_there_is_said_so() -> None:
    with receiving() as receiver:
        gate = receiver.gate()
    answer = send(receiver, gate=gate)
    assert answer.status is None
    assert "cannot be reached" in answer.problem


def test_a_receiver_may_ask_for_time() -> None:
    with receiving() as receiver:
        receiver.answer = answer_with(503, {"Retry-After": "120"}, b"")
        assert send(receiver).asked_to_wait_s == 120
        receiver.answer = answer_with(503, {"Retry-After": "soon"}, b"")
        assert send(receiver).asked_to_wait_s is None
