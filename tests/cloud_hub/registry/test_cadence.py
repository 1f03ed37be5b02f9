"""A point is expected as often as the manifest in use says, and not at all when it is read on demand only."""

import pytest
from factories import make_layout
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.registry.cadence import adopt_manifest
from cloud_hub.registry.models import Meter, Point
from cloud_hub.registry.service import register_controller, register_manifest, register_site
from protocol.manifest import Layout, Manifest

CONTROLLER = "north-1"


def layout(meter: str, points: int, period_s: float, *, on_demand: bool = False) -> Layout:
    return make_layout(meter, points).model_copy(update={"period_s": period_s, "on_demand": on_demand})


@pytest.fixture
def _controller(session: Session) -> None:
    register_site(session, "north", "North hut")
    register_controller(session, CONTROLLER, site_slug="north")
    session.commit()


def adopt(session: Session, *layouts: Layout) -> Manifest:
    manifest = Manifest(layouts=layouts)
    register_manifest(session, CONTROLLER, manifest.body)
    adopt_manifest(session.connection(), CONTROLLER, manifest.hash)
    session.expire_all()
    return manifest


def periods(session: Session) -> dict[str, float | None]:
    return {point.name: point.period_s for point in session.scalars(select(Point).order_by(Point.name))}


@pytest.mark.usefixtures("_controller")
def test_a_point_of_two_layouts_is_as_fresh_as_the_quicker(session: Session) -> None:
    adopt(session, layout("m", 2, 1800), layout("m", 1, 60))
    assert periods(session) == {"voltage_0": 60, "voltage_1": 1800}
    assert session.scalars(select(Meter.period_s)).one() == 60


@pytest.mark.usefixtures("_controller")
def test_what_is_read_on_demand_is_not_expected(session: Session) -> None:
    adopt(session, layout("m", 2, 5, on_demand=True), layout("m", 1, 900))
    assert periods(session) == {"voltage_0": 900, "voltage_1": None}
    assert session.scalars(select(Meter.period_s)).one() == 900


@pytest.mark.usefixtures("_controller")
def test_what_a_new_configuration_leaves_out_is_not_expected_any_more(session: Session) -> None:
    first = adopt(session, layout("m", 2, 60))
    adopt(session, layout("m", 1, 30))
    assert periods(session) == {"voltage_0": 30, "voltage_1": None}
    adopt_manifest(session.connection(), CONTROLLER, first.hash)
    session.expire_all()
    assert periods(session) == {"voltage_0": 60, "voltage_1": 60}


@pytest.mark.usefixtures("_controller")
def test_an_unknown_manifest_changes_nothing(session: Session) -> None:
    adopt(session, layout("m", 1, 60))
    adopt_manifest(session.connection(), CONTROLLER, b"?" * 16)
    assert periods(session) == {"voltage_0": 60}
