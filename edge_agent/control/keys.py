"""The public keys by which the hub's orders are known: Ed25519, as PEM files of the kind SubjectPublicKeyInfo."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge_agent.errors import SettingsError
from protocol.control import key_id

_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_ED25519_HEAD = bytes.fromhex("302a300506032b6570032100")
"""DER of everything before the key itself, always the same (RFC 8410, 4)."""
_KEY_BYTES = 32
_REMEDY = "put the hub's public key there, as `openssl pkey -pubout` writes it"


def load_keys(paths: Iterable[Path]) -> Mapping[str, bytes]:
    """Read all keys; return them by the name that a signature gives.

    Raises: SettingsError naming the file.
    """
    keys = [_load_key(path) for path in paths]
    return {key_id(key): key for key in keys}


def _load_key(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"orders.keys: {path} cannot be read ({reason}); {_REMEDY}") from None
    _, found, rest = text.partition(_BEGIN)
    body, ended, _ = rest.partition(_END)
    if not found or not ended:
        raise SettingsError(f"orders.keys: {path} holds no public key in PEM; {_REMEDY}")
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        raise SettingsError(f"orders.keys: {path} is damaged; {_REMEDY}") from None
    if len(der) != len(_ED25519_HEAD) + _KEY_BYTES or not der.startswith(_ED25519_HEAD):
        raise SettingsError(f"orders.keys: {path} holds a key that is not Ed25519; {_REMEDY}")
    return der[len(_ED25519_HEAD) :]
