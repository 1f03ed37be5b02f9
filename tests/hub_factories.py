"""Makers of rows in the hub's database for tests; what a test is about, it changes by keyword."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from cloud_hub.organisations.models import Organisation
from cloud_hub.readings.models import GapRecord, ScanLatest, Stream, scans
from cloud_hub.registry.models import Controller, Meter, Point, Site, StoredLayout
from protocol.quality import has_value

START = datetime(2026, 1, 31, 12, tzinfo=UTC)

Reading = float | tuple[float | None, int]
"""A good value, or a value and its quality code."""


def add_organisation(session: Session, slug: str, *, parent_id: int = 1) -> Organisation:
    """Add an organisation below another."""
    organisation = Organisation(slug=slug, name=f"{slug} Ltd", parent_id=parent_id)
    session.add(organisation)
    session.flush()
    return organisation


def add_site(
    session: Session,
    slug: str = "north",
    *,
    name: str = "North hut",
    time_zone: str = "Europe/Berlin",
    organisation_id: int = 1,
) -> Site:
    """Add a site."""
    site = Site(slug=slug, name=name, time_zone=time_zone, organisation_id=organisation_id)
    session.add(site)
    session.flush()
    return site


def add_controller(
    session: Session,
    site: Site,
    controller_id: str = "north-1",
    *,
    presence: str | None = "online",
    last_seen_at: datetime | None = START,
) -> Controller:
    """Add a controller."""
    controller = Controller(
        id=controller_id,
        site_id=site.id,
        presence=presence,
        presence_at=last_seen_at,
        last_seen_at=last_seen_at,
        agent_version="0.1.0",
    )
    session.add(controller)
    session.flush()
    return controller


def add_meter(
    session: Session,
    controller: Controller,
    slug: str = "heater",
    *,
    label: str = "",
    profile: str = "eastron-sdm120",
    period_s: float = 1.0,
) -> Meter:
    """Add a meter behind a controller."""
    meter = Meter(
        controller_id=controller.id,
        site_id=controller.site_id,
        slug=slug,
        label=label,
        profile=profile,
        period_s=period_s,
    )
    session.add(meter)
    session.flush()
    return meter


def add_point(
    session: Session,
    meter: Meter,
    name: str = "active_power_total",
    *,
    quantity: str = "active_power",
    unit: str = "W",
    kind: str = "gauge",
) -> Point:
    """Add a point of a meter."""
    point = Point(meter_id=meter.id, name=name, quantity=quantity, unit=unit, kind=kind, period_s=meter.period_s)
    session.add(point)
    session.flush()
    return point


def add_layout(session: Session, meter: Meter, points: Sequence[Point]) -> StoredLayout:
    """Add a layout, unless the meter has it already."""
    point_ids = [point.id for point in points]
    known = session.scalars(select(StoredLayout).where(StoredLayout.meter_id == meter.id))
    for layout in known:
        if layout.point_ids == point_ids:
            return layout
    layout = StoredLayout(meter_id=meter.id, point_ids=point_ids)
    session.add(layout)
    session.flush()
    return layout


def add_scans(
    session: Session,
    meter: Meter,
    points: Sequence[Point],
    rows: Sequence[Sequence[Reading]],
    *,
    start: datetime = START,
    step_s: float | None = None,
) -> None:
    """Add scans, one each `step_s` (left out: the meter's period), and keep the newest as ingest does."""
    layout = add_layout(session, meter, points)
    step = timedelta(seconds=meter.period_s if step_s is None else step_s)
    added = [_scan(meter, layout, start + n * step, row) for n, row in enumerate(rows)]
    session.execute(insert(scans), added)
    latest = session.get(ScanLatest, layout.id)
    if latest is None:
        session.add(ScanLatest(**added[-1]))
    elif latest.observed_at <= added[-1]["observed_at"]:
        latest.observed_at, latest.values = added[-1]["observed_at"], added[-1]["values"]
        latest.quality = added[-1]["quality"]
    session.flush()


def add_stream(
    session: Session,
    controller: Controller,
    stream_id: bytes = b"s" * 16,
    *,
    committed: str = "{}",
    gaps: str = "{}",
    quarantined: str = "{}",
    announced_next: int = 1,
) -> Stream:
    """Add a stream; the sets are written as PostgreSQL writes them, such as `{[1,10]}`."""
    stream = Stream(controller_id=controller.id, stream_id=stream_id, announced_next=announced_next)
    session.add(stream)
    session.flush()
    session.execute(
        text(
            "UPDATE streams SET committed = CAST(:committed AS int8multirange), gaps = CAST(:gaps AS int8multirange), "
            "quarantined = CAST(:quarantined AS int8multirange) WHERE id = :id"
        ),
        {"committed": committed, "gaps": gaps, "quarantined": quarantined, "id": stream.id},
    )
    return stream


def add_gap_record(session: Session, stream: Stream, first: int, last: int, *, reason: int) -> None:
    """Add a gap record over the numbers from `first` to `last`."""
    session.execute(
        text(
            f"INSERT INTO {GapRecord.__tablename__} (stream_pk, controller_id, sequences, reason) "
            "VALUES (:stream, :controller, int8range(:first, :last, '[]'), :reason)"
        ),
        {"stream": stream.id, "controller": stream.controller_id, "first": first, "last": last, "reason": reason},
    )


def _scan(meter: Meter, layout: StoredLayout, at: datetime, row: Sequence[Reading]) -> dict[str, Any]:
    pairs = [reading if isinstance(reading, tuple) else (reading, 0) for reading in row]
    assert all((value is not None) == has_value(code) for value, code in pairs)
    quality = [code for _, code in pairs]
    return {
        "observed_at": at,
        "meter_id": meter.id,
        "layout_id": layout.id,
        "values": [float(np.nan) if value is None else value for value, _ in pairs],
        "quality": quality if any(quality) else None,
    }
