"""What each kind of command takes: checked by the hub before it is sent, and by the agent before it is begun."""

from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol import limits
from protocol.control import CommandKind
from protocol.identifiers import STREAM_ID_BYTES, MeterId, PointName

MINUTES_MAX = 60


class Arguments(BaseModel):
    """The arguments of a command; kinds subclass it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReadArguments(Arguments):
    """Which meter."""

    meter: MeterId | None = None
    """None = all."""


class LiveArguments(Arguments):
    """How long and how often."""

    minutes: float = Field(ge=0, le=MINUTES_MAX)
    """0 ends it."""
    period_s: float = Field(default=5, ge=0.5, le=3_600)
    meter: MeterId | None = None
    """None = all."""


class ResendArguments(Arguments):
    """Which numbers of which stream."""

    stream: str = Field(pattern=rf"^[0-9a-f]{{{2 * STREAM_ID_BYTES}}}$")
    first: int = Field(ge=1, le=limits.SEQUENCE_MAX)
    last: int = Field(ge=1, le=limits.SEQUENCE_MAX)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"'last' {self.last} is below 'first' {self.first}")
        return self


class DiagnoseArguments(Arguments):
    """There are none."""


class WriteArguments(Arguments):
    """Which value goes where."""

    meter: MeterId
    point: PointName
    value: float = Field(strict=True, allow_inf_nan=False)
    """In the point's unit."""


ARGUMENTS: Final[Mapping[CommandKind, type[Arguments]]] = {
    CommandKind.READ: ReadArguments,
    CommandKind.LIVE: LiveArguments,
    CommandKind.RESEND: ResendArguments,
    CommandKind.DIAGNOSE: DiagnoseArguments,
    CommandKind.WRITE: WriteArguments,
}
