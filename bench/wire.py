"""Bytes per reading on the wire, beside JSON and Sparkplug B: on a simulated day and on real data.

A batch is 30 scans of each meter. MQTT and TCP framing is left out on all sides: one batch is one
message, where JSON and Sparkplug B as commonly sent are one message per scan, so leaving it out
favours them.
"""

import json
import random
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from figures import report

from protocol.codec import decode_batch, encode_batch
from protocol.library import default_points, get_profile
from protocol.manifest import Layout, Manifest, ManifestPoint
from protocol.profile import Profile
from protocol.quality import Quality
from protocol.registers import shortest_float32
from protocol.scans import Entry, Scan
from simulator.electricity import OFFERED_POINTS
from simulator.identity import SERIAL_POINT, with_identity
from simulator.ledger import Ledger, read_ledger
from simulator.loads import Load, LoadSource, Role
from simulator.meter import SimulatedMeter, Source
from simulator.replay import AtEnd, Circuit, Pace, ReplaySource, load_rows

SAMPLES, POINTS = 30, 20
DAY_MS = 86_400_000
MINUTE_MS = 60_000
MIDNIGHT_MS = 1_781_222_400_000
"""2026-06-12T00:00:00Z: a summer's day, so that the solar roof has something to say."""
BAR = 1.2

Scans = list[tuple[int, list[Scan]]]
"""Per instant (UTC ms): one scan of each meter."""


def main() -> int:
    """Measure and report."""
    day_manifest, day = simulated_day()
    real_manifest, real = real_data()
    width = sum(len(layout.points) for layout in day_manifest.layouts)
    real_width = sum(len(layout.points) for layout in real_manifest.layouts)
    print(f"simulated day: {len(day)} minutes x {width} points; real data: {len(real)} minutes x {real_width} points")
    ours, json_bytes, sparkplug_bytes = (measure(way, day_manifest, day) for way in (batches, json_messages, sparkplug))
    real_ours, real_json, real_sparkplug = (
        measure(way, real_manifest, real) for way in (batches, json_messages, sparkplug)
    )
    held = [
        report(
            f"wire_bytes_per_reading_{SAMPLES}x{width}",
            ours,
            "B",
            against=f"JSON {json_bytes:.1f}, Sparkplug B {sparkplug_bytes:.1f}",
            at_most=BAR,
        ),
        report(
            f"wire_bytes_per_reading_real_{SAMPLES}x{real_width}",
            real_ours,
            "B",
            against=f"JSON {real_json:.1f}, Sparkplug B {real_sparkplug:.1f}",
            at_most=BAR,
        ),
        report(
            f"wire_bytes_per_reading_1x{width}",
            measure(single_instants, day_manifest, day),
            "B",
            against="one instant per batch",
        ),
        report(
            f"wire_bytes_per_reading_all_float_noise_{SAMPLES}x{width}",
            measure(batches, day_manifest, with_noise(day)),
            "B",
            against="a meter whose floats all flicker in their last digits; float32 itself takes 4",
        ),
    ]
    return 0 if all(held) else 1


def simulated_day() -> tuple[Manifest, Scans]:
    """Play a day of six meters with 20 points each."""
    meters = [
        ("heater", "eastron-sdm630", Role.HEATER),
        ("air-conditioner", "carlo-gavazzi-em340-em530", Role.AIR_CONDITIONER),
        ("lighting", "eastron-sdm72dm-v2", Role.LIGHTING),
        ("ups", "abb-b23-b24", Role.UPS),
        ("rack", "schneider-iem3155", Role.SERVER),
        ("pv", "inepro-pro380", Role.PV),
    ]
    sources = []
    for meter_id, profile_id, role in meters:
        profile = get_profile(profile_id)
        source = LoadSource(Load(role, seed=1, phases=3), started_ms=MIDNIGHT_MS)
        offered = [point.name for point in default_points(profile) if point.name in OFFERED_POINTS]
        sources.append((meter_id, profile, offered[:POINTS], source))
    return play(sources, range(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, MINUTE_MS))


def real_data() -> tuple[Manifest, Scans]:
    """Play all minutes of the recorded house: mains and three sub-meters."""
    mains = (
        "voltage_l1_n",
        "current_l1",
        "active_power_l1",
        "reactive_power_l1",
        "energy_active_import_total",
        "energy_reactive_import_total",
    )
    sub = ("voltage_l1_n", "current_l1", "active_power_total", "energy_active_import_total")
    sources = []
    for circuit in Circuit:
        is_mains = circuit is Circuit.MAINS
        source = ReplaySource(load_rows(circuit), pace=Pace.FRAME, at_end=AtEnd.STOP, started_ms=0, speed=1)
        profile = get_profile("eastron-sdm630" if is_mains else "eastron-sdm120")
        sources.append((circuit.replace("_", "-"), profile, mains if is_mains else sub, source))
    return play(sources, range(MIDNIGHT_MS, MIDNIGHT_MS + len(load_rows(Circuit.MAINS)) * MINUTE_MS, MINUTE_MS))


def play(
    sources: Sequence[tuple[str, Profile, Sequence[str], Source]], instants_ms: Sequence[int]
) -> tuple[Manifest, Scans]:
    """Let simulated meters serve a frame at each instant, and take each as the scan that an agent would store."""
    clock_ms, chance = [0], random.Random(1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.jsonl"
        ledger = Ledger(path)
        meters = [
            SimulatedMeter(
                meter_id=meter_id,
                profile=with_identity(profile, points),
                source=source,
                points=points,
                ledger=ledger,
                now_ms=lambda: clock_ms[0],
            )
            for meter_id, profile, points, source in sources
        ]
        for now_ms in instants_ms:
            for position, meter in enumerate(meters):
                # Answers arrive one after the other, each a few milliseconds late by chance.
                clock_ms[0] = now_ms + 12 * position + chance.randrange(4)
                meter.open_frame(None)
        frames = list(read_ledger(path))
    layouts = [make_layout(meter_id, profile, points) for meter_id, profile, points, _ in sources]
    scans = [
        (
            instants_ms[number],
            [
                make_scan(index, layout, frame.served_at_ms, frame.values)
                for index, (layout, frame) in enumerate(
                    zip(layouts, frames[number * len(layouts) : (number + 1) * len(layouts)], strict=True)
                )
            ],
        )
        for number in range(len(instants_ms))
    ]
    return Manifest(layouts=tuple(layouts)), scans


def with_noise(scans: Scans) -> Scans:
    """Let every value flicker by a thousandth in all digits that a float32 has."""
    chance = random.Random(2)

    def flicker(value: float | None) -> float | None:
        if value is None:
            return None
        single = struct.unpack(">f", struct.pack(">f", value * chance.gauss(1, 1e-3)))[0]
        return float(shortest_float32(single))

    return [
        (at_ms, [replace(scan, values=tuple(map(flicker, scan.values))) for scan in instant])
        for at_ms, instant in scans
    ]


def make_layout(meter_id: str, profile: Profile, points: Sequence[str]) -> Layout:
    """Describe a meter's scan as the agent does."""
    chosen = [profile.get_point(name) for name in points if name != SERIAL_POINT]
    return Layout(
        meter=meter_id,
        profile=profile.id,
        period_s=60,
        points=tuple(
            ManifestPoint(name=point.name, quantity=point.quantity, unit=point.unit, kind=point.kind)
            for point in chosen
        ),
    )


def make_scan(index: int, layout: Layout, observed_at_ms: int, values: Mapping[str, float]) -> Scan:
    """Make the scan that an agent would store of a frame."""
    row = tuple(values.get(point.name) for point in layout.points)
    quality = tuple(Quality.GOOD if value is not None else Quality.NOT_AVAILABLE for value in row)
    return Scan(index, observed_at_ms, row, quality if any(quality) else None)


def measure(way: Callable[[Manifest, Scans], Iterator[int]], manifest: Manifest, scans: Scans) -> float:
    """Return bytes per reading."""
    readings = sum(len(scan.values) for _, instant in scans for scan in instant)
    return sum(way(manifest, scans)) / readings


def batches(manifest: Manifest, scans: Scans) -> Iterator[int]:
    """Encode as an agent does, 30 instants to a batch, and check that the batch comes back as it went in."""
    yield from _batches(manifest, scans, SAMPLES)


def single_instants(manifest: Manifest, scans: Scans) -> Iterator[int]:
    """Encode each instant by itself."""
    yield from _batches(manifest, scans, 1)


def _batches(manifest: Manifest, scans: Scans, samples: int) -> Iterator[int]:
    stream_id, sequence = bytes(range(16)), 1
    for start in range(0, len(scans), samples):
        contents = [scan for _, instant in scans[start : start + samples] for scan in instant]
        entries = [Entry(sequence + offset, scan) for offset, scan in enumerate(contents)]
        payload = encode_batch(stream_id=stream_id, manifest_hash=manifest.hash, entries=entries)
        if decode_batch(payload, manifest).entries != tuple(entries):
            raise RuntimeError("the codec altered a reading")
        sequence += len(entries)
        yield len(payload)


def json_messages(manifest: Manifest, scans: Scans) -> Iterator[int]:
    """Write each reading as the JSON object that telemetry commonly is."""
    for _, instant in scans:
        for scan in instant:
            layout = manifest.layouts[scan.layout]
            for point, value in zip(layout.points, scan.values, strict=True):
                reading = {"meter": layout.meter, "point": point.name, "ts": scan.observed_at_ms, "value": value}
                yield len(json.dumps(reading, separators=(",", ":")).encode())


def sparkplug(_: Manifest, scans: Scans) -> Iterator[int]:
    """Count a Sparkplug B DDATA message per scan: alias, datatype and a double per metric.

    Source: Eclipse Sparkplug 3.0, Payload: timestamp (1), metrics (2), seq (3); Metric: alias (2),
    datatype (4), double_value (13).
    """
    for _at_ms, instant in scans:
        for scan in instant:
            size = 1 + varint_size(scan.observed_at_ms) + 1 + 1
            for alias, value in enumerate(scan.values):
                metric = 1 + varint_size(alias + scan.layout * 20) + 1 + 1 + (9 if value is not None else 2)
                size += 1 + varint_size(metric) + metric
            yield size


def varint_size(number: int) -> int:
    """Return the bytes that protobuf takes for a whole number."""
    return max(1, (number.bit_length() + 6) // 7)


if __name__ == "__main__":
    sys.exit(main())
