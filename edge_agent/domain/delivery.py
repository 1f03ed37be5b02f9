"""What the agent believes the hub has, and therefore what it sends next. Pure: time is an argument.

Everything below a stream's `next` must be accounted for at the hub: as a scan, or as the gap record
that `edge_agent.buffer.buffer` writes where it no longer has one. Order is policy (live first, then backlog,
oldest first); the contract does not depend on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from edge_agent.domain.backoff import backoff_s
from protocol import limits
from protocol.messages import Ack, StreamState
from protocol.ranges import Range, RangeSet

_BACKOFF_CAP_S = 600.0
_NOTHING = RangeSet()
_NAMED_IN_TURN = 8
"""Settled streams in an ordinary hello: a restored hub finds out by itself, and a hello stays small."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How much is under way at a time, and how long an answer may take."""

    window: int = 4
    """Batches in flight; the last free place is kept for live data, and there is always one for it."""
    scans_per_batch: int = 720
    ack_timeout_s: float = 20.0


class AckEffect(Enum):
    """What an acknowledgement changed."""

    IGNORED = auto()
    """It is of an older incarnation of the hub's database."""
    UPDATED = auto()
    REWOUND = auto()
    """The hub's database has gone back in time: all belief is dropped, a hello is due."""
    DOUBTFUL = auto()
    """The hub does not name what it once confirmed: a hello finds out whether it went back in time."""


@dataclass(slots=True)
class Belief:
    """One stream as the agent knows it."""

    next: int
    """The sequence number that the next scan will get."""
    committed: RangeSet = field(default_factory=RangeSet)
    """What need not be sent again, quarantined ranges included."""
    safe: RangeSet = field(default_factory=RangeSet)

    @property
    def outstanding(self) -> RangeSet:
        """What the hub has yet to be told."""
        return RangeSet([(1, self.next - 1)] if self.next > 1 else []) - self.committed


@dataclass(frozen=True, slots=True)
class InFlight:
    """A batch that was sent and is not yet acknowledged."""

    stream_id: bytes
    range: Range
    deadline_s: float
    is_live: bool = False


class Delivery:
    """The agent's side of the contract for all its streams, oldest first, the live one last."""

    def __init__(self, policy: Policy, *, incarnation: int = 0) -> None:
        """Begin with no streams; `incarnation` is the highest that was ever seen, 0 for none."""
        self.policy = policy
        self.incarnation = incarnation
        self.streams: dict[bytes, Belief] = {}
        self.withheld: Mapping[bytes, RangeSet] = {}
        """Numbers that must not be sent yet, by stream: their scans have no time."""
        self.in_flight: list[InFlight] = []
        self.timeouts = 0
        """Time-outs since the last acknowledgement that moved something."""
        self._live: bytes | None = None
        self._live_from = 1
        self._uncertain: set[bytes] = set()
        """Streams of which the hub has not said what it holds since its database went back in time."""
        self._newest_news: bytes | None = None
        """The stream whose committed set grew last."""
        self._turn = 0
        self._told_lowest: dict[bytes, int] = {}
        """The lowest number held, as the last hello said it: acks leave out what lies below."""
        self._doubted: dict[bytes, int] = {}
        """Where an ack last began above something confirmed: asked about once."""

    def add_stream(self, stream_id: bytes, belief: Belief, *, live: bool = False) -> None:
        """Take up a stream; the one that `live` names is the one that grows."""
        self.streams[stream_id] = belief
        if live:
            self._live, self._live_from = stream_id, belief.next

    def drop_stream(self, stream_id: bytes) -> None:
        """Forget a stream of which nothing is left to account for."""
        self.streams.pop(stream_id, None)
        self._uncertain.discard(stream_id)
        self._told_lowest.pop(stream_id, None)
        self._doubted.pop(stream_id, None)
        self.in_flight = [flight for flight in self.in_flight if flight.stream_id != stream_id]

    @property
    def is_in_doubt(self) -> bool:
        """Say whether a hello has to ask for some stream before its scans are sent again."""
        return bool(self._uncertain)

    def streams_to_name(self, *, everything: bool) -> list[bytes]:
        """Choose the streams of a hello, the pressing ones first, at most as many as one may name.

        Named are streams in doubt, unfinished ones, the live one, and the one of which the hub confirmed
        something last: had its database gone back in time, it would lack that first. `everything` adds
        all others, else a few of them have their turn.
        """
        doubtful = [s for s in self.streams if s in self._uncertain]
        unfinished = [s for s in self.streams if s not in self._uncertain and self._is_pressing(s)]
        pressing = dict.fromkeys([*doubtful, *unfinished])
        others = [s for s in self.streams if s not in pressing]
        room = max(1, limits.STREAMS_PER_HELLO_MAX - len(pressing)) if everything else _NAMED_IN_TURN
        if len(others) > room:
            self._turn = (self._turn + room) % len(others)
            others = (others + others)[self._turn : self._turn + room]
        return [*pressing, *others][: limits.STREAMS_PER_HELLO_MAX]

    def stored(self, stream_id: bytes, last: int) -> None:
        """Note that the buffer holds the stream up to `last`, on disk."""
        belief = self.streams[stream_id]
        belief.next = max(belief.next, last + 1)

    def connected(self) -> None:
        """Begin again after a connection was made: nothing is in flight, the newest scans are live."""
        self.in_flight.clear()
        self._live_from = 1
        self.caught_up()

    def caught_up(self) -> None:
        """Count but the newest scans as live, after many came at once: the rest is backlog."""
        if self._live is not None:
            self._live_from = max(self._live_from, self.streams[self._live].next - self.policy.scans_per_batch)

    def on_ack(self, ack: Ack, now_s: float) -> AckEffect:
        """Take in what the hub says it has."""
        if ack.incarnation < self.incarnation:
            return AckEffect.IGNORED
        is_first_contact = self.incarnation == 0
        rewound = ack.incarnation > self.incarnation
        if rewound:
            self._forget_belief(ack.incarnation)
        is_doubtful = False
        for state in ack.streams:
            belief = self.streams.get(state.stream_id)
            if belief is None:
                continue
            is_doubtful |= self._leaves_out_confirmed(state)
            before = belief.committed
            belief.committed = belief.committed | state.held
            belief.safe = belief.safe | state.safe
            if belief.committed != before:
                self.timeouts = 0
                self._newest_news = state.stream_id
            # An ack leaves out what lies below the lowest number that the last hello spoke of, so only the
            # answer to a hello that was said since then tells all.
            if ack.answers_hello and (is_first_contact or not rewound):
                self._uncertain.discard(state.stream_id)
        self.in_flight = [
            flight for flight in self.in_flight if RangeSet([flight.range]) - self.streams[flight.stream_id].committed
        ]
        if ack.answers_hello:
            self._hub_is_awake(now_s)
        if rewound and self._uncertain:
            return AckEffect.REWOUND
        return AckEffect.DOUBTFUL if is_doubtful else AckEffect.UPDATED

    def named(self, stream_id: bytes, lowest_held: int) -> None:
        """Note what a hello says of a stream."""
        self._told_lowest[stream_id] = lowest_held

    def doubt(self, stream_id: bytes, numbers: Range) -> None:
        """Believe no longer that the hub has these numbers: they are sent again, unless it says that it has them.

        Raises: KeyError for an unknown stream.
        """
        belief = self.streams[stream_id]
        belief.committed -= RangeSet([numbers])
        belief.safe -= RangeSet([numbers])

    def failed(self, stream_id: bytes, refused: Range) -> None:
        """Note that the broker would not take a batch; it becomes due for sending again."""
        self.in_flight = [f for f in self.in_flight if (f.stream_id, f.range) != (stream_id, refused)]
        self.timeouts += 1

    def expire(self, now_s: float) -> list[InFlight]:
        """Give up waiting for what is overdue; it becomes due for sending again."""
        overdue = [flight for flight in self.in_flight if flight.deadline_s <= now_s]
        if overdue:
            self.in_flight = [flight for flight in self.in_flight if flight.deadline_s > now_s]
            self.timeouts += 1
        return overdue

    def next_live(self) -> tuple[bytes, Range] | None:
        """Return the live scans to send now: those that came since the last time."""
        if self._live is None or self._live in self._uncertain:
            return None
        # However small the window: backlog that is under way never keeps live scans waiting.
        if len(self.in_flight) >= self.policy.window and any(flight.is_live for flight in self.in_flight):
            return None
        belief = self.streams[self._live]
        fresh = self._unsent(self._live) & RangeSet([(self._live_from, belief.next)])
        return (self._live, self._bounded(fresh.ranges[0])) if fresh else None

    def live_waiting(self) -> int:
        """Count the live scans that have not been sent yet."""
        if self._live is None:
            return 0
        belief = self.streams[self._live]
        return (self._unsent(self._live) & RangeSet([(self._live_from, belief.next)])).size

    def next_backlog(self) -> tuple[bytes, Range] | None:
        """Return the oldest scans to send, when a place beside the live one is free."""
        if len(self.in_flight) >= max(1, self.policy.window - 1):
            return None
        for stream_id in self.streams:
            if stream_id in self._uncertain:
                continue
            unsent = self._unsent(stream_id)
            if stream_id == self._live:
                unsent = unsent & RangeSet([(1, self._live_from - 1)] if self._live_from > 1 else [])
            if unsent:
                return stream_id, self._bounded(unsent.ranges[0])
        return None

    def sent(self, stream_id: bytes, sent: Range, now_s: float, jitter: float) -> None:
        """Note a batch as under way; `jitter` is a random number in 0..1 that spreads the deadlines."""
        wait_s = self.policy.ack_timeout_s + backoff_s(
            self.timeouts, jitter, first_s=self.policy.ack_timeout_s, cap_s=_BACKOFF_CAP_S
        )
        is_live = stream_id == self._live and sent.last >= self._live_from
        self.in_flight.append(InFlight(stream_id, sent, now_s + wait_s, is_live=is_live))
        if is_live:
            self._live_from = sent.last + 1

    def outstanding(self) -> int:
        """Count everything that the hub has yet to be told."""
        return sum(belief.outstanding.size for belief in self.streams.values())

    def _hub_is_awake(self, now_s: float) -> None:
        """After an answered hello the long waits of a silent time are over."""
        self.timeouts = 0
        latest_s = now_s + self.policy.ack_timeout_s
        self.in_flight = [replace(flight, deadline_s=min(flight.deadline_s, latest_s)) for flight in self.in_flight]

    def _forget_belief(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.in_flight.clear()
        for belief in self.streams.values():
            belief.committed = RangeSet()
            belief.safe = RangeSet()
        self._uncertain = set(self.streams)
        self._newest_news = None
        self._doubted.clear()

    def _leaves_out_confirmed(self, state: StreamState) -> bool:
        """Say whether a range of an ack begins right above a number that was once confirmed.

        The hub names whole ranges, down to the lowest number of the last hello. Without a restored
        database this happens too (acks that overtake each other, a range in quarantine), so it is only a
        reason to ask, once per place.
        """
        told_lowest = self._told_lowest.get(state.stream_id)
        if told_lowest is None:
            return False
        committed = self.streams[state.stream_id].committed
        for first, _ in state.held:
            if first > told_lowest and first - 1 in committed and self._doubted.get(state.stream_id) != first:
                self._doubted[state.stream_id] = first
                return True
        return False

    def _is_pressing(self, stream_id: bytes) -> bool:
        return stream_id in {self._live, self._newest_news} or bool(self.streams[stream_id].outstanding)

    def _unsent(self, stream_id: bytes) -> RangeSet:
        under_way = RangeSet([flight.range for flight in self.in_flight if flight.stream_id == stream_id])
        return self.streams[stream_id].outstanding - under_way - self.withheld.get(stream_id, _NOTHING)

    def _bounded(self, chosen: Range) -> Range:
        return Range(chosen.first, min(chosen.last, chosen.first + self.policy.scans_per_batch - 1))
