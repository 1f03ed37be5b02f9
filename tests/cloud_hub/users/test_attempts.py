"""Guessing gets slow for all processes together, by account and by address, and never for ever."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.users.attempts import (
    FIRST_WAIT_S,
    FREE_ATTEMPTS,
    FREE_ATTEMPTS_OF_ADDRESS,
    LONGEST_WAIT_S,
    by_account,
    by_address,
    by_code,
    forgive,
    take,
)

ANN = by_account("ann@example.org")


def pass_time(session: Session, seconds: float) -> None:
    """Let all failures be so much older."""
    session.execute(text("UPDATE login_attempts SET last_at = last_at - make_interval(secs => :s)"), {"s": seconds})
    session.commit()


def test_a_few_slips_cost_nothing_and_each_further_one_doubles_the_wait(session: Session) -> None:
    assert [take(session, ANN) for _ in range(FREE_ATTEMPTS)] == [0.0] * FREE_ATTEMPTS
    waits = []
    for _ in range(12):
        waits.append(round(take(session, ANN)))
        pass_time(session, waits[-1])
        assert take(session, ANN) == 0.0
    assert waits == [min(FIRST_WAIT_S * 2**number, LONGEST_WAIT_S) for number in range(12)]


def test_an_attempt_that_must_wait_does_not_lengthen_the_wait(session: Session) -> None:
    for _ in range(FREE_ATTEMPTS + 50):
        take(session, ANN)
    pass_time(session, FIRST_WAIT_S)
    assert take(session, ANN) == 0.0


def test_long_quiet_is_forgiven(session: Session) -> None:
    for _ in range(FREE_ATTEMPTS):
        take(session, ANN)
    pass_time(session, 2 * LONGEST_WAIT_S + 1)
    assert [take(session, ANN) for _ in range(FREE_ATTEMPTS)] == [0.0] * FREE_ATTEMPTS
    assert take(session, ANN) > 0


def test_success_forgets_the_account_and_spares_the_address_one_attempt(session: Session) -> None:
    office = by_address("192.0.2.7")
    for _ in range(FREE_ATTEMPTS_OF_ADDRESS):
        take(session, office)
    for _ in range(FREE_ATTEMPTS):
        take(session, ANN)
    forgive(session, succeeded=[ANN], spared=[office])
    assert take(session, ANN, office) == 0.0
    assert take(session, office) > 0


def test_an_address_that_waits_costs_the_account_nothing(session: Session) -> None:
    office = by_address("192.0.2.7")
    for _ in range(FREE_ATTEMPTS_OF_ADDRESS + FREE_ATTEMPTS):
        take(session, ANN, office)
        forgive(session, succeeded=[ANN])
    assert take(session, ANN, office) > 0
    assert session.scalar(text("SELECT count(*) FROM login_attempts WHERE key LIKE 'account:%'")) == 0


def test_many_at_once_get_no_more_attempts_than_one_after_another(web_engine: Engine) -> None:
    def attempt(_: int) -> float:
        with Session(web_engine) as session:
            return take(session, ANN)

    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(attempt, range(30)))
    assert waits.count(0.0) == FREE_ATTEMPTS


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("unknown", "unknown", True),
    ],
)
def test_who_owns_many_addresses_counts_as_one(one: str, other: str, *, alike: bool) -> None:
    assert (by_address(one) == by_address(other)) is alike


def test_what_was_typed_is_not_kept(session: Session) -> None:
    take(session, by_account("a password in the wrong field"), by_code(7))
    keys = session.scalars(text("SELECT key FROM login_attempts")).all()
    assert len(keys) == 2
    assert not any("password" in key for key in keys)
