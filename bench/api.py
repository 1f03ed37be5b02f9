"""Requests a second of the API, and how long each takes, beside the same question asked bare through psycopg2.

Three questions: the newest values of a site, a month of half hours of a register, a list of 1,000 sites (in
pages of 500). They are asked of the hub's own web process, over HTTP, with an API token, under row-level security;
and of the same database by as many threads over psycopg2, with the answer as JSON and nothing else. Once with 10
organisations in the hub and once with 1,000: a tenant must not pay for the others.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg2
from figures import report
from hub_data import ServerPostgres, vacuum
from sqlalchemy import Engine, make_url, text
from sqlalchemy.orm import Session

from cloud_hub import db
from cloud_hub.access.actor import Actor, Grant
from cloud_hub.access.permissions import Permission
from cloud_hub.process import configure_logging
from cloud_hub.schema.upgrade import upgrade
from cloud_hub.tokens.service import create_token
from cloud_hub.users.service import create_admin
from demo.processes import Process, accepts_connections, free_port, wait_until

FEW, MANY = 10, 1_000
SITES = 1_000
"""Of the organisation that is asked about; each of the others has 10."""
THREADS = 4
RATIO_BAR = 1.3
"""At 1,000 organisations a question may take so much longer than at 10."""

_ORGANISATIONS = """
INSERT INTO organisations (id, slug, name, parent_id)
SELECT n, 'organisation-' || n, 'Organisation ' || n, 1 FROM generate_series({first}, {last}) n;
INSERT INTO sites (organisation_id, slug, name, time_zone)
SELECT n, 'site-' || s, 'Site ' || s, 'Europe/Berlin'
FROM generate_series({first}, {last}) n, generate_series(1, CASE WHEN n = 2 THEN {sites} ELSE 10 END) s;
INSERT INTO controllers (id, site_id)
SELECT 'controller-' || s.id, s.id FROM sites s WHERE s.organisation_id BETWEEN {first} AND {last};
INSERT INTO meters (controller_id, slug, site_id, profile, period_s)
SELECT 'controller-' || s.id, 'meter-' || m, s.id, 'eastron-sdm630', 60
FROM sites s, generate_series(1, 6) m WHERE s.organisation_id BETWEEN {first} AND {last};
INSERT INTO points (meter_id, name, quantity, unit, kind)
SELECT m.id, p.name, p.quantity, p.unit, p.kind
FROM meters m, (VALUES ('power_active', 'power_active', 'W', 'gauge'), ('voltage_l1_n', 'voltage', 'V', 'gauge'),
                       ('energy_active_import', 'energy_active_import', 'Wh', 'counter')) p (name, quantity, unit, kind)
WHERE m.organisation_id BETWEEN {first} AND {last};
INSERT INTO layouts (meter_id, point_ids)
SELECT p.meter_id, array_agg(p.id ORDER BY p.id) FROM points p JOIN meters m ON m.id = p.meter_id
WHERE m.organisation_id BETWEEN {first} AND {last} GROUP BY p.meter_id;
INSERT INTO scan_latest (layout_id, meter_id, observed_at, values)
SELECT l.id, l.meter_id, '2026-10-31T23:59:00Z', ARRAY[1234.5, 230.1, 5.5e6]
FROM layouts l JOIN meters m ON m.id = l.meter_id WHERE m.organisation_id BETWEEN {first} AND {last};
"""
_REGISTER = """
INSERT INTO registers (point_id, unit, scale, direction, is_total, recorded_by)
SELECT :point, 'kWh', 0.001, 'import', true, 'bench';
INSERT INTO ledger_days (start_at, end_at, point_id, total_micro, day, interval_s, calculation, completeness,
                         amounts_micro, qualities, completenesses, known_at)
SELECT day, day + interval '1 day', :point, 0, (day + interval '2 hours')::date, 1800, 1, 1000,
       ARRAY(SELECT (random() * 1e9 + n)::int8 FROM generate_series(1, 48) n),
       array_fill(0::int2, ARRAY[48]), array_fill(1000::int2, ARRAY[48]), array_fill(day, ARRAY[48])
FROM generate_series(timestamptz '2026-09-30T22:00:00Z', timestamptz '2026-10-30T22:00:00Z', interval '1 day') AS day;
"""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that is asked, both ways."""

    name: str
    paths: tuple[str, ...]
    """What one answer takes over HTTP; a list goes on from its cursor."""
    sql: str
    bound: dict[str, object]
    about: str


def main() -> int:
    """Measure at both sizes, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement [%(default)s]")
    seconds = parser.parse_args().seconds
    configure_logging()
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user and must get through
        with ServerPostgres(directory / "postgres", durable=False) as postgres:
            url = postgres.create_database("api")
            upgrade(url)
            engine = db.create_engine(url)
            add_organisations(engine, 2, FEW)
            token, point_id = prepare(engine)
            questions = make_questions(engine, point_id)
            few = measure(url, directory, token, questions, seconds)
            add_organisations(engine, FEW + 1, MANY)
            many = measure(url, directory, token, questions, seconds)
            engine.dispose()
    return 0 if report_all(questions, few, many) else 1


def report_all(questions: list[Question], few: dict[str, "Pair"], many: dict[str, "Pair"]) -> bool:
    """Print the figures."""
    holds = True
    for question in questions:
        for count, found in ((FEW, few[question.name]), (MANY, many[question.name])):
            told = f"{found.bare.per_s:.0f}/s bare through psycopg2, {THREADS} threads each; {question.about}"
            report(f"api_requests_per_s_{question.name}_{count}_organisations", found.api.per_s, "1/s", against=told)
            for share in (50, 99):
                report(
                    f"api_latency_ms_p{share}_{question.name}_{count}_organisations",
                    found.api.quantile_ms(share),
                    "ms",
                    against=f"{found.bare.quantile_ms(share):.2f} ms bare",
                )
            report(
                f"api_share_of_bare_{question.name}_{count}_organisations",
                found.api.per_s / found.bare.per_s,
                "ratio",
                against="the same query bare through psycopg2",
            )
        before, after = few[question.name].api.quantile_ms(50), many[question.name].api.quantile_ms(50)
        holds &= report(
            f"api_ratio_{MANY}_to_{FEW}_organisations_{question.name}",
            after / before,
            "ratio",
            against=f"{before:.1f} ms at {FEW}, {after:.1f} ms at {MANY}, the median",
            at_most=RATIO_BAR,
        )
    return holds


def add_organisations(engine: Engine, first: int, last: int) -> None:
    """Add organisations with their sites, meters and newest values; number 2 is the one that is asked about."""
    with engine.begin() as connection:
        connection.execute(text(_ORGANISATIONS.format(first=first, last=last, sites=SITES)))
        connection.execute(
            text("SELECT setval(pg_get_serial_sequence('organisations', 'id'), (SELECT max(id) FROM organisations))")
        )
    for table in ("organisations", "sites", "controllers", "meters", "points", "layouts", "scan_latest"):
        vacuum(engine, table)


def prepare(engine: Engine) -> tuple[str, int]:
    """Give one register a month of half hours, and somebody of that organisation a token."""
    with Session(engine) as session, session.begin():
        user = create_admin(session, "bench@example.org", "a password for the benchmark")
        session.execute(text("UPDATE memberships SET organisation_id = 2 WHERE user_id = :id"), {"id": user.id})
        grant = Grant(2, (1, 2), frozenset(Permission))
        _, token = create_token(
            session,
            user,
            maker=Actor(user.id, user.label, (grant,)),
            name="bench",
            permissions=frozenset(Permission),
            days=1,
            organisation=None,
            now=datetime.now(UTC),
        )
        point_id = session.execute(
            text(
                "SELECT min(p.id) FROM points p JOIN meters m ON m.id = p.meter_id "
                "WHERE m.organisation_id = 2 AND p.kind = 'counter'"
            )
        ).scalar_one()
        session.execute(text(_REGISTER), {"point": point_id})
    return token, point_id


def make_questions(engine: Engine, point_id: int) -> list[Question]:
    """Write down what is asked."""
    with engine.connect() as connection:
        site_id = connection.execute(text("SELECT min(id) FROM sites WHERE organisation_id = 2")).scalar_one()
    return [
        Question(
            "latest_of_site",
            ("/api/v1/sites/site-1/latest",),
            "SELECT p.point_id, t.name, t.unit, p.observed_at::text, p.value, p.quality FROM point_latest p "
            "JOIN points t ON t.id = p.point_id WHERE p.meter_id IN (SELECT id FROM meters WHERE site_id = %(site)s)",
            {"site": site_id},
            "6 meters, 18 points",
        ),
        Question(
            "month_of_half_hours",
            (f"/api/v1/points/{point_id}/intervals?from=2026-10-01T00:00:00%2B02:00&to=2026-11-01T00:00:00%2B01:00",),
            "SELECT start_at::text, end_at::text, amount::text, registered::text, quality, completeness::text, causes, "
            "method, known_at::text FROM ledger WHERE point_id = %(point)s ORDER BY start_at",
            {"point": point_id},
            "1,490 intervals",
        ),
        Question(
            "list_of_1000_sites",
            ("/api/v1/sites?limit=500",),
            "SELECT s.slug, s.name, s.time_zone, s.created_at::text, o.slug FROM sites s "
            "JOIN organisations o ON o.id = s.organisation_id WHERE s.organisation_id = 2 ORDER BY s.slug",
            {},
            "two pages of 500",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Timed:
    """How one way of asking went."""

    per_s: float
    took_s: list[float]

    def quantile_ms(self, percent: int) -> float:
        """Return the latency that so many of the questions kept to."""
        return 1000 * statistics.quantiles(self.took_s, n=100)[percent - 1]


@dataclass(frozen=True, slots=True)
class Pair:
    """The hub's own, and the same query bare."""

    api: Timed
    bare: Timed


def measure(url: str, directory: Path, token: str, questions: list[Question], seconds: float) -> dict[str, Pair]:
    """Ask each question both ways."""
    port = free_port()
    server = Process(
        "serve",
        [sys.executable, "-m", "meterhaul.cli", "hub", "serve", "--port", str(port), "--create-key"],
        log_file=directory / "serve.log",
        env={
            "METERHAUL_DATABASE_URL": url,
            "METERHAUL_SECRET_KEY_FILE": str(directory / "secret-key"),
            "METERHAUL_REQUESTS_PER_MINUTE": "0",
        },
    )
    server.start()
    try:
        wait_until(lambda: server.require_running() and accepts_connections(port), 30, "the web process")
        return {
            question.name: Pair(
                timed(partial(over_http, port, token, question), seconds),
                timed(partial(bare, url, question), seconds),
            )
            for question in questions
        }
    finally:
        server.stop()


def over_http(port: int, token: str, question: Question) -> Callable[[], int]:
    """Open a connection to the hub; return what asks once and answers how many bytes came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(path: str) -> bytes:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path}: {answer.status} {body.decode()[:300]}")
        return body

    def ask() -> int:
        size = 0
        for path in question.paths:
            following = path
            while following:
                body = get(following)
                size += len(body)
                cursor = json.loads(body).get("next_cursor") if "limit=" in path else None
                following = f"{path}&cursor={cursor}" if cursor else ""
        return size

    return ask


def bare(url: str, question: Question) -> Callable[[], int]:
    """Open a connection to the database; return what asks once and answers how many bytes of JSON came of it."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(dsn)
    connection.autocommit = True

    def ask() -> int:
        with connection.cursor() as cursor:
            cursor.execute(question.sql, question.bound)
            return len(json.dumps(cursor.fetchall()))

    return ask


def timed(connect: Callable[[], Callable[[], int]], seconds: float) -> Timed:
    """Let the threads ask, each over a connection of its own, for so long; the first second does not count."""
    took: list[list[float]] = [[] for _ in range(THREADS)]
    begin = time.perf_counter() + 1.0
    end = begin + seconds
    failures: list[BaseException] = []

    def ask_again_and_again(own: list[float]) -> None:
        try:
            ask = connect()
            while (asked_at := time.perf_counter()) < end:
                ask()
                if asked_at >= begin:
                    own.append(time.perf_counter() - asked_at)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the thread
            failures.append(error)

    threads = [threading.Thread(target=ask_again_and_again, args=(own,)) for own in took]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    flat = [one for own in took for one in own]
    return Timed(len(flat) / seconds, flat)


if __name__ == "__main__":
    sys.exit(main())
