"""A controller and its agent. What the agent believes and sends next is the real `edge_agent.domain.delivery`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contract_model.delivery_variants import make_delivery
from contract_model.disk import Disk, StoredStream, Unreadable
from contract_model.ledger import Served
from contract_model.messages import AckTo, Batch, Content, HelloFrom, ManifestBody, Place, StreamKey, is_gap
from contract_model.rules import Rule

from edge_agent.domain.delivery import AckEffect, Belief, Policy
from protocol.messages import HeldStream, Hello
from protocol.ranges import Range, RangeSet
from protocol.scans import GapReason

if TYPE_CHECKING:
    from contract_model.world import World

HELLO_EVERY = 60
HELLO_RETRY = 12
MEMORY_SCANS = 5
"""Scans that an agent keeps in memory while its disk takes nothing."""
POLICY = Policy(window=4, scans_per_batch=4, ack_timeout_s=12)


@dataclass(slots=True)
class Box:
    """One physical controller: the identity on its card, its own meters, its card."""

    controller: str
    serial: str
    disk: Disk
    capacity: int
    manifest: bytes
    agent: "Agent | None" = None
    copies: list[Disk] = field(default_factory=list)
    shelved: bool = False
    """Switched off for good."""
    knows_time: bool = True
    """Whether its clock is trusted."""


class Agent:
    """One run of the agent's process."""

    def __init__(self, world: "World", box: Box) -> None:
        self.world, self.box, self.disk = world, box, box.disk
        self.rng = world.rng
        self.delivery = make_delivery(world.removed, POLICY, self.disk.incarnation)
        self.in_hand: list[Served] = []
        self.overflow: list[Served] = []
        self.greeted = False
        self.nonce = 0
        self.hello_due = 0
        self.hello_sent: tuple[int, bool] = (0, False)
        self.told: tuple[int, int] = (-1, 0)
        """The judge's note: the timeline that answered the last complete hello, and when that was said."""
        self.era = -1
        self.shown: dict[bytes, int] = {}
        """The judge's note: the highest number per stream that something else may have seen."""
        self.live = self._open_streams()

    def _open_streams(self) -> bytes:
        for stream_id in [name for name, stream in self.disk.streams.items() if stream.next == 1]:
            del self.disk.streams[stream_id]
        live = self.world.draw_stream_id(self.box.controller)
        grown = self.disk.streams.pop(live, None)
        for stream_id, stream in self.disk.streams.items():
            self.delivery.add_stream(stream_id, Belief(stream.next, stream.committed, stream.safe))
        stored = grown or StoredStream(self.box.manifest)
        self.disk.streams[live] = stored
        self.delivery.add_stream(live, Belief(stored.next, stored.committed, stored.safe), live=True)
        return live

    def key(self, stream_id: bytes) -> StreamKey:
        """Name a stream in full."""
        return StreamKey(self.box.controller, stream_id)

    @property
    def connected(self) -> bool:
        """Say whether the broker's session is ours."""
        return self.world.broker.is_connected(self.box.controller, self)

    # Storing

    def poll(self) -> None:
        """Take a scan from a meter into memory."""
        self.in_hand.append(self.world.serve(self.box.serial))
        if len(self.in_hand) > MEMORY_SCANS:
            self.overflow.append(self.in_hand.pop(0))

    def store(self) -> None:
        """Store what is in hand in one transaction, what had to be given up first."""
        if self.disk.full or not self.in_hand:
            return
        given_up = self.overflow if self.world.keeps(Rule.OVERFLOW_LEAVES_GAP) else []
        gaps: list[Content] = [GapReason.NOT_STORED] * len(given_up)
        identities: list[Content] = [scan.identity for scan in self.in_hand]
        if not self.box.knows_time and not self.world.keeps(Rule.WAITING_KEEP_THEIR_NUMBERS):
            self.disk.unnumbered += identities
            self._append(gaps, given_up)
        else:
            self._append(gaps + identities, [*given_up, *self.in_hand])
        for scan in given_up:
            scan.not_stored = True
        self.in_hand, self.overflow = [], []

    def _append(self, contents: list[Content], scans: list[Served]) -> None:
        """Number contents, which may have to wait for a trusted clock."""
        stored = self.disk.append(self.live, contents)
        if not self.box.knows_time:
            self.disk.streams[self.live].waiting.update(range(stored.first, stored.last + 1))
        for number, scan in enumerate(scans, start=stored.first):
            self.world.ledger.put(scan, Place(self.key(self.live), number))
        if self.world.keeps(Rule.FSYNC_BEFORE_SEND):
            self.disk.sync()
        self.delivery.stored(self.live, stored.last)
        self.make_room()

    def stamp(self) -> None:
        """Give scans that wait their time, once it is known: all of one stream, in one transaction."""
        if self.disk.full or not self.box.knows_time:
            return
        stream = next((stream for stream in self.disk.streams.values() if stream.waiting), None)
        if stream is not None:
            self.disk.sync()
            stream.waiting.clear()
        unnumbered, self.disk.unnumbered = self.disk.unnumbered, []
        if unnumbered:
            self._append(unnumbered, [self.world.ledger[int(identity)] for identity in unnumbered])

    def save_belief(self) -> None:
        """Write down what the hub is believed to have, in one transaction."""
        if self.disk.full:
            return
        self.disk.sync()
        self.disk.incarnation = self.delivery.incarnation
        for stream_id, belief in self.delivery.streams.items():
            stored = self.disk.streams[stream_id]
            stored.committed, stored.safe = belief.committed, belief.safe

    # Forgetting

    def prune(self) -> None:
        """Forget some scans that have been kept long enough."""
        if self.disk.full:
            return
        self._forget(self.rng.randint(1, 4), also_committed=not self.world.keeps(Rule.FORGET_ONLY_SAFE), full=False)

    def make_room(self) -> None:
        """Keep the card within its size: safe scans go, then committed ones, then every second of the oldest."""
        for also_committed in (False, True):
            excess = self.disk.scan_count() - self.box.capacity
            if excess > 0:
                self._forget(excess, also_committed=also_committed, full=also_committed)
        while self.disk.scan_count() > self.box.capacity:
            self._thin()

    def _forget(self, count: int, *, also_committed: bool, full: bool) -> None:
        """Delete rows by what the card says of the hub, oldest first."""
        if self.disk.incarnation != self.delivery.incarnation and self.world.keeps(Rule.REWIND_IS_WRITTEN_DOWN):
            self.save_belief()
        for stream_id, stored in self.disk.streams.items():
            deletable = stored.committed if also_committed else stored.committed & stored.safe
            for number in [number for number in stored.rows if number in deletable][:count]:
                self.disk.forget(stream_id, number)
                self.world.note_forgotten(self, Place(self.key(stream_id), number), full=full)
                count -= 1

    def _thin(self) -> None:
        """Give up every second scan of the oldest stream that has any."""
        stream_id = next(name for name, stored in self.disk.streams.items() if stored.scan_numbers)
        stored = self.disk.streams[stream_id]
        for number in stored.scan_numbers[: 2 * (self.disk.scan_count() - self.box.capacity) : 2]:
            self.world.note_thinned(Place(self.key(stream_id), number))
            if self.world.keeps(Rule.THINNING_LEAVES_GAP):
                stored.rows[number] = GapReason.THINNED
            else:
                self.disk.forget(stream_id, number)

    # Talking

    def connect(self) -> None:
        """Connect anew; whatever was under way is in doubt, and a hello is due."""
        if self.world.broker.connect(self.box.controller, self, self.world.now):
            self.delivery.connected()
            self.greeted = False
            self.hello_due = self.world.now

    def talk(self) -> None:
        """Do the next thing that is due on the line."""
        if not self.connected:
            self.connect()
            return
        self.delivery.expire(self.world.now)
        if self.world.now >= self.hello_due:
            self.say_hello()
        elif self.greeted:
            self.send()

    def say_hello(self) -> None:
        """Say what is held and what the hub is believed to have."""
        named = self.delivery.streams_to_name(everything=not self.greeted or self.delivery.is_in_doubt)
        complete = len(named) == len(self.delivery.streams)
        self.nonce = self.rng.getrandbits(32) | 1
        self.hello_sent = (self.world.now, complete)
        self.hello_due = self.world.now + (HELLO_EVERY if self.greeted else HELLO_RETRY)
        if not self.world.keeps(Rule.HELLO_REPEATED):
            self.hello_due = self.world.now + 10**9
        self.world.broker.publish_up(self.box.controller, HelloFrom(self.box.controller, self._hello(named, complete)))

    def _hello(self, named: list[bytes], complete: bool) -> Hello:  # noqa: FBT001 - a fact of the message
        streams = []
        for stream_id in named:
            belief = self.delivery.streams[stream_id]
            lowest = min([self.disk.streams[stream_id].lowest_held, *(r.first for r in belief.outstanding)])
            streams.append(HeldStream(stream_id, lowest, belief.next, self.world.clip_ranges(belief.committed)))
            self.shown[stream_id] = max(self.shown.get(stream_id, 0), belief.next - 1)
        return Hello(
            agent_version="model",
            incarnation=self.delivery.incarnation,
            manifest_hash=self.box.manifest,
            boot_id=b"",
            clock="",
            now_ms=self.world.now,
            nonce=self.nonce,
            complete=complete,
            streams=tuple(streams),
        )

    def send(self) -> None:
        """Send one batch, live or backlog."""
        if self.world.keeps(Rule.WAITING_ARE_NOT_SENT):
            self.delivery.withheld = {
                name: RangeSet((number, number) for number in stream.waiting)
                for name, stream in self.disk.streams.items()
            }
        choices = [self.delivery.next_live(), self.delivery.next_backlog()]
        self.rng.shuffle(choices)
        chosen = next((choice for choice in choices if choice), None)
        if chosen:
            self._send_batch(*chosen)

    def _send_batch(self, stream_id: bytes, numbers: Range) -> None:
        world = self.world
        try:
            contents = self.disk.read(
                stream_id,
                numbers,
                damage_is_gap=world.keeps(Rule.UNREADABLE_LEAVES_GAP),
                absence_is_gap=world.keeps(Rule.FORGOTTEN_LEAVES_GAP),
            )
        except Unreadable:
            return
        batch = Batch(self.key(stream_id), numbers, contents, self.disk.streams[stream_id].manifest)
        self.delivery.sent(stream_id, numbers, world.now, self.rng.random())
        self.shown[stream_id] = max(self.shown.get(stream_id, 0), numbers.last)
        if not world.broker.publish_up(self.box.controller, batch):
            self.delivery.failed(stream_id, numbers)
        elif not world.keeps(Rule.BROKER_DOES_NOT_COMMIT):
            belief = self.delivery.streams[stream_id]
            belief.committed = belief.committed | RangeSet([numbers])

    def hear(self) -> None:
        """Take in an ack, when one has come."""
        message = self.world.broker.deliver_down(self.box.controller, self.world.now) if self.connected else None
        if message is None:
            return
        ack = message.ack
        if ack.incarnation >= self.delivery.incarnation:
            self.era = message.era
        before = {stream_id: belief.committed for stream_id, belief in self.delivery.streams.items()}
        effect = self.delivery.on_ack(ack, self.world.now)
        if effect is not AckEffect.IGNORED and ack.answers_hello == self.nonce:
            self._greet(message)
        self.world.judge_belief(self, before)
        if effect is AckEffect.REWOUND:
            self.hello_due = min(self.hello_due, self.world.now)
        for manifest in ack.wanted_manifests:
            if any(stream.manifest == manifest for stream in self.disk.streams.values()):
                self.world.broker.publish_up(self.box.controller, ManifestBody(self.box.controller, manifest))

    def _greet(self, message: AckTo) -> None:
        sent_at, complete = self.hello_sent
        if complete:
            self.told = (message.timeline, sent_at)
        if not self.greeted:
            self.greeted = True
            if self.world.keeps(Rule.HELLO_REPEATED):
                self.hello_due = self.world.now + HELLO_EVERY

    # Ending

    def die(self, *, power_cut: bool) -> None:
        """End without warning; a power cut takes what the card had not yet written."""
        for scan in [*self.in_hand, *self.overflow]:
            scan.in_hand_when_cut = True
        if power_cut:
            for stream_id, number in self.disk.unsynced:
                for scan in self.world.ledger.at[Place(self.key(stream_id), number)]:
                    scan.in_hand_when_cut = True
                    scan.seen |= number <= self.shown.get(stream_id, 0)
            self.disk.cut_power()
        self.world.broker.disconnect(self.box.controller, self)
        self.box.agent = None


def has_scan(disk: Disk, place: Place, identity: int) -> bool:
    """Say whether a card has a scan in readable form."""
    stream = disk.streams.get(place.key.stream_id)
    if stream is None or place.sequence in stream.damaged:
        return False
    content = stream.rows.get(place.sequence, GapReason.FORGOTTEN)
    return not is_gap(content) and content == identity
