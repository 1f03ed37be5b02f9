"""Bytes per reading in the database after compaction: 1-minute data, table, index and TOAST, time columns included.

Beside it, in the same run, the same readings with a row each. Three kinds of data: a simulated day of six meters of
20 points as their profiles give it; the same with every value flickering in all digits that a float32 has; and the
recorded house of the UCI set. They are played again and again; days are stored apart, so that none helps another.
Everything must be readable in SQL: the view has to give exactly what went in.
"""

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import wire
from figures import report
from hub_data import READING_TABLES, LayoutScans, bytes_of, columns_of, instant, load, make_row_per_reading, open_hub
from sqlalchemy import Engine, text

from cloud_hub.process import configure_logging
from cloud_hub.work.compaction import compact
from demo.postgres import PrivatePostgres
from protocol.manifest import Manifest

BAR = 5.0
DAYS = 7
HOUSE_TIMES, HOUSE_DAYS = 20, 2
"""The recording is a day and a half long."""

# Both ways, so that neither a reading nor a value more or less goes unnoticed.
_DIFFERENCES = text("""
SELECT count(*) FROM (
    (SELECT point_id, observed_at, value, quality FROM readings EXCEPT ALL
     SELECT point_id, observed_at, value, quality FROM row_per_reading)
    UNION ALL
    (SELECT point_id, observed_at, value, quality FROM row_per_reading EXCEPT ALL
     SELECT point_id, observed_at, value, quality FROM readings)
) AS differences
""")


def main() -> int:
    """Measure and report."""
    configure_logging()
    day_manifest, day = wire.simulated_day()
    house_manifest, house = wire.real_data()
    clean = [one.repeated(DAYS) for one in columns_of(day_manifest, day)]
    noisy = [one.repeated(DAYS) for one in columns_of(day_manifest, wire.with_noise(day))]
    real = [one.repeated(HOUSE_TIMES, every_days=HOUSE_DAYS) for one in columns_of(house_manifest, house)]
    cases = (
        ("compacted", day_manifest, clean, "6 meters x 20 points, simulated"),
        ("compacted_float_noise", day_manifest, noisy, "the same, every float32 flickering in all its digits"),
        ("compacted_real", house_manifest, real, "UCI house: 6 + 3 x 4 points"),
    )
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user and must get through
        with PrivatePostgres(directory / "postgres") as postgres:
            holds = [measure(postgres, *case) for case in cases]
    return 0 if all(holds) else 1


def measure(postgres: PrivatePostgres, label: str, manifest: Manifest, columns: list[LayoutScans], what: str) -> bool:
    """Store, compact and weigh one kind of data; return whether it holds the bar."""
    first = instant(min(int(one.at_ms[0]) for one in columns))
    end = instant(max(int(one.at_ms[-1]) for one in columns))
    engine = open_hub(postgres, label, first=first, end=end)
    load(engine, manifest, columns)
    readings = sum(one.values.size for one in columns)
    opened = bytes_of(engine, READING_TABLES) / readings
    make_row_per_reading(engine)
    compact(engine, end + timedelta(days=3))
    check(engine)
    rows = bytes_of(engine, ["row_per_reading"]) / readings
    closed = bytes_of(engine, READING_TABLES) / readings
    engine.dispose()
    against = f"row per reading {rows:.1f}, open days {opened:.1f}; {readings:,} readings, {what}"
    return report(f"disk_bytes_per_reading_{label}", closed, "B", against=against, at_most=BAR)


def check(engine: Engine) -> None:
    """See that all is closed, and that the view gives what went in.

    Raises: SystemExit.
    """
    with engine.connect() as connection:
        still_open = connection.execute(text("SELECT count(*) FROM scans")).scalar_one()
        differences = connection.execute(_DIFFERENCES).scalar_one()
    if still_open or differences:
        raise SystemExit(f"{still_open} scans are still open, and {differences} readings are not what they were")


if __name__ == "__main__":
    sys.exit(main())
