"""What exists is written once; what a manifest says becomes meters, points and layouts of its controller."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from factories import make_layout, make_manifest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.registry.models import ManifestLayout, Meter, Point, StoredLayout
from cloud_hub.registry.queries import UnknownController, UnknownSite
from cloud_hub.registry.service import register_controller, register_manifest, register_site
from protocol.errors import MalformedMessage
from protocol.manifest import Manifest


@pytest.fixture
def _controller(session: Session) -> None:
    register_site(session, "north", "North hut", time_zone="Europe/Berlin")
    register_controller(session, "north-1", site_slug="north")
    session.commit()


def counts(session: Session) -> tuple[int, int, int]:
    """Return how many meters, points and layouts there are."""
    found = [session.scalar(select(func.count()).select_from(table)) or 0 for table in (Meter, Point, StoredLayout)]
    return found[0], found[1], found[2]


@pytest.mark.parametrize(
    ("slug", "name", "time_zone"),
    [("North Hut", "n", "UTC"), ("north", " ", "UTC"), ("north", "n\0", "UTC"), ("north", "n", "Europe/Nowhere")],
    ids=["slug", "no name", "unprintable name", "time zone"],
)
def test_a_site_that_cannot_be_is_refused(session: Session, slug: str, name: str, time_zone: str) -> None:
    with pytest.raises(Invalid):
        register_site(session, slug, name, time_zone=time_zone)


def test_registering_again_changes_what_may_change(session: Session) -> None:
    first = register_site(session, "north", "North")
    again = register_site(session, "north", "North hut", time_zone="Europe/Berlin")
    assert (first.id, again.name, again.time_zone) == (again.id, "North hut", "Europe/Berlin")


@pytest.mark.usefixtures("_controller")
def test_a_controller_stays_at_its_site(session: Session) -> None:
    register_site(session, "south", "South hut")
    assert register_controller(session, "north-1", site_slug="north").id == "north-1"
    with pytest.raises(Conflict, match="belongs to another site"):
        register_controller(session, "north-1", site_slug="south")
    with pytest.raises(UnknownSite, match="register it first"):
        register_controller(session, "west-1", site_slug="west")


@pytest.mark.usefixtures("_controller")
def test_a_manifest_is_taken_in_once(session: Session) -> None:
    manifest = make_manifest((3, 2))
    assert register_manifest(session, "north-1", manifest.body) == manifest.hash
    assert register_manifest(session, "north-1", manifest.body) == manifest.hash
    assert counts(session) == (2, 5, 2)


@pytest.mark.usefixtures("_controller")
def test_another_manifest_shares_what_is_alike(session: Session) -> None:
    register_manifest(session, "north-1", make_manifest((3, 2)).body)
    wider = make_manifest((3, 4))
    register_manifest(session, "north-1", wider.body)
    assert counts(session) == (2, 7, 3)
    rows = session.scalars(
        select(ManifestLayout).where(ManifestLayout.manifest_hash == wider.hash).order_by(ManifestLayout.index)
    )
    layouts = [session.get_one(StoredLayout, row.layout_id) for row in rows]
    assert [len(layout.point_ids) for layout in layouts] == [3, 4]


@pytest.mark.usefixtures("_controller")
def test_columns_follow_the_manifests_order_even_when_it_changes(session: Session) -> None:
    layout = make_layout(points=3)
    turned = layout.model_copy(update={"points": tuple(reversed(layout.points))})
    for one in (layout, turned):
        register_manifest(session, "north-1", Manifest(layouts=(one,)).body)
    first, second = session.scalars(select(StoredLayout).order_by(StoredLayout.id))
    assert second.point_ids == list(reversed(first.point_ids))
    assert counts(session) == (1, 3, 2)


@pytest.mark.usefixtures("_controller")
def test_layouts_of_one_meter_share_it_and_its_shortest_period_counts(session: Session) -> None:
    slow = make_layout(points=2).model_copy(update={"period_s": 600.0})
    register_manifest(session, "north-1", Manifest(layouts=(slow, make_layout(points=3))).body)
    assert session.scalars(select(Meter.period_s)).all() == [60]
    assert counts(session) == (1, 3, 2)


@pytest.mark.usefixtures("_controller")
def test_a_point_that_becomes_another_is_said(session: Session) -> None:
    layout = make_layout(points=1)
    register_manifest(session, "north-1", Manifest(layouts=(layout,)).body)
    point = layout.points[0].model_copy(update={"unit": "kV"})
    with capture_logs() as logs:
        changed = Manifest(layouts=(layout.model_copy(update={"points": (point,)}),))
        register_manifest(session, "north-1", changed.body)
    assert [(entry["event"], entry["before"], entry["now"]) for entry in logs] == [("point_redefined", "V", "kV")]
    assert session.scalars(select(Point.unit)).all() == ["kV"]


def test_a_manifest_needs_its_controller(session: Session) -> None:
    with pytest.raises(UnknownController, match="register it first"):
        register_manifest(session, "nobody", make_manifest().body)


@pytest.mark.usefixtures("_controller")
def test_a_manifest_that_does_not_parse_leaves_nothing(session: Session) -> None:
    with pytest.raises(MalformedMessage):
        register_manifest(session, "north-1", b"{}x")
    assert counts(session) == (0, 0, 0)


@pytest.mark.usefixtures("_controller")
def test_two_processes_that_hear_the_same_manifests_add_each_thing_once(engine: Engine) -> None:
    bodies = [make_manifest((3, 2)).body, make_manifest((3, 4)).body] * 3

    def register(body: bytes) -> None:
        with Session(engine) as session, session.begin():
            register_manifest(session, "north-1", body)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(register, bodies))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM layouts")).scalar_one() == 3
        assert connection.execute(text("SELECT count(*) FROM points")).scalar_one() == 7
