"""What the hub orders, signed, and what the agent answers: site configurations and commands.

What is signed is the text of the body, exactly as it travels, so that nobody has to agree on how to
write JSON. The signature is Ed25519 over `signed_bytes`: the kind of message and the controller are part
of it, so that an order for one site is none for another.
"""

import hashlib
import json
import zlib
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocol import limits
from protocol.errors import LimitExceeded, MalformedMessage
from protocol.messages import inflate
from protocol.site_config import SiteConfig
from protocol.topics import Down

Model = TypeVar("Model", bound=BaseModel)

CONFIG_HASH_CHARACTERS = 32
KEY_ID_CHARACTERS = 16


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Signed(_Message):
    """An order and who vouches for it. On the wire: zlib over this object as JSON."""

    body: str
    """The JSON text of a `ConfigOrder` or a `Command`."""
    key_id: str = ""
    """`key_id` of the public key; empty when the order is not signed."""
    signature: bytes = b""
    """64 bytes of Ed25519; in JSON as hexadecimal text."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="hex", val_json_bytes="hex")


class ConfigOrder(_Message):
    """The site configuration that the hub wants; its revision is the configuration's own."""

    site: SiteConfig
    issued_at_ms: int = Field(ge=0)


class CommandKind(StrEnum):
    """What can be ordered."""

    READ = "read"
    """Visit meters now. Arguments: `meter`, or none for all."""
    LIVE = "live"
    """Sample and send at once for a while. Arguments: `minutes` (at most 60; 0 ends it), `period_s`, `meter` or none."""
    RESEND = "resend"
    """Deliver a range again. Arguments: `stream` (hexadecimal), `first`, `last`."""
    DIAGNOSE = "diagnose"
    """Answer with versions, counters, system figures and the last log lines."""
    WRITE = "write"
    """Write one point. Arguments: `meter`, `point`, `value`."""


class Command(_Message):
    """One order to do something once."""

    id: str = Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    kind: CommandKind
    arguments: dict[str, Any] = {}
    issued_at_ms: int = Field(ge=0)
    expires_at_ms: int = Field(ge=0)


class CommandState(StrEnum):
    """How a command stands."""

    RECEIVED = "received"
    """It is genuine and has been begun; how it ends is said later. Older agents leave this out."""
    DONE = "done"
    FAILED = "failed"
    """It was begun and did not succeed."""
    REFUSED = "refused"
    """It was not begun: not allowed, not signed, not understood."""
    EXPIRED = "expired"
    INTERRUPTED = "interrupted"
    """The agent ended while it was under way: whether it had its effect is not known. It is not repeated."""


class ConfigState(StrEnum):
    """What became of a configuration."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    """It is what the agent does already."""
    REJECTED = "rejected"
    """It does not compile, is not signed, or is older than the present one; nothing changed."""
    ROLLED_BACK = "rolled_back"
    """The hub could not be reached with it; the one before is back."""


class CommandReply(_Message):
    """The answer to a command."""

    id: str
    state: CommandState
    at_ms: int
    """UTC ms by the agent's clock."""
    reason: str = ""
    """For people; empty when done."""
    result: dict[str, Any] = {}


class ConfigReply(_Message):
    """What became of a configuration."""

    revision: int
    hash: str
    """`config_hash` of the order's body."""
    state: ConfigState
    at_ms: int
    reason: str = ""


class Reply(_Message):
    """What travels on up/reply: exactly one of the two. On the wire: zlib over JSON."""

    command: CommandReply | None = None
    config: ConfigReply | None = None


def signed_bytes(kind: Down, controller_id: str, body: str) -> bytes:
    """Return what a signature is made over."""
    return f"meterhaul/v1/{kind}\0{controller_id}\0{body}".encode()


def key_id(public_key: bytes) -> str:
    """Name a raw Ed25519 public key (32 bytes)."""
    return hashlib.sha256(public_key).hexdigest()[:KEY_ID_CHARACTERS]


def config_hash(body: str) -> str:
    """Name a configuration order by the text of its body."""
    return hashlib.sha256(body.encode()).hexdigest()[:CONFIG_HASH_CHARACTERS]


def claimed_revision(body: str) -> int:
    """Return the revision that a configuration order gives itself, whatever else is wrong with it; 0 for none."""
    try:
        revision = json.loads(body)["site"]["revision"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0
    return revision if isinstance(revision, int) and 0 <= revision <= limits.SEQUENCE_MAX else 0


def encode_signed(order: Signed) -> bytes:
    """Encode an order.

    Raises: LimitExceeded.
    """
    return _compress(order, "order")


def decode_signed(payload: bytes) -> Signed:
    """Decode an order; its signature is not checked here.

    Raises: LimitExceeded, MalformedMessage.
    """
    return _parse(Signed, inflate(payload), "order")


def parse_config_order(body: str) -> ConfigOrder:
    """Parse the body of a configuration order.

    Raises: MalformedMessage naming the first fault.
    """
    return _parse(ConfigOrder, body.encode(), "configuration")


def parse_command(body: str) -> Command:
    """Parse the body of a command.

    Raises: MalformedMessage.
    """
    return _parse(Command, body.encode(), "command")


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply.

    Raises: LimitExceeded.
    """
    return _compress(reply, "reply")


def decode_reply(payload: bytes) -> Reply:
    """Decode a reply.

    Raises: LimitExceeded, MalformedMessage.
    """
    reply = _parse(Reply, inflate(payload), "reply")
    if (reply.command is None) == (reply.config is None):
        raise MalformedMessage("reply is about neither a command nor a configuration, or about both")
    return reply


def _compress(message: BaseModel, what: str) -> bytes:
    body = message.model_dump_json().encode()
    payload = zlib.compress(body, 9)
    if len(payload) > limits.MESSAGE_BYTES_MAX or len(body) > limits.MESSAGE_RAW_BYTES_MAX:
        raise LimitExceeded(f"{what} of {len(body)} bytes is too large to send")
    return payload


def _parse(model: type[Model], body: bytes, what: str) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MalformedMessage(f"{what} does not parse: {place}: {first['msg']}") from error
