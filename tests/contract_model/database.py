"""The hub's database and its backups: transactions, row locks, dumps, verification, restores."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from contract_model.messages import Batch, Place, StreamKey

from protocol.ranges import Range, RangeSet
from protocol.scans import GapReason

Key = TypeVar("Key")
Value = TypeVar("Value")

EMPTY = RangeSet()


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One row of the table `streams`."""

    committed: RangeSet = EMPTY
    gaps: RangeSet = EMPTY
    quarantined: RangeSet = EMPTY
    safe: RangeSet = EMPTY
    announced_next: int = 1
    lowest_held: int = 1
    is_closed: bool = False
    """Some of what was announced is on record as never arrived."""
    spoken_of: bool = False
    """A hello has named it, or a batch of it has come, since a complete hello left it out."""

    @property
    def settled(self) -> RangeSet:
        """What is there as a scan or as an agent's gap record."""
        return self.committed | self.gaps

    @property
    def held(self) -> RangeSet:
        """What need not be sent again."""
        return self.settled | self.quarantined


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch that is kept raw, and why."""

    batch: Batch
    reason: str


@dataclass(slots=True)
class Database:
    """Everything that a dump contains, and locks and attempts, which it does not."""

    incarnation: int = 1
    streams: dict[StreamKey, StreamRow] = field(default_factory=dict)
    scans: dict[Place, tuple[int, ...]] = field(default_factory=dict)
    gap_records: dict[Place, tuple[GapReason, ...]] = field(default_factory=dict)
    digests: dict[tuple[StreamKey, Range], Batch] = field(default_factory=dict)
    quarantine: dict[Batch, Quarantined] = field(default_factory=dict)
    manifests: frozenset[tuple[str, bytes]] = frozenset()
    forged_judged: frozenset[Batch] = frozenset()
    timeline: int = 0
    era: int = 0
    rewound: bool = False
    """It was restored and its incarnation was not raised since."""
    down: bool = False
    locks: dict[StreamKey, object] = field(default_factory=dict)
    attempts: dict[Batch, int] = field(default_factory=dict)

    def dump(self) -> "Database":
        """Copy what a dump contains."""
        return Database(
            incarnation=self.incarnation,
            streams=dict(self.streams),
            scans=dict(self.scans),
            gap_records=dict(self.gap_records),
            digests=dict(self.digests),
            quarantine=dict(self.quarantine),
            manifests=self.manifests,
            forged_judged=self.forged_judged,
            timeline=self.timeline,
            era=self.era,
            rewound=self.rewound,
        )

    def lock(self, keys: Iterable[StreamKey], owner: object) -> bool:
        """Take all locks or none."""
        wanted = list(keys)
        if any(self.locks.get(key, owner) is not owner for key in wanted):
            return False
        self.locks.update(dict.fromkeys(wanted, owner))
        return True

    def release(self, owner: object) -> None:
        """Give back the locks of a process that committed, rolled back or died."""
        self.locks = {key: holder for key, holder in self.locks.items() if holder is not owner}

    def row(self, key: StreamKey) -> StreamRow:
        """Return a stream's row as committed."""
        return self.streams.get(key, StreamRow())


@dataclass(slots=True)
class Transaction:
    """Changes that nobody sees before they are applied, all of them or none."""

    database: Database
    rows: dict[StreamKey, StreamRow] = field(default_factory=dict)
    writes: list[Callable[[Database], None]] = field(default_factory=list)

    def row(self, key: StreamKey) -> StreamRow:
        """Return a stream's row as this transaction sees it."""
        return self.rows.get(key) or self.database.row(key)

    def visible_keys(self, controller: str) -> list[StreamKey]:
        """Name all streams of a controller that this transaction can see."""
        return [key for key in {**self.database.streams, **self.rows} if key.controller == controller]

    def put_row(self, key: StreamKey, row: StreamRow) -> None:
        """Change a stream's row."""
        self.rows[key] = row

    def insert_scan(self, place: Place, identity: int) -> None:
        """Add a row to `scans`; nothing but the contract prevents a second one."""
        self.writes.append(lambda db: db.scans.__setitem__(place, (*db.scans.get(place, ()), identity)))

    def overwrite_scan(self, place: Place, identity: int) -> None:
        """Put other content in the place of what is there: only ever done with a rule taken away."""
        self.writes.append(lambda db: db.scans.__setitem__(place, (identity,)))

    def add_gap_record(self, place: Place, reason: GapReason) -> None:
        """Add a gap record."""
        self.writes.append(lambda db: db.gap_records.__setitem__(place, (*db.gap_records.get(place, ()), reason)))

    def trim_gap_record(self, place: Place) -> None:
        """Take a number out of the gap records."""
        self.writes.append(lambda db: _discard(db.gap_records, place))

    def forget_never_arrived(self, key: StreamKey) -> None:
        """Take back what was said of a stream that is spoken of again."""
        self.writes.append(lambda db: _forget_never_arrived(db, key))

    def add_digest(self, batch: Batch) -> None:
        """Remember which content came for a range, the first time."""
        self.writes.append(lambda db: _set_default(db.digests, (batch.key, batch.range), batch))

    def add_quarantine(self, item: Quarantined) -> None:
        """Keep a batch raw."""
        self.writes.append(lambda db: db.quarantine.__setitem__(item.batch, item))

    def drop_quarantine(self, batch: Batch) -> None:
        """Note a batch as replayed."""
        self.writes.append(lambda db: _discard(db.quarantine, batch))

    def note_forged(self, batch: Batch) -> None:
        """Note, for the judge, that other content was seen for a committed range."""
        self.writes.append(lambda db: setattr(db, "forged_judged", db.forged_judged | {batch}))

    def add_manifest(self, controller: str, manifest: bytes) -> None:
        """Register a manifest."""
        self.writes.append(lambda db: setattr(db, "manifests", db.manifests | {(controller, manifest)}))

    def commit(self) -> None:
        """Apply everything at once."""
        database = self.database
        for write in self.writes:
            write(database)
        database.streams.update(self.rows)


def _forget_never_arrived(database: Database, key: StreamKey) -> None:
    for place, reasons in list(database.gap_records.items()):
        if place.key == key and GapReason.NEVER_ARRIVED in reasons:
            rest = tuple(reason for reason in reasons if reason is not GapReason.NEVER_ARRIVED)
            database.gap_records[place] = rest
            if not rest:
                del database.gap_records[place]


def _discard(table: dict[Key, Value], key: Key) -> None:
    table.pop(key, None)


def _set_default(table: dict[Key, Value], key: Key, value: Value) -> None:
    table.setdefault(key, value)


@dataclass(slots=True)
class Dump:
    """A backup. Whether it is any good shows when it is verified."""

    content: Database
    good: bool
    verified: bool = False


@dataclass(slots=True)
class Backups:
    """The dumps, oldest first."""

    dumps: list[Dump] = field(default_factory=list)

    def take(self, database: Database, *, good: bool) -> Dump:
        """Take a dump."""
        dump = Dump(database.dump(), good)
        self.dumps.append(dump)
        return dump

    def verify_newest(self, database: Database) -> None:
        """Verify the newest dump; when it is good, what it contains is safe from now on."""
        waiting = [dump for dump in self.dumps if not dump.verified]
        if not waiting:
            return
        dump = waiting[-1]
        if not dump.good:
            self.dumps.remove(dump)
            return
        if dump.content.timeline != database.timeline:
            return
        dump.verified = True
        mark_safe(dump, database)

    @property
    def newest_verified(self) -> Dump | None:
        """Return the dump that a person would restore."""
        return next((dump for dump in reversed(self.dumps) if dump.verified), None)


def mark_safe(dump: Dump, database: Database) -> None:
    """Write into the database what a dump contains of each stream."""
    for key, row in dump.content.streams.items():
        database.streams[key] = replace(database.row(key), safe=row.settled)
