"""What the rendered files of a broker say. How Mosquitto takes them is tested in tests/demo/test_mosquitto.py."""

import base64
import subprocess
from pathlib import Path

import pytest

from protocol import mosquitto
from provisioning import broker


def make_listener(port: int = 1883, *, forces_client_id: bool = False) -> broker.Listener:
    return broker.Listener(
        port=port,
        password_file=Path("/etc/mosquitto/passwords"),
        acl_file=Path("/etc/mosquitto/acl"),
        forces_client_id=forces_client_id,
    )


def test_each_listener_has_its_own_door_and_nobody_is_anonymous() -> None:
    text = broker.render_configuration([make_listener(1883, forces_client_id=True), make_listener(1884)])
    assert text.count("allow_anonymous false") == 2
    assert "listener 1883 127.0.0.1" in text
    assert "use_username_as_clientid true" in text.split("listener 1884")[0]
    assert "use_username_as_clientid false" in text.split("listener 1884")[1]


def test_account_is_named_only_when_given() -> None:
    assert "\nuser " not in broker.render_configuration([make_listener()])
    assert "\nuser mosquitto\n" in broker.render_configuration([make_listener()], user="mosquitto")


def test_controllers_write_under_their_own_name_only() -> None:
    assert broker.render_controller_acl().splitlines() == [
        "pattern write meterhaul/v1/%u/up/+",
        "pattern read meterhaul/v1/%u/down/+",
    ]


def test_password_hash_equals_that_of_mosquitto_passwd(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    subprocess.run(["mosquitto_passwd", "-b", passwords, "site-1", "secret"], check=True, capture_output=True)
    theirs = passwords.read_text().strip().removeprefix("site-1:")

    salt = base64.b64decode(theirs.split("$")[3])
    assert mosquitto.hash_password("secret", salt) == theirs


def test_salt_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="12 bytes, not 3"):
        mosquitto.hash_password("secret", b"abc")
