"""What can be wrong with a meter or its line, as a script. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from protocol.identifiers import MeterId

AddressRanges = tuple[tuple[int, int], ...]
"""First and last address of each."""


class FaultKind(StrEnum):
    """How a meter fails."""

    DEAD = "dead"
    """Takes requests and never answers."""
    REFUSED = "refused"
    """The address of the meter refuses connections, for all meters behind it."""
    CLOSED = "closed"
    """Closes the connection instead of answering."""
    SLOW = "slow"
    """Answers right, after a delay."""
    EXCEPTION = "exception"
    """Answers with a Modbus exception."""
    LATE = "late"
    """Keeps its answer back until the next request arrives, and sends it before that one's answer."""
    WRONG_UNIT_ID = "wrong_unit_id"
    WRONG_TRANSACTION = "wrong_transaction"
    WRONG_FUNCTION = "wrong_function"
    WRONG_BYTE_COUNT = "wrong_byte_count"
    """Says that two more bytes follow than do."""
    BAD_CRC = "bad_crc"
    FOREIGN_BYTES = "foreign_bytes"
    """Noise of the line stands before the answer."""
    SHORT = "short"
    """Answers in a whole frame, but with fewer registers than were asked for."""
    TRUNCATED = "truncated"
    """Stops in the middle of its answer."""
    COUNTER_RESET = "counter_reset"
    """Sets the counters back to 0, once; answers go on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, for as long as it is set."""

    kind: FaultKind
    exception_code: int = 6
    """1 to 255; 6 is "server device busy"."""
    delay_s: float = 5.0
    """How long a slow meter takes."""
    requests: int | None = None
    """How many requests it meets before it is over; None means every one."""
    addresses: AddressRanges = ()
    """Only requests that touch one of these addresses meet it; empty means every request."""

    @property
    def spares_the_answer(self) -> bool:
        """Say whether the answer still arrives unharmed."""
        return self.kind in (FaultKind.SLOW, FaultKind.COUNTER_RESET)

    @property
    def spares_the_effect(self) -> bool:
        """Say whether the meter does what a write asks for, whatever becomes of its answer."""
        return self.kind not in (FaultKind.DEAD, FaultKind.REFUSED, FaultKind.EXCEPTION)

    def meets(self, address: int, count: int) -> bool:
        """Say whether a request of `count` entries from `address` on meets it."""
        return not self.addresses or touches(self.addresses, address, count)


def touches(ranges: Iterable[tuple[int, int]], address: int, count: int) -> bool:
    """Say whether any of `count` addresses from `address` on lies in one of the ranges (first, last)."""
    return any(first < address + count and address <= last for first, last in ranges)


def _parse_addresses(given: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the caller gave
    """Take `10-12` or `10` from a command line; TOML gives pairs."""
    if not isinstance(given, str):
        return given
    first, dash, last = given.partition("-")
    return ((first, last if dash else first),)


class ScheduledFault(BaseModel):
    """A fault with its time, as a site's description or the command line names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    meter: MeterId
    kind: FaultKind
    after_s: float = Field(default=0, ge=0)
    """Seconds from the start of the simulation."""
    for_s: float | None = Field(default=None, gt=0)
    """Left out: to the end."""
    exception_code: int = Field(default=6, ge=1, le=255)
    delay_s: float = Field(default=5, ge=0, le=3_600)
    requests: int | None = Field(default=None, ge=1)
    addresses: Annotated[AddressRanges, BeforeValidator(_parse_addresses)] = ()

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "ScheduledFault":
        if self.kind is FaultKind.REFUSED and self.requests is not None:
            message = "'requests' does not fit 'refused', which meets none: use 'for'"
            raise ValueError(message)
        if self.kind is FaultKind.REFUSED and self.addresses:
            message = "'addresses' does not fit 'refused', which meets no request"
            raise ValueError(message)
        return self

    @property
    def fault(self) -> Fault:
        """The fault without its time."""
        return Fault(self.kind, self.exception_code, self.delay_s, self.requests, self.addresses)


def parse_fault(text: str) -> ScheduledFault:
    """Parse `meter=heater,kind=dead,after=10,for=5` (times in seconds; also code, delay, requests, addresses).

    Raises: ValueError (pydantic's ValidationError among them).
    """
    names = {"after": "after_s", "for": "for_s", "code": "exception_code", "delay": "delay_s"}
    pairs = [part.partition("=") for part in text.split(",")]
    if any(not (name and equals and value) for name, equals, value in pairs):
        message = "write it as meter=ID,kind=KIND,after=SECONDS,for=SECONDS"
        raise ValueError(message)
    return ScheduledFault.model_validate({names.get(name, name): value for name, _, value in pairs})
