"""Makers of valid objects for tests; what a test is about, it changes by keyword."""

from collections.abc import Sequence

from protocol.manifest import Layout, Manifest, ManifestPoint, PointKind


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
