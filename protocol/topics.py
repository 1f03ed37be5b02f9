"""MQTT topics: built and parsed here, spelt nowhere else."""

from enum import StrEnum
from typing import NamedTuple

from protocol.errors import MalformedMessage
from protocol.identifiers import parse_slug

_ROOT = "meterhaul/v1"
_LEVELS = 5
_LIVE = "meterhaul/live/v1"
_EVENTS = "meterhaul/events/v1"
_SPARKPLUG = "spBv1.0"
_SECOND = "~"
"""Between a meter's id and its controller's; no id has one."""


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


class LiveTopic(NamedTuple):
    """Where the newest readings of a meter stand."""

    organisation: str
    site: str
    meter: str
    """Its id, or `meter~controller` for the second of that id on a site."""


def live(topic: LiveTopic) -> str:
    """Build the topic on which the hub says a meter's newest readings, for subscribers."""
    meter, second, controller = topic.meter.partition(_SECOND)
    names = [parse_slug(topic.organisation), parse_slug(topic.site), parse_slug(meter)]
    return "/".join([_LIVE, *names]) + (f"{second}{parse_slug(controller)}" if second else "")


def parse_live(topic: str) -> LiveTopic:
    """Take a meter's live topic apart.

    Raises: MalformedMessage when it is none.
    """
    parts = topic.removeprefix(f"{_LIVE}/").split("/")
    if not topic.startswith(f"{_LIVE}/") or len(parts) != len(LiveTopic._fields):
        raise MalformedMessage(f"topic {topic!r} is not a meter's live topic")
    return LiveTopic(*parts)


def second_meter(meter: str, controller: str) -> str:
    """Name a meter whose id another meter of its site had before."""
    return f"{meter}{_SECOND}{controller}"


def event(organisation: str, kind: str) -> str:
    """Build the topic on which the hub says that something happened, such as `meter.commissioned`."""
    return f"{_EVENTS}/{parse_slug(organisation)}/{parse_slug(kind)}"


def all_live() -> str:
    """Build the filter for the newest readings of all meters."""
    return f"{_LIVE}/+/+/+"


def all_events() -> str:
    """Build the filter for all events."""
    return f"{_EVENTS}/+/+"


def live_of(organisation: str) -> str:
    """Build the filter for the newest readings of an organisation's meters."""
    return f"{_LIVE}/{parse_slug(organisation)}/#"


def events_of(organisation: str) -> str:
    """Build the filter for an organisation's events."""
    return f"{_EVENTS}/{parse_slug(organisation)}/#"


class SparkplugKind(StrEnum):
    """What a Sparkplug message is: birth, data, death of an edge node (N) or a device (D), or a command."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"
    NCMD = "NCMD"


def sparkplug(group: str, kind: SparkplugKind, node: str, device: str = "") -> str:
    """Build a topic of Sparkplug B: the group is the organisation, the edge node the site, the device the meter.

    Source: Eclipse Sparkplug specification 3.0, chapter 4.
    """
    return "/".join([_SPARKPLUG, group, kind, node, *([device] if device else [])])


def all_sparkplug() -> str:
    """Build the filter for all that is said in Sparkplug."""
    return f"{_SPARKPLUG}/#"


def sparkplug_of(organisation: str) -> str:
    """Build the filter for all that is said in Sparkplug for an organisation."""
    return f"{_SPARKPLUG}/{parse_slug(organisation)}/#"


def sparkplug_commands(organisation: str = "+", node: str = "+") -> str:
    """Build the filter for commands to edge nodes."""
    return sparkplug(organisation, SparkplugKind.NCMD, node)
