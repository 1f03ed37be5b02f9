"""A worker that is killed between a message and its commit: the message comes once more, under the same id."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from webhook_factories import add_webhook, attempts, make_due, states, tell
from webhook_receiver import Receiver, receiving

from cloud_hub.webhooks.delivering import Courier
from cloud_hub.webhooks.fanning import fan_out
from demo.processes import Process, wait_until


@contextmanager
def working(database_url: str, receiver: Receiver, directory: Path, name: str) -> Iterator[Process]:
    process = Process(
        name,
        [sys.executable, "-m", "meterhaul.cli", "hub", "work"],
        log_file=directory / f"{name}.log",
        env={
            "METERHAUL_DATABASE_URL": database_url,
            "METERHAUL_WEBHOOK_HTTP": "yes",
            "METERHAUL_WEBHOOK_PORTS": str(receiver.port),
            "METERHAUL_WEBHOOK_NETWORKS": "127.0.0.0/8",
        },
    )
    process.start()
    try:
        yield process
    finally:
        process.stop()


def test_a_killed_worker_costs_one_repetition_at_most(
    database_url: str, engine: Engine, session: Session, tmp_path: Path
) -> None:
    with receiving() as receiver:
        # The worker dies after the second message has been taken and before its answer is.
        killed: list[int] = []

        def answer(_handler: object, _received: object) -> int:
            if len(receiver.received) == 2:
                os.kill(killed[0], signal.SIGKILL)
            return 204

        receiver.answer = answer
        add_webhook(session, receiver.url)
        tell(session, "a.made", "b.made", "c.made")
        with working(database_url, receiver, tmp_path, "first") as first:
            killed.append(first.pid)
            assert first.wait(60) == -signal.SIGKILL
        assert len(receiver.ids) == 2
        assert states(session) == ["delivered", "waiting", "waiting"]

        with working(database_url, receiver, tmp_path, "second"), engine.connect() as connection:
            make_due(session)  # as if the lease of the dead one were over

            def is_done() -> bool:
                left = connection.scalar(text("SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'"))
                connection.rollback()
                return bool(left == 0)

            wait_until(is_done, 60, "all messages to arrive")
    assert len(receiver.ids) == 4
    assert receiver.ids[1] == receiver.ids[2]
    assert len(set(receiver.ids)) == 3
    assert receiver.received[1].body == receiver.received[2].body
    assert states(session) == ["delivered"] * 3
    assert len(attempts(session)) == 3  # what the dead one did, nobody could write down
    assert session.scalars(text("SELECT attempts FROM webhook_deliveries ORDER BY id")).all() == [1, 2, 1]


def test_while_a_lease_lasts_nobody_repeats_what_a_dead_worker_may_have_sent(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        add_webhook(session, receiver.url)
        tell(session)
        fan_out(engine)
        session.execute(text("UPDATE webhooks SET leased_until = now() + interval '1 minute'"))
        session.commit()
        assert not Courier(engine, receiver.gate()).deliver_some()
        make_due(session)
        assert Courier(engine, receiver.gate()).deliver_some()
    assert len(receiver.received) == 1
