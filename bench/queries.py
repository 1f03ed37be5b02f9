"""Milliseconds for a month of 1-minute data of one point, and for a year of half hours of one site's six meters.

Read by the hub's own read path into numpy arrays. Beside it, in the same run, the same from tables with a row per
reading and per interval, taken the fastest way there is (COPY BINARY into numpy); and the hub's own at 10 sites beside
1,000 in the same database. One site is made by the hub's own code, the others are copies of its rows by SQL. The same
few sites are asked about again and again: what the disk takes the first time is the machine's affair, and told apart.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
from figures import report
from hub_data import LayoutScans, ServerPostgres, load, make_row_per_reading, open_hub, settle, vacuum
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.ledger.versions import read_ledger
from cloud_hub.process import configure_logging
from cloud_hub.readings.service import read_series
from cloud_hub.work.compaction import compact
from protocol.manifest import Layout, Manifest, ManifestPoint, PointKind

METERS, POINTS = 6, 2
FEW_SITES, MANY_SITES = 10, 1_000
SITES_ASKED = 8
"""Chosen by chance; what they have fits into the database's own memory."""
RATIO_BAR = 1.3
MONTH = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
YEAR = date(2025, 11, 1), date(2026, 10, 31)
MINUTES = 31 * 1440
INTERVALS = 365 * 48

_LEDGER = text("""
INSERT INTO ledger_days (start_at, end_at, point_id, total_micro, day, interval_s, calculation, completeness,
                         amounts_micro, qualities, completenesses, known_at)
SELECT day, day + interval '1 day', p.id, 0, day, 1800, 1, 1000,
       ARRAY(SELECT (random() * 1e9 + p.id + n)::int8 FROM generate_series(1, 48) n),
       array_fill(0::int2, ARRAY[48]), array_fill(1000::int2, ARRAY[48]), array_fill(day, ARRAY[48])
FROM points p
CROSS JOIN generate_series(CAST(:first AS timestamptz), CAST(:last AS timestamptz), interval '1 day') AS day
WHERE p.kind = 'counter' ORDER BY day, p.id
""")

_ROW_PER_INTERVAL = """
CREATE TABLE row_per_interval (start_at timestamptz NOT NULL, point_id bigint NOT NULL, amount_micro bigint NOT NULL,
                               quality smallint NOT NULL, completeness smallint NOT NULL);
INSERT INTO row_per_interval SELECT start_at, point_id, amount * 1000000, 0, 1000 FROM ledger ORDER BY start_at, point_id;
CREATE INDEX row_per_interval_point_id_start_at_idx ON row_per_interval (point_id, start_at);
"""

# Copies of the first site, whose meters, layouts and points have the lowest ids. Days after days, as they are closed.
_COPIES = """
INSERT INTO meters (id, controller_id, slug, site_id, profile, period_s)
SELECT m.id + s * 6, m.controller_id, m.slug || s, m.site_id, m.profile, m.period_s
FROM meters m, generate_series({first}, {last}) s WHERE m.id <= 6;
INSERT INTO points (id, meter_id, name, quantity, unit, kind)
SELECT p.id + s * 12, p.meter_id + s * 6, p.name, p.quantity, p.unit, p.kind
FROM points p, generate_series({first}, {last}) s WHERE p.id <= 12;
INSERT INTO layouts (id, meter_id, point_ids)
SELECT l.id + s * 6, l.meter_id + s * 6, ARRAY(SELECT p + s * 12 FROM unnest(l.point_ids) p)
FROM layouts l, generate_series({first}, {last}) s WHERE l.id <= 6;
INSERT INTO scan_days
SELECT d.meter_id + s * 6, d.day, d.layout_id + s * 6, d.scans, d.first_ms, d.step_ms, d.offsets_ms
FROM scan_days d, generate_series({first}, {last}) s WHERE d.meter_id <= 6 ORDER BY d.day, s;
INSERT INTO point_days
SELECT p.meter_id + s * 6, p.point_id + s * 12, p.base, p.divisor, p.day, p.layout_id + s * 6, p.valued,
       p.int2s, p.int4s, p.float4s, p.float8s, p.quality
FROM point_days p, generate_series({first}, {last}) s WHERE p.meter_id <= 6 ORDER BY p.day, s;
INSERT INTO ledger_days
SELECT d.start_at, d.end_at, d.point_id + s * 12, d.total_micro, d.day, d.interval_s, d.calculation, d.completeness,
       d.amounts_micro, d.registered_micro, d.qualities, d.completenesses, d.causes, d.methods, d.known_at
FROM ledger_days d, generate_series({first}, {last}) s WHERE d.point_id <= 12 ORDER BY d.day, s;
"""

Ask = Callable[[Session, int], int]
"""Ask about the site with this number; return how many values came."""


def main() -> int:
    """Measure at both sizes, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asked", type=int, default=160, help="questions of each kind [%(default)s]")
    asked = parser.parse_args().asked
    configure_logging()
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user and must get through
        # Nothing is written while it is measured: without fsync the copies are there sooner.
        with ServerPostgres(directory / "postgres", durable=False) as postgres:
            engine = open_hub(postgres, "queries", first=MONTH[0], end=MONTH[1])
            make_first_site(engine)
            copy_sites(engine, 1, FEW_SITES - 1)
            make_row_per_reading(engine)
            with engine.begin() as connection:
                connection.execute(text(_ROW_PER_INTERVAL))
            vacuum(engine, "row_per_interval")
            few = measure(engine, FEW_SITES, asked, [month_of_point, month_from_rows, year_of_site, year_from_rows])
            copy_sites(engine, FEW_SITES, MANY_SITES - 1)
            many = measure(engine, MANY_SITES, asked, [month_of_point, year_of_site])
            engine.dispose()
    return 0 if report_all(few, many) else 1


def report_all(few: dict[Ask, float], many: dict[Ask, float]) -> bool:
    """Print the figures."""
    holds = True
    for label, ask, rows, what in (
        ("month_of_minutes_one_point", month_of_point, month_from_rows, f"{MINUTES:,} readings"),
        ("year_of_half_hours_six_meters", year_of_site, year_from_rows, f"{METERS * INTERVALS:,} intervals"),
    ):
        report(f"query_ms_{label}", few[ask], "ms", against=f"{few[rows]:.1f} ms from a row each; {what}")
        report(f"query_share_of_rows_{label}", few[ask] / few[rows], "ratio", against="the same from a row each")
        holds &= report(
            f"query_ratio_{MANY_SITES}_to_{FEW_SITES}_sites_{label}",
            many[ask] / few[ask],
            "ratio",
            against=f"{few[ask]:.1f} ms at {FEW_SITES} sites, {many[ask]:.1f} ms at {MANY_SITES}",
            at_most=RATIO_BAR,
        )
    return holds


def make_first_site(engine: Engine) -> None:
    """Store a month of minutes of six meters, close it, and give its counters a year of half hours."""
    chance = np.random.default_rng(1)
    layouts = [
        Layout(
            meter=f"meter-{meter}",
            profile="eastron-sdm630",
            period_s=60,
            points=(
                ManifestPoint(name="voltage", quantity="voltage", unit="V", kind=PointKind.GAUGE),
                ManifestPoint(name="energy", quantity="active_energy", unit="Wh", kind=PointKind.COUNTER),
            ),
        )
        for meter in range(METERS)
    ]
    start_ms = int(MONTH[0].timestamp() * 1000)
    columns = []
    for _ in layouts:
        at_ms = start_ms + 60_000 * np.arange(MINUTES) + chance.integers(5, 60, MINUTES)
        voltage = np.round(chance.normal(230, 2, MINUTES), 1)
        energy = np.round(1e6 + np.cumsum(chance.uniform(0, 50, MINUTES)), 1)
        columns.append(LayoutScans(at_ms, np.stack([voltage, energy], axis=1), np.zeros((MINUTES, POINTS), np.int16)))
    load(engine, Manifest(layouts=tuple(layouts)), columns)
    compact(engine, MONTH[1] + timedelta(days=3))
    with engine.begin() as connection:
        connection.execute(_LEDGER, {"first": YEAR[0], "last": YEAR[1]})


def copy_sites(engine: Engine, first: int, last: int) -> None:
    """Add the copies with these numbers, and leave the tables as the database's upkeep does."""
    with engine.begin() as connection:
        connection.execute(text(_COPIES.format(first=first, last=last)))
    for table in ("meters", "points", "layouts", "scan_days", "point_days", "ledger_days"):
        vacuum(engine, table)
    settle(engine)


def measure(engine: Engine, sites: int, asked: int, asks: list[Ask]) -> dict[Ask, float]:
    """Ask about some sites, the kinds in turns; return each kind's median in milliseconds."""
    chance = random.Random(1)
    seconds: dict[Ask, list[float]] = {ask: [] for ask in asks}
    expected: dict[Ask, int] = {month_of_point: MINUTES, month_from_rows: MINUTES}
    with Session(engine) as session:
        chosen = chance.sample(range(sites), SITES_ASKED)
        for number in range(SITES_ASKED + asked):
            site = chosen[number % SITES_ASKED]
            for ask in asks:
                began = time.perf_counter()
                came = ask(session, site)
                seconds[ask].append(time.perf_counter() - began)
                if came != expected.get(ask, METERS * INTERVALS):
                    raise SystemExit(f"{ask.__name__} of site {site} gave {came} values")
                session.rollback()
    first = ", ".join(
        f"{ask.__name__} {1000 * statistics.median(took[:SITES_ASKED]):.1f}" for ask, took in seconds.items()
    )
    print(f"{sites} sites, asked the first time, ms: {first}")
    return {ask: statistics.median(took[SITES_ASKED:]) * 1000 for ask, took in seconds.items()}


def month_of_point(session: Session, site: int) -> int:
    """Read the month of a site's last counter, as the API does."""
    series = read_series(
        session,
        meter_id=METERS * (site + 1),
        point_id=METERS * POINTS * (site + 1),
        start=MONTH[0],
        end=MONTH[1],
    )
    return len(series)


def year_of_site(session: Session, site: int) -> int:
    """Read the year of a site's six counters."""
    found = read_ledger(session, _counters(site), *YEAR)
    return sum(len(columns) for columns in found.values())


def month_from_rows(session: Session, site: int) -> int:
    """Read the same month from a row per reading."""
    query = (
        "SELECT observed_at, value, quality FROM row_per_reading WHERE point_id = %s "
        "AND observed_at >= %s AND observed_at < %s ORDER BY observed_at"
    )
    return _copy_rows(session, query, (METERS * POINTS * (site + 1), *MONTH), (">i8", ">f8", ">i2"))


def year_from_rows(session: Session, site: int) -> int:
    """Read the same year from a row per interval."""
    query = (
        "SELECT point_id, start_at, amount_micro, quality, completeness FROM row_per_interval WHERE point_id = ANY(%s) "
        "AND start_at >= %s AND start_at < %s ORDER BY point_id, start_at"
    )
    parameters = (_counters(site), YEAR[0], YEAR[1] + timedelta(days=1))
    return _copy_rows(session, query, parameters, (">i8", ">i8", ">i8", ">i2", ">i2"))


def _counters(site: int) -> list[int]:
    return [METERS * POINTS * site + POINTS * meter for meter in range(1, METERS + 1)]


def _copy_rows(session: Session, query: str, parameters: tuple[object, ...], kinds: tuple[str, ...]) -> int:
    fields = [(f"{part}{place}", kind) for place, one in enumerate(kinds) for part, kind in (("n", ">i4"), ("v", one))]
    data = BytesIO()
    cursor = session.connection().connection.cursor()
    cursor.copy_expert(f"COPY ({cursor.mogrify(query, parameters).decode()}) TO STDOUT (FORMAT binary)", data)
    cursor.close()
    rows = np.frombuffer(data.getbuffer()[19:-2], np.dtype([("count", ">i2"), *fields]))
    native = [rows[f"v{place}"].astype(kind[1:]) for place, kind in enumerate(kinds)]
    return len(native[0])


if __name__ == "__main__":
    sys.exit(main())
