"""Who sends too many requests is told to wait, whichever process they come to, and nobody else is."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from browsing import counted_queries, log_in
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from token_factories import ask_for_login, bearer

from cloud_hub.app import create_app
from cloud_hub.db import create_engine
from cloud_hub.settings import RateLimits
from cloud_hub.tenancy.roles import Role
from cloud_hub.web.rate_limits import LIMITS, address_key, forget_full_buckets, take

_SITES = "/api/v1/sites"


@pytest.fixture
def own_web_engine(module_database_url: str) -> Iterator[Engine]:
    """Connect as the web does to the database of this module, in which nobody has sent anything yet."""
    engine = create_engine(module_database_url, role=Role.WEB)
    yield engine
    engine.dispose()
    owner = create_engine(module_database_url)
    with owner.begin() as connection:
        connection.execute(text("TRUNCATE rate_limits"))
    owner.dispose()


@pytest.fixture
def web(own_web_engine: Engine) -> Engine:
    """Return the engine that buckets are kept with: each statement is committed by itself."""
    return own_web_engine.execution_options(isolation_level="AUTOCOMMIT")


@pytest.fixture
def limited(own_web_engine: Engine) -> Flask:
    """Build an application that answers little."""
    app = create_app(b"k" * 32, own_web_engine)
    app.config[LIMITS] = RateLimits(per_identity=5, per_address=3, logins_per_address=2)
    return app


def _go_back(engine: Engine, by: timedelta) -> None:
    """Let time pass for all buckets."""
    with engine.connect() as connection:
        connection.execute(text("UPDATE rate_limits SET at = at - CAST(:by AS interval)"), {"by": by})


def test_a_minutes_requests_are_answered_and_not_one_more(web: Engine) -> None:
    verdicts = [take(web, "test", "kim", 3) for _ in range(5)]
    assert [verdict.is_allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [int(verdict.tokens) for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert 15 <= verdicts[-1].retry_after_s <= 20
    assert 55 <= verdicts[-1].full_after_s <= 60


def test_a_bucket_fills_up_evenly_and_no_further_than_its_rim(web: Engine) -> None:
    for _ in range(3):
        take(web, "test", "kim", 3)
    _go_back(web, timedelta(seconds=20))
    assert [take(web, "test", "kim", 3).is_allowed for _ in range(2)] == [True, False]
    _go_back(web, timedelta(days=1))
    assert [take(web, "test", "kim", 3).is_allowed for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_takes_nothing_away(web: Engine) -> None:
    take(web, "test", "kim", 3)
    _go_back(web, timedelta(seconds=-40))
    assert [take(web, "test", "kim", 3).is_allowed for _ in range(3)] == [True, True, False]


def test_each_has_a_bucket_of_their_own(web: Engine) -> None:
    take(web, "test", "kim", 1)
    assert not take(web, "test", "kim", 1).is_allowed
    assert take(web, "test", "sam", 1).is_allowed
    assert take(web, "other", "kim", 1).is_allowed


def test_of_many_at_once_exactly_as_many_are_answered_as_may_be(web: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda _: take(web, "test", "kim", 20), range(60)))
    # While they run, a token may come back every three seconds.
    assert 20 <= sum(verdict.is_allowed for verdict in verdicts) <= 23


def test_a_bucket_is_taken_from_in_one_statement(web: Engine) -> None:
    with counted_queries(web) as queries:
        take(web, "test", "kim", 3)
    assert len(queries) == 1


def test_full_buckets_are_forgotten(web: Engine, module_database_url: str) -> None:
    take(web, "test", "kim", 3)
    _go_back(web, timedelta(minutes=11))
    take(web, "test", "sam", 3)
    worker = create_engine(module_database_url, role=Role.WORK)
    forget_full_buckets(worker)
    worker.dispose()
    with web.connect() as connection:
        assert connection.execute(text("SELECT key FROM rate_limits")).scalars().all() == ["test:sam"]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_stands_for_its_household(address: str | None, key: str) -> None:
    assert address_key(address) == key


def test_strangers_are_counted_by_their_address(limited: Flask) -> None:
    client = limited.test_client()
    assert [client.get(_SITES).status_code for _ in range(4)] == [401, 401, 401, 429]
    elsewhere = client.get(_SITES, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 401


def test_the_answer_says_how_much_is_left_and_how_long_to_wait(limited: Flask) -> None:
    client = limited.test_client()
    first = client.get(_SITES)
    assert first.headers["RateLimit-Policy"] == '"address";q=3;w=60'
    assert first.headers["RateLimit"].startswith('"address";r=2;t=')
    client.get(_SITES)
    client.get(_SITES)
    refused = client.get(_SITES)
    assert refused.content_type == "application/problem+json"
    assert refused.headers["RateLimit"].startswith('"address";r=0;t=')
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert refused.headers["Retry-After"] in refused.get_json()["detail"]


def test_two_processes_count_together(limited: Flask, own_web_engine: Engine) -> None:
    other = create_app(b"k" * 32, own_web_engine)
    other.config[LIMITS] = limited.config[LIMITS]
    clients = [limited.test_client(), other.test_client()] * 2
    assert [client.get(_SITES).status_code for client in clients] == [401, 401, 401, 429]


def test_who_tries_tokens_is_counted_though_nobody_is_let_in(limited: Flask) -> None:
    client = limited.test_client()
    answers = [client.get(_SITES, headers=bearer(f"mh_{number:012x}_" + "x" * 43)) for number in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


def test_logins_are_counted_strictly_by_page_and_by_app(limited: Flask) -> None:
    client = limited.test_client()
    assert ask_for_login(client).status_code == 401
    assert client.post("/forgot").status_code != 429
    refused = ask_for_login(client)
    assert refused.status_code == 429
    assert refused.headers["RateLimit-Policy"] == '"login";q=2;w=60'
    page = client.post("/login")
    assert page.status_code == 429
    assert page.content_type.startswith("text/html")


def test_health_and_pictures_cost_nothing(limited: Flask) -> None:
    client = limited.test_client()
    for _ in range(4):
        assert client.get("/health/live").status_code == 200
        with client.get("/static/meterhaul.css") as style:
            assert style.status_code == 200
    assert client.get(_SITES).status_code == 401


def test_nought_sets_no_limit(limited: Flask) -> None:
    limited.config[LIMITS] = RateLimits(per_identity=0, per_address=0, logins_per_address=0)
    client = limited.test_client()
    assert {client.get(_SITES).status_code for _ in range(4)} == {401}
    assert "RateLimit" not in client.get(_SITES).headers


def test_who_is_logged_in_is_counted_wherever_they_come_from(client: FlaskClient, app: Flask) -> None:
    app.config[LIMITS] = RateLimits(per_identity=3, per_address=1, logins_per_address=0)
    other = app.test_client()
    assert log_in(other).status_code in {303, 429}
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
    answers = [client.get(_SITES, environ_overrides={"REMOTE_ADDR": address}) for address in addresses]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["RateLimit-Policy"] == '"identity";q=3;w=60'


def test_a_request_that_fails_has_been_sent_all_the_same(client: FlaskClient, app: Flask) -> None:
    app.config[LIMITS] = RateLimits(per_identity=2)
    paths = ["/api/v1/meters/1", "/api/v1/sites/nowhere", _SITES]
    assert [client.get(path).status_code for path in paths] == [404, 404, 429]
