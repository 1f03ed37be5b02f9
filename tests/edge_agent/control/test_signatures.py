"""Only whoever holds the hub's key gives orders, and only to the controller that they are for."""

import asyncio
from pathlib import Path

import pytest
from order_factories import CONTROLLER, HubKey

from edge_agent.control.keys import load_keys
from edge_agent.control.signatures import OrderRefused, Signatures
from edge_agent.errors import SettingsError
from protocol.control import Signed
from protocol.topics import Down

BODY = '{"what": "ever"}'


@pytest.fixture(scope="module")
def key() -> HubKey:
    return HubKey()


def judge(order: Signed, *keys: HubKey, kind: Down = Down.COMMAND, allow_unsigned: bool = False) -> None:
    signatures = Signatures(
        controller_id=CONTROLLER, keys={key.id: key.raw for key in keys}, allow_unsigned=allow_unsigned
    )
    asyncio.run(signatures.require_genuine(kind, order))


def test_signed_order_is_followed_with_any_of_several_keys(key: HubKey) -> None:
    judge(key.sign(Down.COMMAND, BODY), HubKey(), key)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": BODY + " "}, "does not fit"),
        ({"signature": b"x" * 64}, "does not fit"),
        ({"signature": b"x"}, "1 bytes instead of 64"),
        ({"key_id": "ffff"}, "'ffff'"),
    ],
)
def test_order_that_was_changed_is_refused(key: HubKey, change: dict[str, object], reason: str) -> None:
    with pytest.raises(OrderRefused, match=reason):
        judge(key.sign(Down.COMMAND, BODY).model_copy(update=change), key)


def test_order_for_another_controller_is_refused(key: HubKey) -> None:
    with pytest.raises(OrderRefused, match="another controller"):
        judge(key.sign(Down.COMMAND, BODY, controller_id="hut-2"), key)


def test_command_is_no_configuration(key: HubKey) -> None:
    with pytest.raises(OrderRefused, match="does not fit"):
        judge(key.sign(Down.COMMAND, BODY), key, kind=Down.CONFIG)


def test_unsigned_order_is_followed_only_where_the_local_file_says_so() -> None:
    judge(Signed(body=BODY), allow_unsigned=True)
    with pytest.raises(OrderRefused, match=r"agent\.toml"):
        judge(Signed(body=BODY))


def test_forged_signature_is_refused_even_where_unsigned_orders_are_allowed(key: HubKey) -> None:
    with pytest.raises(OrderRefused):
        judge(key.sign(Down.COMMAND, BODY).model_copy(update={"body": "{}"}), key, allow_unsigned=True)


def test_keys_come_from_pem_files(tmp_path: Path, key: HubKey) -> None:
    other = HubKey()
    keys = load_keys([key.write_public(tmp_path / "a.pem"), other.write_public(tmp_path / "b.pem")])
    assert keys == {key.id: key.raw, other.id: other.raw}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no public key"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "damaged"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not Ed25519"),
    ],
)
def test_file_that_holds_no_key_is_a_fault_of_configuration(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "hub.pem").write_text(content, encoding="ascii")
    with pytest.raises(SettingsError, match=f"hub.pem.*{reason}.*openssl"):
        load_keys([tmp_path / "hub.pem"])


def test_key_that_is_not_there_is_a_fault_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_keys([tmp_path / "none.pem"])
