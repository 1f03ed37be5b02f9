"""The key that signs orders is made once, is nobody else's to read, and its public half is there for all to see."""

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.cli import main
from cloud_hub.configuration.models import OrderKey
from cloud_hub.configuration.signing import create_signing_key, read_signing_key
from cloud_hub.errors import SettingsError
from edge_agent.control.keys import load_keys
from protocol.control import signed_bytes
from protocol.topics import Down


def test_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing-key"
    assert create_signing_key(path)
    made = path.read_bytes()
    assert not create_signing_key(path)
    assert path.read_bytes() == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["signing-key"]


def test_signature_fits_kind_and_controller_and_no_other(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "key")
    key = read_signing_key(tmp_path / "key")
    (tmp_path / "hub.pub").write_text(key.public_pem, encoding="ascii")
    [(name, raw)] = load_keys([tmp_path / "hub.pub"]).items()
    order = key.sign(Down.COMMAND, "hut-1", "{}")
    assert (order.key_id, order.body) == (name, "{}")
    public = Ed25519PublicKey.from_public_bytes(raw)
    public.verify(order.signature, signed_bytes(Down.COMMAND, "hut-1", "{}"))
    for other in (signed_bytes(Down.CONFIG, "hut-1", "{}"), signed_bytes(Down.COMMAND, "hut-2", "{}")):
        with pytest.raises(InvalidSignature):
            public.verify(order.signature, other)


def test_what_is_no_key_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(SettingsError, match=r"does not exist: make one with 'meterhaul hub signing-key'"):
        read_signing_key(path)
    path.write_text("rubbish", encoding="ascii")
    with pytest.raises(SettingsError, match="holds no private key"):
        read_signing_key(path)
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(other)
    with pytest.raises(SettingsError, match="not Ed25519"):
        read_signing_key(path)
    with pytest.raises(SettingsError, match="cannot be written"):
        create_signing_key(path / "below")


def test_command_shows_the_public_key_and_makes_it_known(
    database_url: str,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    assert main(["signing-key"]) == 78
    assert "METERHAUL_SIGNING_KEY_FILE is not set" in capsys.readouterr().err
    monkeypatch.setenv("METERHAUL_SIGNING_KEY_FILE", str(tmp_path / "signing-key"))
    assert main(["signing-key", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert main(["signing-key"]) == 0
    assert capsys.readouterr().out == shown["public_key"]
    [row] = session.scalars(select(OrderKey)).all()
    assert (row.key_id, row.public_key) == (shown["key_id"], shown["public_key"])
