"""One ingest process of the hub: receive, judge under row locks, commit, acknowledge. It may die between any two."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contract_model.database import Transaction
from contract_model.judging import Judge, ProcessKilled
from contract_model.messages import AckTo, Batch, HelloFrom, StreamKey, Up
from contract_model.rules import Rule

if TYPE_CHECKING:
    from contract_model.world import World

GROUP = 3


@dataclass(frozen=True, slots=True)
class Replay:
    """The hub's own wish to put a quarantined batch through."""

    batch: Batch


class HubProcess:
    """Messages in hand, at most one transaction, and acks still to be said."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.inbox: list[Up | Replay] = []
        self.group: list[Up | Replay] = []
        """The part of the inbox that is judged: batches together, anything else alone."""
        self.counted = False
        self.judge: Judge | None = None
        self.outbox: list[AckTo] = []

    @property
    def idle(self) -> bool:
        """Say whether nothing is in hand."""
        return not self.inbox and not self.group and not self.outbox

    def work(self) -> None:
        """Take the next step."""
        if self.outbox:
            self.world.broker.publish_down(self.outbox.pop(0), self.world.now)
        elif self.judge:
            self.commit()
        elif self.group:
            self.begin()
        elif self.inbox:
            self._choose_group()
        else:
            self.receive()

    def receive(self) -> None:
        """Take some messages; the broker gets its acknowledgement after the commit."""
        for _ in range(self.world.rng.randint(1, GROUP)):
            message = self.world.broker.receive()
            if message is not None and message not in self.inbox:
                self.inbox.append(message)

    def _choose_group(self) -> None:
        alone = next((message for message in self.inbox if not isinstance(message, Batch | Replay)), None)
        self.group = [message for message in self.inbox if alone is None or message is alone]
        self.inbox = [message for message in self.inbox if message not in self.group]
        self.counted = False

    def begin(self) -> None:
        """Open a transaction, lock, and judge the group in it."""
        database = self.world.database
        if database.down:
            return
        if self.world.keeps(Rule.ROW_LOCK) and not database.lock(self._lock_keys(), self):
            return
        self._count_attempts()
        judge = Judge(self.world, Transaction(database))
        try:
            for message in self.group:
                _judge(judge, message)
        except ProcessKilled:
            self.world.kill_hub(self)
            return
        self.judge = judge
        if not self.world.keeps(Rule.ACK_AFTER_COMMIT):
            self.outbox = judge.acks(judge.incarnation, database.timeline, database.era)

    def _count_attempts(self) -> None:
        """Count before parsing, once per receipt, outside the transaction."""
        if self.counted or not self.world.keeps(Rule.ATTEMPTS_COUNTED_FIRST):
            return
        self.counted = True
        attempts = self.world.database.attempts
        for message in self.group:
            if isinstance(message, Batch):
                attempts[message] = attempts.get(message, 0) + 1

    def _lock_keys(self) -> set[StreamKey]:
        keys: set[StreamKey] = set()
        for message in self.group:
            match message:
                case Batch():
                    keys.add(message.key)
                case Replay():
                    keys.add(message.batch.key)
                case HelloFrom():
                    keys |= {StreamKey(message.controller, stream.stream_id) for stream in message.hello.streams}
                    keys |= {key for key in self.world.database.streams if key.controller == message.controller}
        return keys

    def commit(self) -> None:
        """Make the group durable, or give it up and try again when the database cannot."""
        judge, database = self.judge, self.world.database
        if judge is None:
            return
        self.judge = None
        if not database.down:
            self.world.commit(judge)
            for message in self.group:
                if isinstance(message, Batch):
                    database.attempts.pop(message, None)
            self.group = []
            if self.world.keeps(Rule.ACK_AFTER_COMMIT):
                self.outbox = judge.acks(judge.incarnation, database.timeline, database.era)
        database.release(self)

    def abort(self) -> None:
        """Lose the transaction: the database has gone away under it."""
        self.judge = None
        self.world.database.release(self)

    def die(self) -> list[Up]:
        """End without warning and name what the broker was not told about."""
        self.abort()
        unacknowledged = [message for message in self.group + self.inbox if not isinstance(message, Replay)]
        self.inbox, self.group, self.outbox = [], [], []
        return unacknowledged


def _judge(judge: Judge, message: Up | Replay) -> None:
    match message:
        case Batch():
            judge.judge_batch(message)
        case Replay():
            judge.judge_batch(message.batch, is_replay=True)
        case HelloFrom():
            judge.judge_hello(message)
        case _:
            judge.transaction.add_manifest(message.controller, message.manifest)
