"""Readings per second that one ingest process commits and acknowledges, as a share of bare COPY BINARY.

A real ingest process, a real Mosquitto and a real PostgreSQL (fsync on); the load, the broker and the
database share this machine with it. The same scans then go into the same table of another database by
nothing but COPY, in transactions of as many rows as a full group has, before and after the ingest.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import psutil
from figures import report
from ingest_load import MANIFEST, METERS, POINTS_PER_METER, SAMPLES, LoadController, make_batches
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub import db
from cloud_hub.ingest.consumer import GROUP_MESSAGES_MAX
from cloud_hub.ingest.copy_binary import COLUMNS, ScanRows, encode_rows
from cloud_hub.ingest.decode import decode
from cloud_hub.registry.service import register_controller, register_manifest, register_site
from cloud_hub.schema.upgrade import upgrade
from cloud_hub.work.partitions import make_partitions
from demo.mosquitto import PrivateMosquitto
from demo.postgres import PrivatePostgres
from demo.processes import Process, wait_until
from protocol.codec import decode_envelope

SHARE_BAR = 0.5
CONTROLLERS = 4
WINDOW = 64
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: so many batches per controller, each of `samples` scans of `meters` meters."""

    batches: int
    samples: int
    meters: int

    @property
    def scans_per_batch(self) -> int:
        """Scans in one batch."""
        return self.samples * self.meters

    @property
    def readings(self) -> int:
        """Readings in all batches of all controllers."""
        return CONTROLLERS * self.batches * self.scans_per_batch * POINTS_PER_METER


@dataclass(frozen=True, slots=True)
class Rig:
    """What the measurements run on."""

    postgres: PrivatePostgres
    broker: PrivateMosquitto
    directory: Path


def main() -> int:
    """Measure both sizes of batches; exit code 1 when the share misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=600, help="batches of 30 samples per controller [%(default)s]")
    parser.add_argument(
        "--single-scans", type=int, default=6000, help="batches of one scan per controller [%(default)s]"
    )
    arguments = parser.parse_args()
    large = Load(arguments.batches, SAMPLES, METERS)
    single = Load(arguments.single_scans, 1, 1)
    with tempfile.TemporaryDirectory(prefix="meterhaul-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user and must get through
        postgres = stack.enter_context(PrivatePostgres(directory / "postgres"))
        rig = Rig(postgres, stack.enter_context(PrivateMosquitto(directory / "mosquitto")), directory)
        holds = True
        for label, load, bar in (("batch30", large, SHARE_BAR), ("batch1", single, None)):
            ingest_rate, copy_rate = measure(rig, label, load)
            holds &= report(
                f"ingest_share_of_copy_{label}",
                ingest_rate / copy_rate,
                "ratio",
                against=f"{copy_rate:,.0f} readings/s by bare COPY BINARY of the same rows in this run "
                f"(ingest: {ingest_rate:,.0f} readings/s committed and acknowledged)",
                at_least=bar,
            )
    return 0 if holds else 1


def measure(rig: Rig, label: str, load: Load) -> tuple[float, float]:
    """Return readings per second through ingest, and by bare COPY."""
    names = [f"{label}-{number}" for number in range(CONTROLLERS)]
    batches = {
        name: list(make_batches(load.batches, load.samples, load.meters, seed)) for seed, name in enumerate(names)
    }
    ingest_engine = prepare_database(rig.postgres, f"ingest_{label}", names)
    copy_engine = prepare_database(rig.postgres, f"copy_{label}", names)
    groups = encode_groups(list(batches.values()))
    copy_seconds = run_copy(copy_engine, groups)
    ingest_seconds = run_ingest(rig, label, load, batches, ingest_engine)
    copy_seconds += run_copy(copy_engine, groups)
    for engine in (ingest_engine, copy_engine):
        engine.dispose()
    return load.readings / ingest_seconds, 2 * load.readings / copy_seconds


def prepare_database(postgres: PrivatePostgres, name: str, controllers: Sequence[str]) -> Engine:
    """Make a migrated database with partitions for the load's months, and the controllers that send it."""
    url = postgres.create_database(name)
    upgrade(url)
    engine = db.create_engine(url)
    make_partitions(engine, datetime(2026, 9, 1, tzinfo=UTC))
    with Session(engine) as session, session.begin():
        register_site(session, "bench", "Bench")
        for controller in controllers:
            register_controller(session, controller, site_slug="bench")
            register_manifest(session, controller, MANIFEST.body)
    return engine


def encode_groups(streams: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Turn all batches into COPY streams, as many batches in each as a full group of ingest has."""
    groups = []
    interleaved = [payload for together in zip(*streams, strict=True) for payload in together]
    for at in range(0, len(interleaved), GROUP_MESSAGES_MAX):
        decoded = [decode(decode_envelope(payload)) for payload in interleaved[at : at + GROUP_MESSAGES_MAX]]
        rows = [ScanRows(columns.layout + 1, columns.layout + 1, columns) for one in decoded for columns in one.scans]
        groups.append(b"".join(encode_rows(rows)))
    return groups


def run_copy(engine: Engine, groups: Sequence[bytes]) -> float:
    """Load the groups with COPY, each in a transaction of its own; return the seconds that took."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE scans"))
    settle(engine)
    raw = engine.raw_connection()
    started = time.perf_counter()
    for group in groups:
        with raw.cursor() as cursor:  # type: ignore[attr-defined]  # psycopg2's, which SQLAlchemy types as any driver's
            cursor.copy_expert(f"COPY scans ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)", BytesIO(group), 1 << 18)
        raw.commit()
    seconds = time.perf_counter() - started
    raw.close()
    return seconds


def run_ingest(
    rig: Rig, label: str, load: Load, batches: dict[str, list[bytes]], engine: Engine, *, processes: int = 1
) -> float:
    """Send all batches to as many ingest processes; return the seconds until the last one was acknowledged."""
    running = [describe_ingest(rig, label, number) for number in range(processes)]
    settle(engine)
    for process in running:
        process.start()
    wait_until(lambda: all(is_listening(process) for process in running), 30, "ingest to listen")
    with ExitStack() as stack:
        controllers = [
            stack.enter_context(LoadController(rig.broker.add_controller(name), payloads, load.scans_per_batch, WINDOW))
            for name, payloads in batches.items()
        ]
        cpu_before = cpu_seconds(running)
        started = time.perf_counter()
        for controller in controllers:
            controller.go()
        for controller in controllers:
            if not controller.done.wait(_TIMEOUT_S):
                logs = "".join(process.log_file.read_text() for process in running)
                raise SystemExit(f"not all batches were acknowledged within {_TIMEOUT_S} s: {logs}")
        seconds = time.perf_counter() - started
        cpu = cpu_seconds(running) - cpu_before
    for process in running:
        process.stop()
    check_stored(engine, load)
    print(
        f"{label}: {CONTROLLERS * load.batches} batches, {load.readings:,} readings in {seconds:.1f} s, "
        f"ingest used {cpu / seconds:.2f} of a core"
    )
    return seconds


def describe_ingest(rig: Rig, label: str, number: int) -> Process:
    """Describe an ingest process on the label's database."""
    return Process(
        f"ingest-{number}",
        [sys.executable, "-m", "meterhaul.cli", "hub", "ingest"],
        log_file=rig.directory / f"ingest-{label}-{number}.log",
        env={
            "METERHAUL_DATABASE_URL": rig.postgres.url_of(f"ingest_{label}"),
            "METERHAUL_BROKER_URL": rig.broker.hub_url,
        },
    )


def is_listening(process: Process) -> bool:
    """Say whether an ingest process has its subscription."""
    return "broker_connected" in process.log_file.read_text()


def cpu_seconds(processes: Sequence[Process]) -> float:
    """Return the processor time that the processes have used so far."""
    times = [psutil.Process(process.pid).cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in times))


def settle(engine: Engine) -> None:
    """Write out what is pending, so that each measurement begins alike."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))


def check_stored(engine: Engine, load: Load) -> None:
    """See that what was acknowledged is there, once.

    Raises: SystemExit.
    """
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT count(*) FROM scans")).scalar_one()
    if stored != CONTROLLERS * load.batches * load.scans_per_batch:
        raise SystemExit(f"{stored} scans are stored of {CONTROLLERS * load.batches * load.scans_per_batch}")


if __name__ == "__main__":
    sys.exit(main())
