"""What a hub process does with each message inside its transaction; the sets are the real `contract`'s."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from contract_model.database import EMPTY, Quarantined, StreamRow, Transaction
from contract_model.ledger import places
from contract_model.messages import AckTo, Batch, HelloFrom, StreamKey, is_gap
from contract_model.rules import Rule

from cloud_hub.ingest import contract
from protocol.messages import Ack, Hello, StreamState
from protocol.ranges import RangeSet
from protocol.scans import GapReason

if TYPE_CHECKING:
    from contract_model.world import World

ATTEMPTS_MAX = 3


class ProcessKilled(Exception):
    """A batch has killed the process that parsed it."""


@dataclass(slots=True)
class Answer:
    """What is to be said to one controller after the commit."""

    touched: defaultdict[StreamKey, RangeSet] = field(default_factory=lambda: defaultdict(RangeSet))
    """By stream, the numbers of the batches that were judged."""
    named: list[StreamKey] = field(default_factory=list)
    """The streams that a hello named."""
    nonce: int = 0
    wanted: set[bytes] = field(default_factory=set)


class Judge:
    """Judges messages one after the other within one transaction."""

    def __init__(self, world: "World", transaction: Transaction) -> None:
        self.world, self.transaction = world, transaction
        self.incarnation = transaction.database.incarnation
        self.answers: defaultdict[str, Answer] = defaultdict(Answer)

    # Batches

    def judge_batch(self, batch: Batch, *, is_replay: bool = False) -> None:
        """Store, ignore or quarantine a batch."""
        database = self.transaction.database
        if batch.forged and (batch.key, batch.range) not in database.digests:
            return  # Only content that contradicts a commit can be told from the truth.
        touched = self.answers[batch.key.controller].touched
        touched[batch.key] = touched[batch.key] | RangeSet([batch.range])
        self.transaction.put_row(batch.key, replace(self.transaction.row(batch.key), spoken_of=True))
        reason = self._refusal(batch)
        if reason is None:
            self._store(batch, subtract=not is_replay or self.world.keeps(Rule.REPLAY_SUBTRACTS))
            self.transaction.drop_quarantine(batch)
        elif reason == "conflict" and not self.world.keeps(Rule.FIRST_COMMIT_STANDS):
            for place, content in zip(places(batch.key, RangeSet([batch.range])), batch.contents, strict=True):
                self.transaction.overwrite_scan(place, int(content))
        else:
            self._quarantine(batch, reason)

    def _refusal(self, batch: Batch) -> str | None:
        """Say why a batch cannot be stored, None when it can."""
        world, database = self.world, self.transaction.database
        if database.attempts.get(batch, 0) >= ATTEMPTS_MAX:
            return "killed_process"
        poison = {world.poison[identity] for identity in batch.scans if identity in world.poison}
        if poison and not world.cured:
            if "killed_process" in poison:
                raise ProcessKilled
            return min(poison)
        if batch.scans and (batch.key.controller, batch.manifest) not in database.manifests:
            self.answers[batch.key.controller].wanted.add(batch.manifest)
            return "unknown_manifest"
        first = database.digests.get((batch.key, batch.range))
        committed = self.transaction.row(batch.key).committed
        if first and not batch.has_gaps and contract.contradicts(committed, batch.range, batch.digest, [first.digest]):
            self.transaction.note_forged(batch)
            return "conflict"
        return None

    def _quarantine(self, batch: Batch, reason: str) -> None:
        world, row = self.world, self.transaction.row(batch.key)
        lost = (
            (reason == "unknown_manifest" and not world.keeps(Rule.QUARANTINE_WAITS_FOR_MANIFEST))
            or (reason == "conflict" and not world.keeps(Rule.CONFLICT_IS_KEPT))
            or not world.keeps(Rule.QUARANTINE_KEEPS_RAW)
        )
        if not lost:
            self.transaction.add_quarantine(Quarantined(batch, reason))
        if world.keeps(Rule.QUARANTINE_IS_HELD):
            self._put_ranges(batch.key, contract.quarantine(_ranges(row), batch.range))

    def _store(self, batch: Batch, *, subtract: bool) -> None:
        world, transaction = self.world, self.transaction
        row = transaction.row(batch.key)
        at = dict(zip(places(batch.key, RangeSet([batch.range])), batch.contents, strict=True))
        data = RangeSet((place.sequence, place.sequence) for place, content in at.items() if not is_gap(content))
        known = _ranges(row)
        if not subtract or not world.keeps(Rule.SUBTRACT_COMMITTED):
            known = replace(known, committed=EMPTY)
        judgement = contract.judge(known, data, RangeSet([batch.range]) - data)
        for place in places(batch.key, judgement.insert):
            transaction.insert_scan(place, int(at[place]))
        if world.keeps(Rule.DATA_REPLACES_GAP):
            # A closed stream has gap records of the hub's own making, which give way to whatever comes.
            replaced = judgement.insert | judgement.record_gaps if row.is_closed else judgement.replaced_gaps
            for place in places(batch.key, replaced):
                transaction.trim_gap_record(place)
        for place in places(batch.key, judgement.record_gaps):
            transaction.add_gap_record(place, GapReason(at[place]))
        if world.keeps(Rule.UNITE_RANGE):
            after = judgement.after
            self._put_ranges(batch.key, replace(after, committed=after.committed | row.committed))
            announced = max(row.announced_next, batch.range.last + 1)
            transaction.put_row(batch.key, replace(transaction.row(batch.key), announced_next=announced))
        if judgement.insert and not batch.has_gaps:
            transaction.add_digest(batch)

    # Hellos

    def judge_hello(self, message: HelloFrom) -> None:
        """Compare what an agent says with what the database has, and answer it."""
        transaction, hello = self.transaction, message.hello
        keys = {stream.stream_id: StreamKey(message.controller, stream.stream_id) for stream in hello.streams}
        held = {stream_id: transaction.row(key).held for stream_id, key in keys.items()}
        self.incarnation = contract.next_incarnation(self.incarnation, self._credible(hello), held)
        for stream in hello.streams:
            key = keys[stream.stream_id]
            row = transaction.row(key)
            announced = max(row.announced_next, stream.next)
            is_older = stream.next < row.announced_next and self.world.keeps(Rule.OLDER_COPY_IS_NOTICED)
            row = replace(
                row, announced_next=announced, lowest_held=stream.lowest_held, is_closed=is_older, spoken_of=True
            )
            transaction.put_row(key, row)
            transaction.forget_never_arrived(key)
            if is_older:
                self._record_never_arrived(key, announced, stream.next)
        if hello.complete:
            self._close_unnamed(message.controller, set(keys.values()))
        answer = self.answers[message.controller]
        answer.nonce = hello.nonce
        answer.named = list(keys.values())
        answer.wanted |= self._wanted(message.controller, hello)

    def _credible(self, hello: Hello) -> Hello:
        if not self.world.keeps(Rule.RAISE_WHEN_AGENT_KNOWS_MORE):
            hello = replace(hello, streams=())
        if not self.world.keeps(Rule.RAISE_WHEN_AGENT_IS_AHEAD):
            hello = replace(hello, incarnation=min(hello.incarnation, self.incarnation))
        return hello

    def _wanted(self, controller: str, hello: Hello) -> set[bytes]:
        if not self.world.keeps(Rule.QUARANTINE_WAITS_FOR_MANIFEST):
            return set()
        database = self.transaction.database
        waiting = {
            batch.manifest
            for batch, item in database.quarantine.items()
            if batch.key.controller == controller and item.reason == "unknown_manifest"
        }
        return {name for name in {hello.manifest_hash} | waiting if (controller, name) not in database.manifests}

    def _close_unnamed(self, controller: str, named: set[StreamKey]) -> None:
        """Close streams that their agent no longer has, and record what it had announced of them."""
        for key in self.transaction.visible_keys(controller):
            row = self.transaction.row(key)
            is_done = row.is_closed and not (row.spoken_of and self.world.keeps(Rule.CLOSED_ANEW))
            if key not in named and not is_done:
                self.transaction.put_row(key, replace(row, is_closed=True, spoken_of=False))
                self.transaction.forget_never_arrived(key)
                self._record_never_arrived(key, row.announced_next)

    def _record_never_arrived(self, key: StreamKey, announced_next: int, next_named: int = 1) -> None:
        row = self.transaction.row(key)
        gone = contract.never_arrived(_ranges(row), announced_next, next_named)
        if self.world.keeps(Rule.NEVER_ARRIVED_IS_RECORDED):
            for place in places(key, gone):
                self.transaction.add_gap_record(place, GapReason.NEVER_ARRIVED)
        if gone and not self.world.keeps(Rule.NEVER_ARRIVED_IS_NOT_ACKNOWLEDGED):
            self.transaction.put_row(key, replace(row, gaps=row.gaps | gone))

    def _put_ranges(self, key: StreamKey, ranges: contract.StreamRanges) -> None:
        row = self.transaction.row(key)
        self.transaction.put_row(
            key, replace(row, committed=ranges.committed, gaps=ranges.gaps, quarantined=ranges.quarantined)
        )

    # Answers

    def acks(self, incarnation: int, timeline: int, era: int) -> list[AckTo]:
        """Say what the transaction leaves behind, to each controller that it concerns."""
        return [
            AckTo(controller, ack, timeline, era)
            for controller, answer in self.answers.items()
            for ack in self._acks_for(answer, incarnation)
        ]

    def _acks_for(self, answer: Answer, incarnation: int) -> list[Ack]:
        """Answer batches with the ranges that they touch, a hello with all that its agent may ask about."""
        acks = []
        if answer.touched or answer.wanted:
            states = tuple(self._touched_state(key, numbers) for key, numbers in answer.touched.items())
            acks.append(Ack(incarnation, states, wanted_manifests=tuple(sorted(answer.wanted))))
        if answer.nonce:
            states = tuple(self._state(key) for key in answer.named)
            wanted = tuple(sorted(answer.wanted))
            acks.append(Ack(incarnation, states, answers_hello=answer.nonce, wanted_manifests=wanted))
        return acks

    def _touched_state(self, key: StreamKey, these: RangeSet) -> StreamState:
        row = self.transaction.row(key)
        committed, safe, quarantined = (
            contract.clip(contract.touching(known, these), row.lowest_held) | (known & these)
            for known in (row.settled, row.safe, row.quarantined)
        )
        return StreamState(key.stream_id, committed, safe, quarantined)

    def _state(self, key: StreamKey) -> StreamState:
        row, clip = self.transaction.row(key), self.world.clip_ranges
        committed, safe, quarantined = (
            clip(contract.clip(known, row.lowest_held)) for known in (row.settled, row.safe, row.quarantined)
        )
        return StreamState(key.stream_id, committed, safe, quarantined)


def _ranges(row: StreamRow) -> contract.StreamRanges:
    return contract.StreamRanges(row.committed, row.gaps, row.quarantined)
