"""What travels in the model: batches of identities instead of values, and the contract's own hello and ack."""

from dataclasses import dataclass
from typing import NamedTuple

from protocol.messages import Ack, Hello
from protocol.ranges import Range
from protocol.scans import GapReason

Content = int | GapReason
"""What stands at a number: the identity of a scan (negative when forged), or why there is none."""


class StreamKey(NamedTuple):
    """A stream's full name."""

    controller: str
    stream_id: bytes


class Place(NamedTuple):
    """One number of one stream."""

    key: StreamKey
    sequence: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive numbers of one stream. Its digest is its content."""

    key: StreamKey
    range: Range
    contents: tuple[Content, ...]
    manifest: bytes
    forged: bool = False

    @property
    def has_gaps(self) -> bool:
        """Say whether a gap record is in it."""
        return any(is_gap(content) for content in self.contents)

    @property
    def digest(self) -> bytes:
        """Tell contents apart."""
        return repr(self.contents).encode()

    @property
    def scans(self) -> list[int]:
        """Name the scans in it, a forged one by its original."""
        return [abs(content) for content in self.contents if not is_gap(content)]


@dataclass(frozen=True, slots=True)
class ManifestBody:
    """A manifest on its way up."""

    controller: str
    manifest: bytes


@dataclass(frozen=True, slots=True)
class HelloFrom:
    """A hello on its way up; the topic names the controller."""

    controller: str
    hello: Hello


Up = Batch | ManifestBody | HelloFrom


@dataclass(frozen=True, slots=True)
class AckTo:
    """An ack on its way down. `timeline` and `era` are the judge's knowledge, invisible to the agent."""

    controller: str
    ack: Ack
    timeline: int
    """Which history of the database spoke: each restore begins another."""
    era: int
    """Which raise of the incarnation was the latest one."""


def is_gap(content: Content) -> bool:
    """Say whether there is no scan at a number."""
    return isinstance(content, GapReason)
