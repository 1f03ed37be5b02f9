"""Encrypt what the database must not know by itself, with a key that is made of the hub's secret key."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cloud_hub.errors import Conflict

_KEY_BYTES = 32
_NONCE_BYTES = 12


class SealBroken(Conflict):
    """It was sealed with another key, or for somebody else, or was changed since."""


class Seal:
    """AES-256-GCM; `purpose` keeps the keys of different uses apart."""

    def __init__(self, secret_key: bytes, purpose: str) -> None:
        """Derive the key (HKDF, RFC 5869)."""
        derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"meterhaul {purpose}".encode()).derive(secret_key)
        self._cipher = AESGCM(derived)

    def close(self, plain: bytes, owner: str) -> bytes:
        """Encrypt, bound to the row that it belongs to: copied to another, it does not open."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Decrypt.

        Raises: SealBroken.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], owner.encode())
        except InvalidTag as error:
            raise SealBroken(
                "what the hub keeps of your authenticator cannot be read: its secret key was exchanged; "
                "use a recovery code, then set the authenticator up anew"
            ) from error
