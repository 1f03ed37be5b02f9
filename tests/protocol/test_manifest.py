"""A manifest's bytes are read whatever release wrote them, and stay small with many meters."""

import json

import pytest
from factories import make_layout, make_manifest

from protocol import limits
from protocol.errors import MalformedMessage
from protocol.manifest import Layout, Manifest, ManifestPoint, PointKind, parse_manifest
from protocol.messages import encode_manifest
from protocol.report_policy import Policy, Statistic

POINT = {"name": "voltage", "quantity": "voltage", "unit": "V", "kind": "gauge"}
LAYOUT = {"meter": "m-1", "label": "Mains", "profile": "eastron-sdm120", "period_s": 60.0, "points": [POINT]}


def test_bytes_of_the_first_version_are_read() -> None:
    manifest = parse_manifest(json.dumps({"version": 1, "layouts": [LAYOUT]}).encode())
    assert manifest.layouts == (Layout.model_validate(LAYOUT),)


def test_everything_that_a_layout_says_comes_back() -> None:
    mean = ManifestPoint(
        name="power_mean", quantity="active_power", unit="W", kind=PointKind.GAUGE, statistic=Statistic.MEAN
    )
    summed = make_layout().model_copy(update={"policy": Policy.AGGREGATE, "points": (mean,)})
    asked = make_layout("meter-1").model_copy(update={"on_demand": True, "label": "Kälte"})
    manifest = Manifest(layouts=(summed, asked, make_layout("meter-2")))
    assert parse_manifest(manifest.body) == manifest


def test_a_collector_of_a_thousand_sites_fits_one_message() -> None:
    layouts = tuple(
        make_layout(f"site-{site:04}-meter-{meter}", points=20) for site in range(1000) for meter in range(6)
    )
    manifest = Manifest(layouts=layouts)
    assert len(encode_manifest(manifest.body)) < limits.MESSAGE_BYTES_MAX / 2
    assert parse_manifest(manifest.body) == manifest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 3}, "version 3 is unknown"),
        ({"point_sets": []}, "names the points 0, and there are 0"),
        ({"layouts": [{"points": -1}]}, "names the points -1"),
        ({"layouts": [{"points": 0}]}, "meter"),
        ({"layouts": 7}, "layouts"),
    ],
)
def test_a_manifest_that_does_not_add_up_is_refused(change: dict[str, object], reason: str) -> None:
    written = json.loads(make_manifest().body) | change
    with pytest.raises(MalformedMessage, match=reason):
        parse_manifest(json.dumps(written).encode())
