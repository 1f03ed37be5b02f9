"""Signatures of messages as Standard Webhooks has them (standardwebhooks.com, version 1). Pure but for chance."""

import hmac
import secrets as chance
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256

_PREFIX = "whsec_"
_BYTES = 32


def make_secret() -> str:
    """Draw a key; the receiver's library takes it as it is."""
    return _PREFIX + b64encode(chance.token_bytes(_BYTES)).decode()


def sign(secrets: Iterable[str], message_id: str, sent_at_s: int, body: bytes) -> Mapping[str, str]:
    """Return the headers of a message; one signature by each secret, of which the receiver needs to know one."""
    signed = b".".join((message_id.encode(), str(sent_at_s).encode(), body))
    signatures = [b64encode(hmac.digest(_key(secret), signed, sha256)).decode() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(_PREFIX))
