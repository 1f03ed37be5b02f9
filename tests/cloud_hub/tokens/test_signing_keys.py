"""Signing keys are made in time, overlap, and lie sealed in the database."""

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.db import create_engine
from cloud_hub.tokens.models import SigningKey
from cloud_hub.tokens.signing_keys import (
    KEPT_AFTER,
    SIGNS_FOR,
    TOLD_BEFORE,
    find_public_key,
    public_keys,
    retire_keys,
    revoke_keys,
    signing_key,
)

_SECRET = b"k" * 32
_NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def session(module_database_url: str) -> Iterator[Session]:
    """Open a session on the database of this module; nothing is committed."""
    engine = create_engine(module_database_url)
    with Session(engine) as session:
        yield session
    engine.dispose()


def _kids(session: Session, now: datetime) -> list[str | None]:
    return [key.kid for key in public_keys(session, now).keys]


def test_one_key_signs_for_weeks(session: Session) -> None:
    first = signing_key(session, _SECRET, _NOW)
    later = signing_key(session, _SECRET, _NOW + SIGNS_FOR - TOLD_BEFORE - timedelta(seconds=1))
    assert first.kid == later.kid
    assert first.as_dict(private=True)["d"] == later.as_dict(private=True)["d"]
    assert _kids(session, _NOW) == [first.kid]


def test_the_next_key_is_told_before_it_signs_and_the_old_one_kept_after(session: Session) -> None:
    first = signing_key(session, _SECRET, _NOW)
    due = _NOW + SIGNS_FOR - TOLD_BEFORE
    assert signing_key(session, _SECRET, due).kid == first.kid
    told = _kids(session, due)
    assert (len(told), told[0]) == (2, first.kid)
    assert signing_key(session, _SECRET, due + timedelta(hours=1)).kid == first.kid
    assert _kids(session, due + timedelta(hours=1)) == told
    second = signing_key(session, _SECRET, _NOW + SIGNS_FOR)
    assert second.kid == told[1]
    end = _NOW + SIGNS_FOR + KEPT_AFTER
    assert first.kid is not None
    assert find_public_key(session, first.kid, end - timedelta(seconds=1)) is not None
    assert find_public_key(session, first.kid, end) is None
    assert first.kid not in _kids(session, end)


def test_a_hub_that_slept_for_long_makes_a_key_at_once(session: Session) -> None:
    first = signing_key(session, _SECRET, _NOW)
    second = signing_key(session, _SECRET, _NOW + 3 * SIGNS_FOR)
    assert second.kid != first.kid


def test_many_who_begin_at_once_make_one_key(session: Session) -> None:
    engine = session.get_bind()

    def begin(_: int) -> str | None:
        with Session(engine) as own:
            key = signing_key(own, _SECRET, _NOW)
            own.commit()
            return key.kid

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(begin, range(8)))) == 1
    assert revoke_keys(session) == 1
    session.commit()


def test_the_database_alone_does_not_tell_a_key(session: Session) -> None:
    key = signing_key(session, _SECRET, _NOW)
    row = session.scalars(select(SigningKey)).one()
    raw = urlsafe_b64decode(str(key.as_dict(private=True)["d"]) + "=")
    assert len(raw) == 32
    assert raw not in bytes(row.sealed_key)
    assert signing_key(session, b"x" * 32, _NOW).kid != key.kid  # it cannot be opened, so another is made


def test_a_sealed_key_does_not_open_under_another_name(session: Session) -> None:
    key = signing_key(session, _SECRET, _NOW)
    row = session.scalars(select(SigningKey)).one()
    session.add(
        SigningKey(
            kid="copy",
            public_key=row.public_key,
            sealed_key=row.sealed_key,
            signs_from=row.signs_from - timedelta(days=1),
            signs_until=row.signs_until,
        )
    )
    session.flush()
    assert signing_key(session, _SECRET, _NOW).kid == key.kid


def test_an_operator_may_change_the_key_before_its_time(session: Session) -> None:
    first = signing_key(session, _SECRET, _NOW)
    assert first.kid is not None
    signing_key(session, _SECRET, _NOW + SIGNS_FOR - TOLD_BEFORE)
    assert retire_keys(session, _NOW) == 1
    assert signing_key(session, _SECRET, _NOW).kid != first.kid
    assert find_public_key(session, first.kid, _NOW) is not None
    assert revoke_keys(session) == 2
    assert find_public_key(session, first.kid, _NOW) is None
