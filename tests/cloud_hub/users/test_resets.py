"""A forgotten password is set anew by a letter; who asks learns nothing of who has an account."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from account_factories import code_of, give_authenticator, make_person, submit
from browsing import EMAIL, PASSWORD, counted_queries, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.users.resets import answer_requests
from cloud_hub.users.service import create_admin

NEW = "an altogether new secret"


def letters(session: Session) -> list[tuple[str, str]]:
    rows = session.execute(text("SELECT recipient, body FROM mail_outbox ORDER BY id")).all()
    session.rollback()
    return [(row.recipient, row.body) for row in rows]


def link_of(engine: Engine, session: Session, browser: FlaskClient, email: str = EMAIL) -> str:
    """Ask for a letter and return the path of its link."""
    assert submit(browser, "/forgot", email=email).status_code == 200
    answer_requests(engine, "https://hub.example")
    found = re.search(r"https://hub\.example(/reset/\S+)", letters(session)[-1][1])
    assert found is not None
    return found[1]


@pytest.fixture(autouse=True)
def _ann(session: Session) -> None:
    create_admin(session, EMAIL, PASSWORD)
    session.commit()


def test_the_link_sets_a_new_password_once_and_ends_all_logins(
    engine: Engine, session: Session, app: Flask, stranger: FlaskClient
) -> None:
    log_in(client := app.test_client())
    link = link_of(engine, session, stranger)
    assert "Set a new password" in stranger.get(link).text
    assert submit(stranger, link, password="short").status_code == 422
    assert submit(stranger, link, password=NEW).location == "/login?notice=password"
    assert client.get("/").status_code == 302
    assert log_in(stranger).status_code == 401
    assert log_in(stranger, password=NEW).status_code == 303
    assert stranger.get(link).status_code == 404
    assert submit(stranger, link, password="yet another secret").status_code == 404
    assert "your password was changed" in letters(session)[-1][1].lower()


def test_who_asks_learns_nothing_and_causes_the_same_work(
    engine: Engine, web_engine: Engine, session: Session, stranger: FlaskClient
) -> None:
    answers, works = [], []
    for email in (EMAIL, "nobody@example.org"):
        with counted_queries(web_engine) as statements:
            answers.append(submit(stranger, "/forgot", email=email))
        works.append([re.sub(r"\s+", " ", statement) for statement in statements])
    assert answers[0].status_code == answers[1].status_code == 200
    assert answers[0].data == answers[1].data
    assert works[0] == works[1]
    assert letters(session) == []
    assert answer_requests(engine, "https://hub.example") == 2
    assert [recipient for recipient, _ in letters(session)] == [EMAIL]
    assert answer_requests(engine, "https://hub.example") == 0


def test_a_link_is_kept_as_a_hash_ends_in_time_and_gives_way_to_the_next(
    engine: Engine, session: Session, stranger: FlaskClient
) -> None:
    first = link_of(engine, session, stranger)
    assert first.rpartition("/")[2] not in str(session.execute(text("SELECT * FROM password_resets")).all())
    second = link_of(engine, session, stranger)
    assert stranger.get(first).status_code == 404
    assert stranger.get(second).status_code == 200
    session.execute(text("UPDATE password_resets SET ends_at = now()"))
    session.commit()
    assert submit(stranger, second, password=NEW).status_code == 404
    assert log_in(stranger).status_code == 303


def test_of_many_who_use_a_link_at_once_one_sets_the_password(
    engine: Engine, session: Session, app: Flask, stranger: FlaskClient
) -> None:
    link = link_of(engine, session, stranger)
    browsers = [app.test_client() for _ in range(4)]

    def use(number: int) -> int:
        return submit(browsers[number], link, password=f"{NEW} {number}").status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(use, range(4)))
    assert sorted(statuses) == [303, 404, 404, 404]
    assert log_in(stranger, password=f"{NEW} {statuses.index(303)}").status_code == 303


def test_a_new_password_does_not_do_away_with_the_code(
    engine: Engine, session: Session, app: Flask, stranger: FlaskClient
) -> None:
    authenticator = give_authenticator(app, session, EMAIL)
    submit(stranger, link_of(engine, session, stranger), password=NEW)
    assert log_in(stranger, password=NEW).location.startswith("/login/code")
    assert submit(stranger, "/login/code", code=code_of(authenticator)).status_code == 303


def test_without_a_public_address_a_letter_names_no_host_that_somebody_made_up(
    engine: Engine, session: Session, stranger: FlaskClient
) -> None:
    submit(stranger, "/forgot", email=EMAIL)
    answer_requests(engine, "")
    body = letters(session)[-1][1]
    assert "http" not in body
    assert re.search(r"^/reset/\S+$", body, re.MULTILINE)


def test_an_account_without_a_password_gets_a_letter_without_a_link(
    engine: Engine, session: Session, stranger: FlaskClient
) -> None:
    make_person(session, "bob@example.org", password=None)
    submit(stranger, "/forgot", email="bob@example.org")
    answer_requests(engine, "https://hub.example")
    assert "reset" not in letters(session)[-1][1]


def test_letters_cannot_be_asked_for_without_end(stranger: FlaskClient) -> None:
    statuses = [submit(stranger, "/forgot", email="nobody@example.org").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_tokens_cannot_be_tried_without_end(stranger: FlaskClient) -> None:
    statuses = [submit(stranger, f"/reset/{number}", password=NEW).status_code for number in range(21)]
    assert statuses == [404] * 20 + [429]
