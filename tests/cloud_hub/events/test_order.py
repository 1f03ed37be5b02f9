"""Events are told in an order in which nobody who reads on misses one."""

import select
from datetime import timedelta

import psycopg2
import pytest
from hub_factories import add_site
from sqlalchemy import Engine, make_url, text
from sqlalchemy.orm import Session

from cloud_hub.events.order import CHANNEL, KEPT, Notice, parse_notice, place_events, purge_events
from cloud_hub.events.service import publish


def tell(session: Session, kind: str, site_id: int | None = None) -> None:
    publish(session, 1, kind=kind, subject="meter:1", data={"n": 1}, site_id=site_id)


def place(engine: Engine) -> list[str]:
    with engine.begin() as connection:
        return [str(one.document["kind"]) for one in place_events(connection)]


def told_after(engine: Engine, position: int) -> list[tuple[int, str]]:
    query = text("SELECT position, kind FROM events WHERE position > :position ORDER BY position")
    with engine.connect() as connection:
        return [(row.position, row.kind) for row in connection.execute(query, {"position": position})]


def test_an_event_that_is_committed_late_is_told_after_those_that_were_read(engine: Engine) -> None:
    with Session(engine) as late, Session(engine) as early:
        tell(late, "late.made")  # has the lower id
        tell(early, "early.made")
        early.commit()
        assert place(engine) == ["early.made"]
        (read,) = told_after(engine, 0)
        late.commit()
    assert place(engine) == ["late.made"]
    assert [kind for _, kind in told_after(engine, read[0])] == ["late.made"]


def test_one_at_a_time_gives_places(engine: Engine) -> None:
    with Session(engine) as session:
        tell(session, "first.made")
        session.commit()
    with engine.begin() as first:
        assert len(place_events(first)) == 1
        with Session(engine) as session:
            tell(session, "second.made")
            session.commit()
        assert place(engine) == []  # the first has not committed: its reader must not be overtaken
    assert place(engine) == ["second.made"]
    assert [kind for _, kind in told_after(engine, 0)] == ["first.made", "second.made"]


def test_an_event_that_was_rolled_back_is_never_told(engine: Engine) -> None:
    with Session(engine) as session:
        tell(session, "meter.made")
        session.rollback()
    assert place(engine) == []


def test_places_are_told_to_listeners_with_whose_they_are(engine: Engine, session: Session) -> None:
    site = add_site(session)
    tell(session, "meter.made", site.id)
    session.commit()
    listener = psycopg2.connect(make_url(engine.url).set(drivername="postgresql").render_as_string(hide_password=False))
    listener.autocommit = True
    try:
        with listener.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        place(engine)
        assert select.select([listener], [], [], 30)[0]
        listener.poll()
        assert [parse_notice(one.payload) for one in listener.notifies] == [
            Notice(organisations=frozenset({1}), sites=frozenset({site.id}))
        ]
    finally:
        listener.close()


@pytest.mark.parametrize("notice", [Notice(frozenset({1, 2}), frozenset({3})), Notice(), Notice(is_for_all=True)])
def test_a_notice_is_read_as_it_was_written(notice: Notice) -> None:
    assert parse_notice(notice.payload()) == notice


def test_a_notice_too_long_for_the_database_is_for_all() -> None:
    assert parse_notice(Notice(frozenset(range(10_000))).payload()).is_for_all


def test_old_events_go_and_those_not_yet_told_stay(engine: Engine, session: Session) -> None:
    for kind in ("old.told", "new.told"):
        tell(session, kind)
    session.commit()
    place(engine)
    tell(session, "old.waiting")
    session.execute(
        text("UPDATE events SET at = now() - CAST(:age AS interval) WHERE kind LIKE 'old.%'"),
        {"age": KEPT + timedelta(hours=1)},
    )
    session.commit()
    assert purge_events(engine) == 1
    assert session.scalars(text("SELECT kind FROM events ORDER BY id")).all() == ["new.told", "old.waiting"]
