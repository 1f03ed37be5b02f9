"""What the buffer costs an SD card: bytes in the file and bytes written per reading.

Six meters of 20 points, 120 readings per fsynced transaction, through the agent's own buffer and its
thread; beside it, in the same run, a table with a row per reading under the same durability. Bytes
written are `write_bytes` of /proc/self/io: what this process made the kernel send to the block device,
in whole pages of 4 KiB. It does not count on tmpfs, so the data lies in a directory on a real disk.
"""

import argparse
import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from figures import report

from edge_agent.buffer.opening import open_buffer
from protocol.manifest import Layout, Manifest, ManifestPoint, PointKind
from protocol.scans import Scan

METERS, POINTS = 6, 20
READINGS_PER_CYCLE = METERS * POINTS
START_MS = 1_700_000_000_000
PERIOD_MS = 60_000


def main() -> int:
    """Measure, print, and return 1 when a figure misses its bar or cannot be measured here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=3000, help="poll cycles of 120 readings each (3000)")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="a directory on the disk to measure (here)")
    arguments = parser.parse_args()
    readings = arguments.cycles * READINGS_PER_CYCLE
    cycles = list(make_cycles(arguments.cycles))
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix=".bench-") as directory:
        ours = measure_buffer(Path(directory) / "buffer.sqlite", cycles)
        rows = measure_rows(Path(directory) / "rows.sqlite", cycles)
    if not rows[1]:
        print(f"{arguments.dir} is on no disk that counts writes: name another with --dir", file=sys.stderr)
        return 1
    ours_file, ours_written, ours_s = (figure / readings for figure in ours)
    rows_file, rows_written, rows_s = (figure / readings for figure in rows)
    print(f"{arguments.cycles} transactions of {READINGS_PER_CYCLE} readings; per reading:")
    print(f"  packed scans     {ours_file:6.2f} B in the file  {ours_written:6.1f} B written  {ours_s * 1e6:5.1f} µs")
    print(f"  row per reading  {rows_file:6.2f} B in the file  {rows_written:6.1f} B written  {rows_s * 1e6:5.1f} µs")
    holds = [
        report(
            "buffer_file_bytes_per_reading",
            ours_file,
            "B",
            against=f"a row per reading: {rows_file:.2f} B",
            at_most=8,
        ),
        report(
            "buffer_written_bytes_per_reading",
            ours_written,
            "B",
            against=f"a row per reading: {rows_written:.1f} B",
            at_most=100,
        ),
    ]
    return 0 if all(holds) else 1


def make_cycles(cycles: int) -> list[list[Scan]]:
    """Make believable scans: voltages, currents, powers, factors and counters, as meters display them."""
    rng = random.Random(1)
    counters = [[10_000 * rng.random() for _ in range(POINTS // 5)] for _ in range(METERS)]
    made = []
    for cycle in range(cycles):
        at_ms = START_MS + cycle * PERIOD_MS
        made.append([Scan(m, at_ms + 40 * m, make_values(rng, counters[m])) for m in range(METERS)])
    return made


def make_values(rng: random.Random, counters: list[float]) -> tuple[float, ...]:
    """Make the values of one scan and move its counters on."""
    values: list[float] = []
    for index, counter in enumerate(counters):
        counters[index] = counter + rng.random() * 0.1
        values += [
            round(rng.gauss(230, 2), 1),
            round(rng.random() * 20, 2),
            float(round(rng.random() * 5000)),
            round(rng.random(), 3),
            round(counters[index], 2),
        ]
    return tuple(values)


def measure_buffer(path: Path, cycles: list[list[Scan]]) -> tuple[float, float, float]:
    """Return bytes in the file, bytes written and seconds of the agent's buffer."""
    written, began_s = written_bytes(), time.perf_counter()
    asyncio.run(store(path, cycles))
    took_s = time.perf_counter() - began_s
    return path.stat().st_size, written_bytes() - written, took_s


async def store(path: Path, cycles: list[list[Scan]]) -> None:
    """Open a buffer, append cycle after cycle, close it."""
    manifest = Manifest(layouts=tuple(make_layout(m) for m in range(METERS)))
    buffer = open_buffer(path, manifest=manifest, boot_id=bytes(16), max_bytes=2**30, started_at_ms=START_MS)
    for scans in cycles:
        await buffer.append(scans)
    await buffer.close()


def measure_rows(path: Path, cycles: list[list[Scan]]) -> tuple[float, float, float]:
    """Return the same of a table with a row per reading, numbered as they come."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, point INTEGER, at_ms INTEGER, value REAL)")
    written, began_s = written_bytes(), time.perf_counter()
    for scans in cycles:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO readings (point, at_ms, value) VALUES (?, ?, ?)",
            [
                (scan.layout * POINTS + index, scan.observed_at_ms, value)
                for scan in scans
                for index, value in enumerate(scan.values)
            ],
        )
        connection.execute("COMMIT")
    took_s = time.perf_counter() - began_s
    connection.close()
    return path.stat().st_size, written_bytes() - written, took_s


def make_layout(meter: int) -> Layout:
    """Make the layout of one meter."""
    return Layout(
        meter=f"meter-{meter}",
        profile="eastron-sdm630",
        period_s=PERIOD_MS / 1000,
        points=tuple(
            ManifestPoint(name=f"point_{n}", quantity="voltage", unit="V", kind=PointKind.GAUGE) for n in range(POINTS)
        ),
    )


def written_bytes() -> int:
    """Return how many bytes this process has made the kernel write to block devices."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        name, _, number = line.partition(": ")
        if name == "write_bytes":
            return int(number)
    message = "/proc/self/io does not tell write_bytes: this benchmark needs Linux"
    raise SystemExit(message)


if __name__ == "__main__":
    sys.exit(main())
