"""Makers of the hub's orders: keys, signatures, commands, configurations."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.control import Command, CommandKind, ConfigOrder, Signed, encode_signed, key_id, signed_bytes
from protocol.site_config import SiteConfig
from protocol.topics import Down

CONTROLLER = "hut-1"
NOW_MS = 1_750_000_000_000
_numbers = iter(range(1, 10_000))


class HubKey:
    """A key pair of the hub."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()

    @property
    def raw(self) -> bytes:
        """The raw public key."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def id(self) -> str:
        """How signatures name it."""
        return key_id(self.raw)

    def write_public(self, path: Path) -> Path:
        """Write the public key as agents read it."""
        pem = self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        path.write_bytes(pem)
        return path

    def sign(self, kind: Down, body: str, *, controller_id: str = CONTROLLER) -> Signed:
        """Sign an order's body for one controller."""
        signature = self._private.sign(signed_bytes(kind, controller_id, body))
        return Signed(body=body, key_id=self.id, signature=signature)


def make_command(kind: CommandKind = CommandKind.DIAGNOSE, **changes: Any) -> Command:
    """Make a command with an id of its own that is valid for ten minutes from `issued_at_ms`."""
    issued_at_ms = changes.pop("issued_at_ms", NOW_MS)
    fields = {
        "id": f"command-{next(_numbers):04}",
        "kind": kind,
        "issued_at_ms": issued_at_ms,
        "expires_at_ms": issued_at_ms + 600_000,
    }
    return Command.model_validate({**fields, **changes})


def unsigned(order: Command | ConfigOrder) -> bytes:
    """Encode an order that nobody vouches for."""
    return encode_signed(Signed(body=order.model_dump_json()))


def signed(key: HubKey, order: Command | ConfigOrder, *, controller_id: str = CONTROLLER) -> bytes:
    """Encode an order as the hub sends it."""
    kind = Down.COMMAND if isinstance(order, Command) else Down.CONFIG
    return encode_signed(key.sign(kind, order.model_dump_json(), controller_id=controller_id))


def make_order(site: SiteConfig, *, revision: int = 1) -> ConfigOrder:
    """Make the order of a site configuration."""
    return ConfigOrder(site=site.model_copy(update={"revision": revision}), issued_at_ms=NOW_MS)
