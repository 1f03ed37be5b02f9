"""What a reading costs ingest when it comes from 100 streams and from 10,000; and two ingest processes beside one.

The first: full groups of batches through what an ingest process does with them (take apart, judge, one transaction),
as many batches from few streams as from many, few before and after the many. What is known of each stream is in the
database beforehand, and each has delivered before. The second: real processes on a real broker, as `ingest` does it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from figures import report
from hub_data import ServerPostgres, open_hub, settle
from ingest import CONTROLLERS, Load, Rig, prepare_database, run_ingest
from ingest_load import MANIFEST, METERS, POINTS_PER_METER, SAMPLES, make_batches
from sqlalchemy import Engine, text

from cloud_hub.ingest.committer import commit_group
from cloud_hub.ingest.consumer import GROUP_MESSAGES_MAX
from cloud_hub.ingest.prepare import ReceivedBatch, prepare
from cloud_hub.process import configure_logging
from demo.mosquitto import PrivateMosquitto
from demo.postgres import PrivatePostgres

FEW, MANY = 100, 10_000
COST_BAR = 1.2
READINGS_PER_BATCH = SAMPLES * METERS * POINTS_PER_METER

# Controllers c1, c2, ... as registration would make them. Points are left out: ingest asks layouts only.
_CONTROLLERS = """
INSERT INTO sites (id, slug, name) VALUES (1, 'bench', 'Bench');
INSERT INTO controllers (id, site_id) SELECT 'c' || n, 1 FROM generate_series(1, :streams) n;
INSERT INTO manifests (controller_id, hash, body) SELECT 'c' || n, :hash, :body FROM generate_series(1, :streams) n;
INSERT INTO meters (id, controller_id, slug, site_id, profile, period_s)
SELECT n * :meters + m, 'c' || n, 'meter-' || m, 1, 'eastron-sdm630', 60
FROM generate_series(1, :streams) n, generate_series(0, :meters - 1) m;
INSERT INTO layouts (id, meter_id, point_ids)
SELECT id, id, ARRAY(SELECT id * :points + p FROM generate_series(1, :points) p) FROM meters;
INSERT INTO manifest_layouts (controller_id, manifest_hash, index, layout_id, period_s)
SELECT controller_id, :hash, id % :meters, id, 60 FROM meters;
"""


def main() -> int:
    """Measure both, and report; exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=MANY, help="batches at each number of streams [%(default)s]")
    parser.add_argument("--per-controller", type=int, default=600, help="batches through real processes [%(default)s]")
    parser.add_argument(
        "--single-scans", type=int, default=3000, help="batches of one scan each, likewise [%(default)s]"
    )
    arguments = parser.parse_args()
    configure_logging()
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user and must get through
        postgres = stack.enter_context(ServerPostgres(directory / "postgres"))
        rig = Rig(postgres, stack.enter_context(PrivateMosquitto(directory / "mosquitto")), directory)
        holds = report_streams(postgres, arguments.batches)
        holds &= report_processes(rig, "batch30", Load(arguments.per_controller, SAMPLES, METERS))
        holds &= report_processes(rig, "batch1", Load(arguments.single_scans, 1, 1))
    return 0 if holds else 1


def report_streams(postgres: PrivatePostgres, batches: int) -> bool:
    """Measure few, many, and few streams again."""
    before, many, after = (measure(postgres, number, n, batches) for number, n in enumerate((FEW, MANY, FEW)))
    few = (before + after) / 2
    return report(
        f"ingest_cost_per_reading_{MANY}_to_{FEW}_streams",
        many / few,
        "ratio",
        against=f"{few:.3f} us a reading from {FEW} streams ({before:.3f} before, {after:.3f} after), {many:.3f} us from {MANY}",
        at_most=COST_BAR,
    )


def measure(postgres: PrivatePostgres, number: int, streams: int, batches: int) -> float:
    """Return microseconds per reading of so many batches, taken from all streams in turn."""
    engine = open_hub(
        postgres, f"streams_{number}", first=datetime(2026, 9, 1, tzinfo=UTC), end=datetime(2026, 12, 1, tzinfo=UTC)
    )
    parameters = {
        "streams": streams,
        "hash": MANIFEST.hash,
        "body": MANIFEST.body,
        "meters": METERS,
        "points": POINTS_PER_METER,
    }
    with engine.begin() as connection:
        for statement in _CONTROLLERS.strip().rstrip(";").split(";\n"):
            connection.execute(text(statement), parameters)
    per_stream = batches // streams
    payloads = list(make_batches(1 + per_stream, SAMPLES, METERS, seed=1))
    names = [f"c{n}" for n in range(1, streams + 1)]
    commit_all(engine, [(name, payloads[0]) for name in names])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE)"))
    settle(engine)
    began = time.perf_counter()
    commit_all(engine, [(name, payload) for payload in payloads[1:] for name in names])
    seconds = time.perf_counter() - began
    engine.dispose()
    postgres.drop_database(f"streams_{number}")
    return seconds / (per_stream * streams * READINGS_PER_BATCH) * 1e6


def commit_all(engine: Engine, sent: Sequence[tuple[str, bytes]]) -> None:
    """Put batches through in full groups, as they come.

    Raises: SystemExit when one of them is not stored in full.
    """
    for at in range(0, len(sent), GROUP_MESSAGES_MAX):
        group = [prepare(ReceivedBatch.of(name, payload)) for name, payload in sent[at : at + GROUP_MESSAGES_MAX]]
        readings = sum(done.readings for done in commit_group(engine, group))
        if readings != len(group) * READINGS_PER_BATCH:
            raise SystemExit(f"{readings} readings are stored of {len(group) * READINGS_PER_BATCH}")


def report_processes(rig: Rig, label: str, load: Load) -> bool:
    """Measure one and two ingest processes with the same load."""
    rates = {}
    for processes in (1, 2):
        name = f"{label}_{processes}"
        controllers = [f"{label}-{processes}-{number}" for number in range(CONTROLLERS)]
        sent = {
            controller: list(make_batches(load.batches, load.samples, load.meters, seed))
            for seed, controller in enumerate(controllers)
        }
        engine = prepare_database(rig.postgres, f"ingest_{name}", controllers)
        seconds = run_ingest(rig, name, load, sent, engine, processes=processes)
        rates[processes] = load.readings / seconds
        engine.dispose()
    return report(
        f"ingest_rate_two_processes_to_one_{label}",
        rates[2] / rates[1],
        "ratio",
        against=f"{rates[1]:,.0f} readings/s by one process, {rates[2]:,.0f} by two; load, broker and database share the machine",
        at_least=1.0,
    )


if __name__ == "__main__":
    sys.exit(main())
