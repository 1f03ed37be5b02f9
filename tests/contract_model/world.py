"""Controllers, broker, hub and backups under one seed and one counter for a clock."""

from collections.abc import Collection, Mapping
from random import Random

from contract_model.agent import HELLO_EVERY, Agent, Box
from contract_model.broker import DOWN_DELAY_MAX, Broker, Weather
from contract_model.database import Backups, Database, Dump, Quarantined, mark_safe
from contract_model.disk import Disk
from contract_model.hub import HubProcess, Replay
from contract_model.judging import Judge
from contract_model.ledger import Ledger, Served, places
from contract_model.messages import Place, StreamKey
from contract_model.rules import Rule

from protocol.ranges import RangeSet

CLEAR = Weather()
_NAMED_IN_TURN_AT_LEAST = 4
_ROUNDS_MAX = 30
_TALKS_PER_ROUND = 40
_DRAIN_STEPS_MAX = 300


class World:
    """Everything there is, and the notes of the judge."""

    def __init__(self, seed: int, removed: Collection[Rule] = ()) -> None:
        self.rng = Random(f"{seed}:course")
        self.removed = frozenset(removed)
        self.now = 0
        self.ledger = Ledger()
        self.violations: list[str] = []
        self.broker = Broker(self.rng, retains_acks=Rule.ACKS_NOT_RETAINED in self.removed)
        self.broker.weather = self.usual_weather = Weather(lost=self.rng.choice([0, 0.05]), repeated=0.1)
        self.database = Database()
        self.restored_at = 0
        self.backups = Backups()
        self.hubs = [HubProcess(self) for _ in range(self.rng.randint(1, 3))]
        self.hubs_away = False
        self.poison: dict[int, str] = {}
        self.poison_next: str | None = None
        self.cured = False
        self.settling = False
        self.ranges_per_message = self.rng.choice([3, 256])
        self._timelines = self._eras = self._manifests = 0
        self.boxes: list[Box] = []
        for number in range(self.rng.choice([1, 1, 2])):
            self.add_box(f"controller-{number}", Disk())

    # Names

    def keeps(self, rule: Rule) -> bool:
        """Say whether a rule is in force."""
        return rule not in self.removed

    def draw_stream_id(self, controller: str) -> bytes:
        """Draw the name of a run."""
        return self.rng.randbytes(16) if self.keeps(Rule.STREAM_PER_START) else controller.encode().ljust(16)

    def draw_manifest(self) -> bytes:
        """Describe the columns anew."""
        self._manifests += 1
        return self._manifests.to_bytes(16, "big")

    def clip_ranges(self, ranges: RangeSet) -> RangeSet:
        """Name as many ranges as a message holds, the lowest."""
        return RangeSet(ranges.ranges[: self.ranges_per_message])

    def add_box(self, controller: str, disk: Disk) -> Box:
        """Install a controller, its card in it."""
        serial = f"serial-{len(self.boxes)}"
        box = Box(controller, serial, disk, self.rng.choice([8, 25, 1000]), self.draw_manifest())
        self.boxes.append(box)
        return box

    # What the judge notes

    def serve(self, serial: str) -> Served:
        """Serve a scan, poisoned when a fault has asked for that."""
        scan = self.ledger.serve(serial)
        if self.poison_next:
            self.poison[scan.identity] = self.poison_next
            self.poison_next = None
        return scan

    def note_thinned(self, place: Place) -> None:
        """Note that a full buffer gave a scan up."""
        for scan in self.ledger.at[place]:
            scan.thinned = True

    def note_unreadable(self, key: StreamKey, numbers: Collection[int]) -> None:
        """Note that a card has rows that cannot be read back."""
        for number in numbers:
            for scan in self.ledger.at[Place(key, number)]:
                scan.unreadable = True

    def note_forgotten(self, agent: Agent, place: Place, *, full: bool) -> None:
        """Note that an agent forgot a number, and judge whether it might."""
        verified = self.backups.newest_verified
        safe = verified is not None and place.sequence in verified.content.row(place.key).held
        told_otherwise = self._knows_the_hub(agent) and place.sequence not in self.database.row(place.key).held
        for scan in self.ledger.at[place]:
            scan.forgotten_when_full |= full
            scan.forgotten_as_safe |= not full
            if not (full or safe or scan.lost_by_old_restore):
                self.violations.append(f"scan {scan.identity} was forgotten before it was safe")
            if not scan.held_once:
                self.violations.append(f"scan {scan.identity} was forgotten and never committed")
            if told_otherwise:
                self.violations.append(f"scan {scan.identity} was forgotten although the hub has said that it lost it")

    def judge_belief(self, agent: Agent, before: Mapping[bytes, RangeSet]) -> None:
        """Check that the hub has what an ack made an agent believe.

        Old belief may be wrong until the agent has had its chance to learn of the latest restore; new
        belief only for as long as an ack of before the restore can have been under way.
        """
        knows = self._knows_the_hub(agent)
        if not knows and self.now <= self.restored_at + DOWN_DELAY_MAX:
            return
        for stream_id, belief in agent.delivery.streams.items():
            doubtful = belief.committed if knows else belief.committed - before[stream_id]
            missing = doubtful - self.database.row(agent.key(stream_id)).held
            if missing:
                self.violations.append(f"{agent.box.serial} believes {missing} committed, which the hub does not have")

    def _knows_the_hub(self, agent: Agent) -> bool:
        """Say whether an agent has had its chance to learn of the latest restore."""
        timeline, said_at = agent.told
        told_since = timeline == self.database.timeline and said_at > self.restored_at + DOWN_DELAY_MAX
        return agent.era == self.database.era and (told_since or not self.database.rewound)

    def commit(self, judge: Judge) -> None:
        """Apply a transaction and note what the hub holds by it."""
        transaction, database = judge.transaction, self.database
        fresh = {key: row.held - database.row(key).held for key, row in transaction.rows.items()}
        transaction.commit()
        if judge.incarnation > database.incarnation:
            database.incarnation, database.rewound = judge.incarnation, False
            database.era = self._eras = self._eras + 1
        judge.incarnation = database.incarnation
        for key, numbers in fresh.items():
            self.ledger.note_held(key, numbers)

    # The hub's servers

    def kill_hub(self, hub: HubProcess) -> None:
        """Kill a hub process; the broker gives most of what it had to another one."""
        for message in hub.die():
            if not self.broker.is_down and (self.settling or self.rng.random() < 0.8):
                self.broker.up.append(message)

    def restore(self, dump: Dump) -> None:
        """Put a dump in the place of the database; every connection to it ends."""
        verified = self.backups.newest_verified
        if verified:
            for key, row in verified.content.streams.items():
                for place in places(key, row.held - dump.content.row(key).held):
                    for scan in self.ledger.at[place]:
                        scan.lost_by_old_restore = True
        for hub in self.hubs:
            self.kill_hub(hub)
        self._timelines += 1
        self.database = dump.content.dump()
        self.database.timeline, self.database.rewound = self._timelines, True
        self.restored_at = self.now

    def take_backup(self, *, good: bool) -> None:
        """Dump the database."""
        dump = self.backups.take(self.database, good=good)
        if not self.keeps(Rule.SAFE_AFTER_VERIFICATION):
            mark_safe(dump, self.database)

    def is_cured(self, item: Quarantined) -> bool:
        """Say whether a quarantined batch can be put through."""
        batch = item.batch
        if item.reason == "conflict":
            return False
        if item.reason == "unknown_manifest":
            return (batch.key.controller, batch.manifest) in self.database.manifests
        return self.cured

    def replay_quarantine(self) -> None:
        """Ask a hub process to put through what waited for its manifest, and all of it after a cure."""
        for item in self.database.quarantine.values():
            if self.is_cured(item):
                self.rng.choice(self.hubs).inbox.append(Replay(item.batch))

    # Time

    @property
    def running(self) -> list[Box]:
        """Name the controllers that are not switched off for good."""
        return [box for box in self.boxes if not box.shelved]

    def step(self) -> None:
        """Let one part of the world do one thing."""
        self.now += 1
        draw = self.rng.random()
        if draw < 0.6:
            self._step_box(self.rng.choice(self.running))
        elif draw < 0.96:
            if not self.hubs_away:
                self.rng.choice(self.hubs).work()
        else:
            self._step_servers()

    def _step_box(self, box: Box) -> None:
        agent = box.agent
        if agent is None:
            if self.rng.random() < 0.3:
                box.agent = Agent(self, box)
            return
        draw = self.rng.random()
        if draw < 0.15:
            agent.poll()
        elif draw < 0.3:
            agent.stamp()
            agent.store()
        elif draw < 0.65:
            agent.talk()
        elif draw < 0.92:
            agent.hear()
        elif draw < 0.97:
            agent.save_belief()
        else:
            agent.prune()

    def _step_servers(self) -> None:
        draw = self.rng.random()
        if draw < 0.4:
            self.take_backup(good=self.rng.random() < 0.7)
        elif draw < 0.7:
            self.backups.verify_newest(self.database)
        elif not self.hubs_away:
            self.replay_quarantine()

    # Coming to rest

    def end_faults(self) -> None:
        """Repair everything, switch everything on, and poll no more."""
        self.settling = True
        self.broker.is_down = self.database.down = self.hubs_away = False
        self.broker.weather = CLEAR
        self.broker.refuses.clear()
        for box in self.running:
            box.disk.full = False
            box.knows_time = True
            box.agent = box.agent or Agent(self, box)

    def comes_to_rest(self) -> bool:
        """Let all parts work, with nobody's help, until nothing is left to do; False when that never comes."""
        # A hello on a standing connection names a few finished streams in turn.
        rest_needed = 2 + max((len(box.disk.streams) for box in self.running), default=0) // _NAMED_IN_TURN_AT_LEAST
        quiet, before = 0, ""
        for _ in range(_ROUNDS_MAX + rest_needed):
            for box in self.running:
                self._let_talk(box)
            self.replay_quarantine()
            if not self._drain():
                return False
            after = self._fingerprint()
            quiet = quiet + 1 if after == before and not self._outstanding() else 0
            before = after
            if quiet >= rest_needed:
                return True
        return False

    def _let_talk(self, box: Box) -> None:
        agent = box.agent
        if agent is None:
            return
        self.now += HELLO_EVERY
        for _ in box.disk.streams:
            agent.stamp()
        agent.store()
        for _ in range(_TALKS_PER_ROUND):
            self.now += 1
            agent.talk()
            if not self._drain():
                return
            while self.broker.down[box.controller] and agent.connected:
                agent.hear()
            if agent.greeted and agent.hello_due > self.now and not agent.delivery.outstanding():
                break

    def _drain(self) -> bool:
        """Let the hub deal with everything that waits for it; False when it goes round in circles."""
        for _ in range(_DRAIN_STEPS_MAX):
            if not self.broker.up and all(hub.idle for hub in self.hubs):
                return True
            for hub in self.hubs:
                hub.work()
        return False

    def _outstanding(self) -> int:
        return sum(box.agent.delivery.outstanding() for box in self.running if box.agent)

    def _fingerprint(self) -> str:
        database = self.database
        return f"{database.incarnation} {len(database.scans)} {len(database.gap_records)} {len(database.quarantine)}"
