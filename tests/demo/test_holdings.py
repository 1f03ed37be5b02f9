"""The account reads what the hub holds, wherever it keeps it."""

from datetime import UTC, datetime, timedelta

from ingest_factories import START_MS, commit, make_entries, make_payload, register
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.work.compaction import compact
from demo.holdings import read_hub
from demo.stack import CONTROLLER


def test_a_day_that_was_closed_is_read_like_an_open_one(engine: Engine) -> None:
    register(engine, controller_id=CONTROLLER)
    commit(engine, make_payload(make_entries(1, 50)), controller_id=CONTROLLER)
    with Session(engine) as session:
        before = list(read_hub(session))
    assert len(before) == 50
    later = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(days=10)
    assert compact(engine, later).scans == 50
    with Session(engine) as session:
        assert list(read_hub(session)) == before


def test_what_another_controller_delivered_is_not_the_demos(engine: Engine) -> None:
    register(engine)
    commit(engine, make_payload(make_entries(1, 5)))
    with Session(engine) as session:
        assert list(read_hub(session)) == []
