"""A creation that is asked for twice under one key happens once, and is answered twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from browsing import form_token, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from cloud_hub.idempotency.service import KEPT, purge
from cloud_hub.users.service import create_admin

BODY = {"slug": "day", "name": "Day", "currency": "EUR"}


@pytest.fixture
def create(client: FlaskClient) -> "Create":
    return Create(client)


class Create:
    """Creates tariffs as somebody who is logged in."""

    def __init__(self, client: FlaskClient) -> None:
        self.client, self.token = client, form_token(client)

    def __call__(self, key: str | None, **changes: object) -> TestResponse:
        headers = {"X-CSRF-Token": self.token} | ({} if key is None else {"Idempotency-Key": key})
        return self.client.post("/api/v1/tariffs", json=BODY | changes, headers=headers)


def count(engine: Engine, table: str = "tariffs") -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_a_repetition_answers_the_same_and_creates_nothing(create: Create, engine: Engine) -> None:
    first, second = create("key-1"), create("key-1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json == first.json
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert count(engine) == 1


def test_without_a_key_a_repetition_is_a_conflict(create: Create) -> None:
    assert create(None).status_code == 201
    assert create(None).status_code == 409


def test_a_key_that_stands_for_another_body_is_refused(create: Create, engine: Engine) -> None:
    create("key-1")
    answer = create("key-1", slug="night")
    assert answer.status_code == 422
    assert "was used for another request" in answer.get_json()["detail"]
    assert count(engine) == 1


def test_a_refused_creation_may_be_repeated_under_its_key(create: Create, engine: Engine) -> None:
    assert create("key-1", currency="nothing").status_code == 422
    assert count(engine, "idempotency_keys") == 0
    assert create("key-1").status_code == 201


def test_a_creation_that_fails_in_the_handler_leaves_no_key(create: Create, engine: Engine) -> None:
    create("key-1")
    assert create("key-2").status_code == 409
    assert count(engine, "idempotency_keys") == 1


def test_keys_of_two_people_do_not_meet(create: Create, app: Flask, session: Session, engine: Engine) -> None:
    create_admin(session, "bob@example.org", "correct horse battery")
    session.commit()
    other = app.test_client()
    log_in(other, email="bob@example.org", password="correct horse battery")
    create("key-1")
    answer = Create(other)("key-1", slug="night")
    assert answer.status_code == 201
    assert count(engine) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9"])
def test_a_key_that_is_none_is_refused(create: Create, key: str) -> None:
    assert create(key).status_code == 422


@pytest.mark.usefixtures("client")
def test_the_same_creation_at_the_same_moment_happens_once(app: Flask, engine: Engine) -> None:
    browsers = [app.test_client() for _ in range(4)]
    for browser in browsers:
        log_in(browser)
    creates = [Create(browser) for browser in browsers]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: one("key-1"), creates))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert count(engine) == 1


def test_what_shows_a_secret_is_created_once_and_its_answer_is_not_kept(create: Create, engine: Engine) -> None:
    body = {"name": "collector", "permissions": ["sites.read"]}
    headers = {"X-CSRF-Token": create.token, "Idempotency-Key": "key-1"}
    first, second = (create.client.post("/api/v1/me/tokens", json=body, headers=headers) for _ in range(2))
    assert first.status_code == 201, first.text
    assert second.status_code == 409
    assert "its secret was shown then" in second.get_json()["detail"]
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT answer, status FROM idempotency_keys")).all()
    assert [tuple(row) for row in kept] == [(None, 201)]
    assert count(engine, "tokens") == 1


def test_keys_are_forgotten_after_a_day(create: Create, engine: Engine) -> None:
    create("key-1")
    purge(engine)
    assert count(engine, "idempotency_keys") == 1
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE idempotency_keys SET created_at = now() - CAST(:age AS interval)"),
            {"age": KEPT + timedelta(minutes=1)},
        )
    purge(engine)
    assert count(engine, "idempotency_keys") == 0
