"""MQTT topics: built and parsed here, spelt nowhere else."""

from enum import StrEnum
from typing import NamedTuple

from protocol.errors import MalformedMessage
from protocol.identifiers import parse_slug

_ROOT = "meterhaul/v1"
_LEVELS = 5


class Up(StrEnum):
    """What an agent says."""

    HELLO = "hello"
    MANIFEST = "manifest"
    BATCH = "batch"
    STATUS = "status"
    HEALTH = "health"
    REPLY = "reply"


class Down(StrEnum):
    """What the hub says to one agent."""

    ACK = "ack"
    CONFIG = "config"
    COMMAND = "command"


class UpTopic(NamedTuple):
    """A parsed topic of an agent."""

    controller_id: str
    kind: Up


def up(controller_id: str, kind: Up) -> str:
    """Build the topic on which a controller says `kind`."""
    return f"{_ROOT}/{parse_slug(controller_id)}/up/{kind}"


def down(controller_id: str, kind: Down) -> str:
    """Build the topic on which the hub says `kind` to a controller."""
    return f"{_ROOT}/{parse_slug(controller_id)}/down/{kind}"


def parse_up(topic: str) -> UpTopic:
    """Take an agent's topic apart.

    Raises: MalformedMessage when it is none of the contract's.
    """
    parts = topic.split("/")
    message = f"topic {topic!r} is not an agent's topic of the contract"
    if len(parts) != _LEVELS or "/".join(parts[:2]) != _ROOT or parts[3] != "up":
        raise MalformedMessage(message)
    try:
        return UpTopic(parse_slug(parts[2]), Up(parts[4]))
    except ValueError as error:
        raise MalformedMessage(message) from error


def all_up(*, share: str | None = None) -> str:
    """Build the filter for all that every agent says; with `share`, as an MQTT 5 shared subscription."""
    plain = f"{_ROOT}/+/up/+"
    return plain if share is None else f"$share/{share}/{plain}"


def all_of(kind: Up) -> str:
    """Build the filter for what every agent says of one kind; not shared, so that retained messages come too."""
    return f"{_ROOT}/+/up/{kind}"


def own_up_pattern() -> str:
    """Build the Mosquitto ACL pattern of what a controller may publish (`%u` is its user name)."""
    return f"{_ROOT}/%u/up/+"


def own_down_pattern() -> str:
    """Build the Mosquitto ACL pattern of what a controller may read."""
    return f"{_ROOT}/%u/down/+"


def any_down() -> str:
    """Build the filter of all that the hub may publish to agents."""
    return f"{_ROOT}/+/down/+"
