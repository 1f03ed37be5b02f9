"""A collector's meters belong to the sites that somebody named, wherever their controller stands."""

from datetime import date
from pathlib import Path

import pytest
from factories import make_layout
from flask.testing import FlaskClient
from hub_factories import START, add_controller, add_meter, add_organisation, add_point, add_scans, add_site
from ledger_rows import add_day
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.cli import main
from cloud_hub.errors import Invalid
from cloud_hub.ledger.models import Dirty, LedgerDay
from cloud_hub.registry.assignment import (
    Assigned,
    Assignment,
    UnknownMeter,
    assign_meters,
    parse_assignments,
)
from cloud_hub.registry.models import Meter, Site
from cloud_hub.registry.queries import UnknownController, UnknownSite
from cloud_hub.registry.service import register_manifest
from protocol.manifest import Manifest


@pytest.fixture
def _collector(session: Session) -> None:
    """A controller that polls three meters."""
    controller = add_controller(session, add_site(session, "collector", name="Collector"), "collector-1")
    for slug in ("a", "b", "c"):
        add_meter(session, controller, slug)
    add_site(session, "north", name="North hut")
    session.commit()


def assign(session: Session, meter: str, site: str, *, controller_id: str = "collector-1") -> None:
    """Let a meter belong to a site."""
    assign_meters(session, controller_id, [Assignment(meter, site)])


def sites_of_meters(session: Session) -> dict[str, str]:
    """Return the slug of each meter's site by the meter's."""
    found = session.execute(select(Meter.slug, Site.slug).join(Site, Site.id == Meter.site_id).order_by(Meter.slug))
    return {meter: site for meter, site in found.all()}  # noqa: C416 - rows are no pairs to mypy


@pytest.mark.usefixtures("_collector")
def test_a_meter_belongs_to_the_site_that_was_named(session: Session) -> None:
    assign(session, "b", "north")
    assert sites_of_meters(session) == {"a": "collector", "b": "north", "c": "collector"}


@pytest.mark.usefixtures("_collector")
def test_many_meters_go_at_once_and_new_sites_are_added(session: Session) -> None:
    wanted = [
        Assignment("a", "north"),
        Assignment("b", "south", "South hut", "Europe/Berlin"),
        Assignment("c", "south"),
    ]
    assert assign_meters(session, "collector-1", wanted) == Assigned(meters=3, moved=3)
    assert assign_meters(session, "collector-1", wanted) == Assigned(meters=3, moved=0)
    assert sites_of_meters(session) == {"a": "north", "b": "south", "c": "south"}
    south = session.scalars(select(Site).where(Site.slug == "south")).one()
    assert (south.name, south.time_zone) == ("South hut", "Europe/Berlin")


@pytest.mark.usefixtures("_collector")
def test_sites_of_the_same_slug_are_told_by_their_organisation(session: Session) -> None:
    alps = add_organisation(session, "alps")
    there = add_site(session, "north", organisation_id=alps.id)
    lines = ["meter,site,organisation,site_name\n", "a,north,alps,\n", "b,north,,\n", "c,new,alps,New hut\n"]
    assert assign_meters(session, "collector-1", parse_assignments(lines)) == Assigned(meters=3, moved=3)
    rows = session.execute(select(Meter.slug, Meter.organisation_id))
    assert {row.slug: row.organisation_id for row in rows} == {"a": alps.id, "b": 1, "c": alps.id}
    assert session.scalars(select(Meter.site_id).where(Meter.slug == "a")).one() == there.id
    with pytest.raises(UnknownSite, match="no site 'west' in organisation 'alps'"):
        assign_meters(session, "collector-1", [Assignment("a", "west", organisation="alps")])


@pytest.mark.usefixtures("_collector")
def test_what_is_not_there_is_named(session: Session) -> None:
    with pytest.raises(UnknownController, match="'collector-2': register it first"):
        assign(session, "a", "north", controller_id="collector-2")
    with pytest.raises(UnknownMeter, match="has no meter 'd'"):
        assign(session, "d", "north")
    with pytest.raises(UnknownSite, match="no site 'west'"):
        assign(session, "a", "west")


@pytest.mark.usefixtures("_collector")
def test_the_next_manifest_leaves_meters_where_they_were_put(session: Session) -> None:
    assign(session, "a", "north")
    manifest = Manifest(layouts=(make_layout("a", 2), make_layout("d", 2)))
    register_manifest(session, "collector-1", manifest.body)
    assert sites_of_meters(session) == {"a": "north", "b": "collector", "c": "collector", "d": "collector"}


def test_a_table_names_sites_with_and_without_a_name_of_their_own() -> None:
    lines = ["meter,site, site_name,time_zone\n", "a,north,,\n", "\n", 'b,south,"Hut, south",Europe/Berlin\n']
    assert parse_assignments(lines) == [
        Assignment("a", "north"),
        Assignment("b", "south", "Hut, south", "Europe/Berlin"),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "the columns none"),
        (["meter;site\n", "a;north\n"], "the columns meter;site"),
        (["meter,site\n", "a\n"], "line 2 must have a meter and a site"),
        (["meter,site\n", "a,north,x\n"], "line 2 must have a meter and a site"),
        (["meter,site\n", 'a,"north\n'], "line 2 is not CSV"),
    ],
    ids=["empty", "semicolons", "no site", "one too many", "open quote"],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        parse_assignments(lines)


@pytest.mark.usefixtures("_collector")
def test_the_command_takes_a_table(
    session: Session,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    table = tmp_path / "meters.csv"
    table.write_text("meter,site,site_name\na,north,\nb,south,South hut\n")
    assert main(["assign", "collector-1", str(table)]) == 0
    assert "2 meters belong to the sites named; 2 of them did not before." in capsys.readouterr().out
    assert sites_of_meters(session) == {"a": "north", "b": "south", "c": "collector"}
    table.write_text("meter,site\nc,north\nd,north\n")
    assert main(["assign", "collector-1", str(table)]) == 1
    assert "has no meter 'd'" in capsys.readouterr().err
    assert main(["assign", "collector-1", str(tmp_path / "none.csv")]) == 1
    assert "none.csv cannot be read: No such file" in capsys.readouterr().err
    session.rollback()
    assert sites_of_meters(session)["c"] == "collector"


@pytest.mark.usefixtures("_collector")
def test_the_page_shows_a_meter_at_its_site_and_who_polls_it(client: FlaskClient, session: Session) -> None:
    assign(session, "b", "north")
    meter = session.scalars(select(Meter).where(Meter.slug == "b")).one()
    add_scans(session, meter, [add_point(session, meter)], [[1_234.0]], start=START)
    session.commit()
    page = client.get("/").get_data(as_text=True)
    north = page[page.index('id="site-north"') :]
    assert "Polled by collector-1, which belongs to another site." in north
    assert f'/meters/{meter.id}"' in north
    assert "No controller is registered" not in page


@pytest.mark.usefixtures("_collector")
def test_meters_whose_time_zone_changes_get_their_ledger_laid_out_anew(
    session: Session, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = {meter.slug: meter for meter in session.scalars(select(Meter))}
    points = {slug: add_point(session, meters[slug], kind="counter") for slug in ("a", "b")}
    for slug, point in points.items():
        add_day(session, point, session.get_one(Site, meters[slug].site_id), date(2026, 3, 2), 1_000_000)
    session.commit()
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    table = tmp_path / "meters.csv"
    table.write_text("meter,site,site_name,time_zone\na,far,Far hut,Asia/Kathmandu\nb,near,Near hut,Europe/Berlin\n")
    assert main(["assign", "collector-1", str(table)]) == 0
    session.rollback()
    assert session.scalars(select(LedgerDay.point_id)).all() == [points["b"].id]
    assert session.scalars(select(Dirty.meter_id)).all() == [meters["a"].id]
