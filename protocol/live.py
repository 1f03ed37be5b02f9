"""What the hub tells subscribers: the newest readings of a meter, and what happened. Small JSON, read by any language."""

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from protocol.errors import MalformedMessage


class _Message(BaseModel):
    # Later releases may add keys: whoever reads leaves out what it does not know.
    model_config = ConfigDict(frozen=True, extra="ignore")


class LiveValue(_Message):
    """The newest reading of one point."""

    value: float | None
    """None where the quality says that nothing could be read."""
    unit: str
    quality: str | None = None
    """A name of `protocol.quality.quality_name`; left out when the value is good."""
    observed_at: AwareDatetime | None = None
    """Left out when it is the meter's, which it is unless the point is read less often."""


class LiveMeter(_Message):
    """The newest readings of one meter."""

    observed_at: AwareDatetime
    """UTC, by the controller's clock: when the newest of them was read."""
    values: dict[str, LiveValue] = Field(min_length=1)
    """By the points' names."""


class LiveEvent(_Message):
    """Something that happened."""

    id: int
    """Grows, though not always by one; an event that comes twice has the same."""
    at: AwareDatetime
    kind: str
    """Such as `meter.commissioned`."""
    subject: str
    """Such as `meter:7`."""
    site: str | None = None
    data: dict[str, Any] = {}


def encode_live(message: LiveMeter | LiveEvent) -> bytes:
    """Write a message; what is usual is left out."""
    return message.model_dump_json(exclude_defaults=True).encode()


def decode_live(payload: bytes) -> LiveMeter:
    """Read what a meter's topic says.

    Raises: MalformedMessage.
    """
    try:
        return LiveMeter.model_validate_json(payload)
    except ValidationError as error:
        raise MalformedMessage(f"a meter's live message cannot be read: {error.errors()[0]['msg']}") from error


def decode_event(payload: bytes) -> LiveEvent:
    """Read what an event's topic says.

    Raises: MalformedMessage.
    """
    try:
        return LiveEvent.model_validate_json(payload)
    except ValidationError as error:
        raise MalformedMessage(f"an event's message cannot be read: {error.errors()[0]['msg']}") from error
