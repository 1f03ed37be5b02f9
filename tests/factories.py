"""Makers of valid objects for tests; what a test is about, it changes by keyword."""

from collections.abc import Sequence
from typing import Any

from protocol.manifest import Layout, Manifest, ManifestPoint, PointKind
from protocol.profile import Point, Profile


def make_layout(meter: str = "meter-0", points: int = 3, *, profile: str = "eastron-sdm120") -> Layout:
    """Make a layout of `points` voltage points."""
    return Layout(
        meter=meter,
        profile=profile,
        period_s=60,
        points=tuple(
            ManifestPoint(name=f"voltage_{n}", quantity="voltage", unit="V", kind=PointKind.GAUGE)
            for n in range(points)
        ),
    )


def make_manifest(points_per_layout: Sequence[int] = (3,)) -> Manifest:
    """Make a manifest with one layout per number: as many points as it says, on meters `meter-0` and so on."""
    return Manifest(
        layouts=tuple(make_layout(f"meter-{index}", points) for index, points in enumerate(points_per_layout))
    )


def make_point(name: str = "voltage_l1_n", **changes: Any) -> Point:
    """Make a readable uint16 voltage point in holding register 0."""
    plain = {"address": 0, "table": "holding_register", "type": "uint16", "quantity": "voltage"}
    return Point.model_validate({"name": name, **plain, **changes})


def make_profile(*points: Point, **changes: Any) -> Profile:
    """Make a Modbus TCP profile with these points, or with one."""
    plain = {
        "id": "test-meter",
        "manufacturer": "Test",
        "model": "Test",
        "category": "electricity_meter",
        "confidence": "low",
        "sources": ["made for a test"],
        "modbus": {"transports": ["tcp"], "default_unit_id": 1},
        "points": points or (make_point(),),
    }
    return Profile.model_validate({**plain, **changes})
