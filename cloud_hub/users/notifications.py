"""What somebody wants to be told, and when not. Pure; what tells them reads it from here."""

from enum import StrEnum
from typing import Annotated, Final
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from cloud_hub.web.documents import Document, read_clock


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def _check_clock(given: str) -> str:
    read_clock(given)
    return given


def _check_zone(given: str) -> str:
    if given not in available_timezones():
        raise ValueError(f"{given!r} is no time zone: write it as Europe/Berlin")
    return given


def _sorted_once(given: tuple[Severity, ...]) -> tuple[Severity, ...]:
    return tuple(one for one in Severity if one in given)


Clock = Annotated[str, Field(max_length=5), AfterValidator(_check_clock)]
ZoneName = Annotated[str, Field(max_length=64), AfterValidator(_check_zone)]
Severities = Annotated[tuple[Severity, ...], Field(max_length=10), AfterValidator(_sorted_once)]


class QuietHours(Document):
    """A part of each day without messages; those of the severities in `despite` come anyway."""

    start: Clock
    """On the clock of `time_zone`, such as `22:00`."""
    end: Clock
    """When it is before `start`, it is on the next day."""
    time_zone: ZoneName
    despite: Severities = (Severity.CRITICAL,)


class Notifications(Document):
    """Which severities somebody is told by which channel."""

    email: Severities = (Severity.WARNING, Severity.CRITICAL)
    sms: Severities = ()
    push: Severities = ()
    quiet_hours: QuietHours | None = None


CHANNELS: Final = ("email", "sms", "push")
