"""Orders and answers come back as they were said, and what is none is refused."""

import zlib

import pytest

from protocol import control, limits
from protocol.control import (
    Command,
    CommandKind,
    CommandReply,
    CommandState,
    ConfigOrder,
    ConfigReply,
    ConfigState,
    Reply,
    Signed,
)
from protocol.errors import LimitExceeded, MalformedMessage
from protocol.site_config import SiteConfig
from protocol.topics import Down

SITE = SiteConfig.model_validate(
    {"revision": 4, "buses": [{"id": "b", "host": "192.0.2.1", "meters": [{"id": "m", "profile": "eastron-sdm120"}]}]}
)


def test_an_order_travels_with_its_signature() -> None:
    order = Signed(body='{"a": 1}', key_id="ab", signature=bytes(range(64)))
    assert control.decode_signed(control.encode_signed(order)) == order


def test_a_configuration_and_a_command_come_back() -> None:
    order = ConfigOrder(site=SITE, issued_at_ms=7)
    assert control.parse_config_order(order.model_dump_json()) == order
    command = Command(id="a-command", kind=CommandKind.LIVE, arguments={"minutes": 5}, issued_at_ms=1, expires_at_ms=2)
    assert control.parse_command(command.model_dump_json()) == command


def test_what_is_signed_names_kind_and_controller() -> None:
    texts = {
        control.signed_bytes(kind, controller, "{}")
        for kind in (Down.CONFIG, Down.COMMAND)
        for controller in ("hut-1", "hut-2")
    }
    assert len(texts) == 4


@pytest.mark.parametrize(
    "reply",
    [
        Reply(command=CommandReply(id="a-command", state=CommandState.DONE, at_ms=1, result={"value": 2.5})),
        Reply(config=ConfigReply(revision=4, hash="ab", state=ConfigState.REJECTED, at_ms=1, reason="no meter")),
    ],
)
def test_a_reply_comes_back(reply: Reply) -> None:
    assert control.decode_reply(control.encode_reply(reply)) == reply


@pytest.mark.parametrize("body", [b"{}", b"[]", b"not JSON", b'{"command": {"id": "x"}}'])
def test_a_reply_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        control.decode_reply(zlib.compress(body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"id": "short", "kind": "read", "issued_at_ms": 1, "expires_at_ms": 2}', "id"),
        ('{"id": "long-enough", "kind": "explode", "issued_at_ms": 1, "expires_at_ms": 2}', "kind"),
        ("7", "command does not parse"),
    ],
)
def test_a_command_that_is_none_is_refused(body: str, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        control.parse_command(body)


def test_an_order_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(LimitExceeded):
        control.encode_signed(Signed(body="x" * limits.MESSAGE_RAW_BYTES_MAX))
