"""The ingest process: MQTT in, groups into the database, acknowledgements out.

Three threads, and why: paho's only queues (an exception there would kill it silently); one counts
attempts and decodes the next group, while the main one waits for the database.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
import tenacity
from sqlalchemy import Engine

from cloud_hub.errors import HubError
from cloud_hub.ingest import greeting
from cloud_hub.ingest.acks import encode_acks
from cloud_hub.ingest.broker import BrokerConnection, Incoming
from cloud_hub.ingest.committer import commit_group
from cloud_hub.ingest.faults import DatabaseError, is_transient, reason_of
from cloud_hub.ingest.prepare import (
    ATTEMPTS_MAX,
    PreparedBatch,
    ReceivedBatch,
    begin_another_attempt,
    begin_attempts,
    prepare,
    put_aside,
)
from cloud_hub.ingest.quarantine import replay_waiting
from cloud_hub.ingest.replies import note_reply
from protocol.control import decode_reply
from protocol.messages import Ack, decode_health, decode_hello, decode_status
from protocol.topics import Up

GROUP_MESSAGES_MAX = 64
GROUP_BYTES_MAX = 1024 * 1024
_POLL_S = 0.2
_JOIN_S = 2.0
_BACKOFF_MAX_S = 10.0


Result = TypeVar("Result")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Step:
    """What is done in one transaction: batches, or one message of another kind."""

    messages: list[Incoming]
    batches: list[PreparedBatch]


class Consumer:
    """Takes what the broker delivers and commits it, until it is stopped."""

    def __init__(
        self,
        engine: Engine,
        connection: BrokerConnection,
        stopping: threading.Event,
        tell: Callable[[frozenset[int]], None] = lambda _meter_ids: None,
    ) -> None:
        """Wire the parts; nothing runs yet. `tell` hears of which meters something newer was committed; it is quick."""
        self._engine = engine
        self._tell = tell
        self._connection = connection
        self._stopping = stopping
        # One place: the next group is decoded while this one is committed, and no further ahead.
        self._steps: queue.Queue[_Step] = queue.Queue(maxsize=1)

    def run(self) -> None:
        """Work until `stopping` is set.

        Raises: BrokerRefused when the broker does not let us in at the start.
        """
        preparing = threading.Thread(target=self._prepare_groups, name="prepare", daemon=True)
        with self._connection:
            preparing.start()
            try:
                self._commit_steps()
            finally:
                self._stopping.set()
                # It may hang in a statement; what it holds is committed by nobody, so it is safe to leave it.
                preparing.join(timeout=_JOIN_S)

    def _prepare_groups(self) -> None:
        while not self._stopping.is_set():
            messages = take_group(self._connection.inbox)
            try:
                for step in self._steps_of(messages):
                    self._hand_over(step)
            except Exception:
                if self._stopping.is_set():
                    return
                log.exception("ingest_prepare_failed", messages=len(messages))
                self._connection.settle(messages)

    def _commit_steps(self) -> None:
        while not self._stopping.is_set():
            self._connection.check()
            try:
                step = self._steps.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            try:
                self._patiently(partial(self._commit, step))
            except Exception:
                if self._stopping.is_set():
                    return
                # Our own fault. Only the broker's window is freed: without an acknowledgement from us
                # the agents send these messages again.
                log.exception("ingest_commit_failed", messages=len(step.messages))
                self._connection.settle(step.messages)

    def _steps_of(self, messages: list[Incoming]) -> Iterator[_Step]:
        """Order and decode a group: manifests before their batches, answers to a hello after them."""
        yield from (_Step([one], []) for one in messages if one.kind is Up.MANIFEST)
        yield from self._batch_steps([one for one in messages if one.kind is Up.BATCH])
        yield from (_Step([one], []) for one in messages if one.kind not in {Up.MANIFEST, Up.BATCH})

    def _batch_steps(self, messages: list[Incoming]) -> Iterator[_Step]:
        """Decode batches, together; one that was begun before and never finished takes no other with it."""
        if not messages:
            return
        batches = [ReceivedBatch.of(one.controller_id, one.payload) for one in messages]
        fresh = self._patiently(partial(begin_attempts, self._engine, batches))
        pairs = list(zip(messages, batches, strict=True))
        together = [(message, prepare(batch)) for message, batch in pairs if batch.digest in fresh]
        if together:
            yield _Step([message for message, _ in together], [batch for _, batch in together])
        for message, batch in pairs:
            if batch.digest not in fresh:
                attempt = self._patiently(partial(begin_another_attempt, self._engine, batch))
                prepared = prepare(batch) if attempt < ATTEMPTS_MAX else put_aside(batch, attempt)
                yield _Step([message], [prepared])

    def _hand_over(self, step: _Step) -> None:
        while not self._stopping.is_set():
            try:
                self._steps.put(step, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _commit(self, step: _Step) -> None:
        """Store, then acknowledge: to the agents first, so that the broker's memory is the last to let go."""
        if step.batches:
            for committed in commit_group(self._engine, step.batches):
                self._say(committed.acks)
                self._tell(committed.advanced)
        else:
            self._say(hear(self._engine, step.messages[0]))
        self._connection.settle(step.messages)

    def _say(self, acks: Mapping[str, Ack]) -> None:
        for controller_id, ack in acks.items():
            for payload in encode_acks(ack):
                self._connection.acknowledge(controller_id, payload)

    def _patiently(self, deed: Callable[[], Result]) -> Result:
        """Do it, and do it again for as long as the database is to blame and we are not asked to stop."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_transient),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=_BACKOFF_MAX_S),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._stopping),
            before_sleep=_report_retry,
            reraise=True,
        )(deed)


def take_group(inbox: queue.Queue[Incoming]) -> list[Incoming]:
    """Take what has come, up to the bounds of a group; wait a moment when there is nothing."""
    try:
        group = [inbox.get(timeout=_POLL_S)]
    except queue.Empty:
        return []
    size = len(group[0].payload)
    while len(group) < GROUP_MESSAGES_MAX and size < GROUP_BYTES_MAX:
        try:
            message = inbox.get_nowait()
        except queue.Empty:
            break
        group.append(message)
        size += len(message.payload)
    return group


def hear(engine: Engine, message: Incoming) -> Mapping[str, Ack]:
    """Take in a message that is no batch, and return what to answer; one that makes no sense is logged.

    Raises: the database's error when it is one that time can cure.
    """
    controller_id, payload = message.controller_id, message.payload
    try:
        match message.kind:
            case Up.HELLO:
                return {controller_id: greeting.answer_hello(engine, controller_id, decode_hello(payload))}
            case Up.MANIFEST:
                greeting.take_manifest(engine, controller_id, payload)
                return replay_waiting(engine, controller_id).acks
            case Up.STATUS:
                greeting.note_status(engine, controller_id, decode_status(payload))
            case Up.HEALTH:
                greeting.note_health(engine, controller_id, decode_health(payload))
            case Up.REPLY:
                note_reply(engine, controller_id, decode_reply(payload))
    except (ValueError, HubError, *DatabaseError) as error:
        if is_transient(error):
            raise
        log.warning("message_refused", controller_id=controller_id, kind=message.kind.value, error=reason_of(error))
    return {}


def _report_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("database_away", attempt=state.attempt_number, error=reason_of(error) if error else "")
