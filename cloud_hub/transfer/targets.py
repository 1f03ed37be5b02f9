"""Which meters and points of the registry the names of a file mean; those that are missing, made on request."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid
from cloud_hub.registry import queries
from cloud_hub.registry.models import Controller, Meter, Point, Site
from cloud_hub.registry.service import register_controller
from cloud_hub.transfer.plan import PlannedSeries, Rejections
from protocol.errors import InvalidIdentifier
from protocol.identifiers import IDENTIFIER_LENGTH_MAX, parse_slug
from protocol.quantities import NOT_MEASURED, QUANTITIES, Quantity

IMPORTED = "imported"
"""The profile of meters that are known from files only: it names no model."""

_NO_SLUG = re.compile(r"[^a-z0-9._-]+")
_PERIOD_S = 1_800.0
"""Of a meter with a single reading, from which no period can be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the readings of a file belong. One of `controller` and `site` is named."""

    controller: str | None = None
    """The controller behind which the meters are."""
    site: str | None = None
    """The site whose meters they are, whichever controller they are behind."""
    creates: bool = False
    """Whether meters and points that are missing are made: behind `controller`, else behind `import-<site>`."""
    profile: str = IMPORTED
    """Of meters that are made."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Readings that have found their point."""

    series: PlannedSeries
    meter: Meter
    point: Point
    is_new: bool
    """Whether the point was made just now, so that it can have no readings."""
    is_new_meter: bool


def place(session: Session, target: Target, series: Sequence[PlannedSeries], rejections: Rejections) -> list[Placed]:
    """Find, or make, the point of each series; one that has none is noted among the rejections and left out.

    Raises: NotFound for an unknown site or controller, Invalid when it is not clear which is meant.
    """
    if (target.controller is None) == (target.site is None):
        raise Invalid("it is not said whose meters these are: name the site, or the controller, and not both")
    placer = _Placer(session, target, rejections)
    placed: dict[int, Placed] = {}
    for one in series:
        found = placer.place(one, [other for other in series if other.meter == one.meter])
        if found is None:
            continue
        if found.point.id in placed:
            other = placed[found.point.id].series.meter
            placer.reject(one, "meter", one.meter, f"is the same meter as {other!r}", "use one name for it in the file")
            continue
        placed[found.point.id] = found
    return list(placed.values())


class _Placer:
    """Remembers the meters and points that were found or made."""

    def __init__(self, session: Session, target: Target, rejections: Rejections) -> None:
        self._session, self._target, self._rejections = session, target, rejections
        self._made: set[int] = set()
        if target.controller is not None:
            queries.get_controller(session, target.controller)
            of_these = Meter.controller_id == target.controller
        else:
            # The lock lets one import at a time make a site's meters.
            query = select(Site).where(Site.slug == target.site)
            session.execute(query.with_for_update() if target.creates else query)
            of_these = Meter.site_id == queries.get_site(session, str(target.site)).id
        self._meters = list(session.scalars(select(Meter).where(of_these).order_by(Meter.id)))
        points = queries.list_points(session, [meter.id for meter in self._meters])
        self._points = {(point.meter_id, point.name): point for point in points}

    def reject(self, series: PlannedSeries, column: str, given: str, reason: str, remedy: str) -> None:
        """Refuse a whole series, at the line of its first reading."""
        count = len(series)
        told = reason if count == 1 else f"{reason} ({count:,} readings)"
        self._rejections.add(int(series.line.min()), column, given, told, remedy)

    def place(self, series: PlannedSeries, of_meter: Sequence[PlannedSeries]) -> Placed | None:
        """Find or make the point of a series; `of_meter` are all series of its meter."""
        meter = self._find_meter(series)
        if meter is None:
            if not self._target.creates:
                return None
            meter = self._make_meter(series.meter, of_meter)
        point = self._points.get((meter.id, series.point))
        is_new = point is None
        if point is None:
            point = self._make_point(meter, series)
        if point is None:
            return None
        if series.unit not in {None, point.unit}:
            self.reject(
                series,
                series.column,
                series.unit or "",
                f"is not the unit of {series.point}, which is {point.unit!r}",
                "name the right point or unit",
            )
            return None
        return Placed(series, meter, point, is_new, meter.id in self._made)

    def _find_meter(self, series: PlannedSeries) -> Meter | None:
        name = series.meter
        found = [meter for meter in self._meters if meter.slug == name]
        found = found or [meter for meter in self._meters if meter.label == name]
        if len(found) > 1:
            behind = ", ".join(sorted({meter.controller_id for meter in found}))
            raise Invalid(f"the site has several meters {name!r} (behind {behind}): name the controller instead")
        if not found and not self._target.creates:
            self.reject(series, "meter", name, "is no meter there", "correct it, or make it with --create-meters")
        return found[0] if found else None

    def _make_meter(self, name: str, of_meter: Sequence[PlannedSeries]) -> Meter:
        controller = self._controller()
        slug = _slug(name)
        if any(meter.slug == slug and meter.controller_id == controller.id for meter in self._meters):
            raise Invalid(
                f"the meters of the file cannot be told apart by their ids: {name!r} becomes {slug!r} as well"
            )
        meter = Meter(
            controller_id=controller.id,
            slug=slug,
            site_id=controller.site_id,
            label="" if slug == name else name,
            profile=self._target.profile,
            period_s=min(_period_s(one) for one in of_meter),
        )
        self._session.add(meter)
        self._session.flush()
        self._meters.append(meter)
        self._made.add(meter.id)
        return meter

    def _controller(self) -> Controller:
        if self._target.controller is not None:
            return queries.get_controller(self._session, self._target.controller)
        site = str(self._target.site)
        controller_id = f"import-{site}"[:IDENTIFIER_LENGTH_MAX].rstrip("._-")
        return register_controller(self._session, controller_id, site_slug=site)

    def _make_point(self, meter: Meter, series: PlannedSeries) -> Point | None:
        if not self._target.creates:
            known = sorted(name for meter_id, name in self._points if meter_id == meter.id)
            remedy = (
                f"name one of its points ({', '.join(known[:8]) or 'it has none'}), or make it with --create-meters"
            )
            self.reject(series, series.column, series.point, f"is no point of meter {meter.slug!r}", remedy)
            return None
        quantity = quantity_of(series.point)
        if quantity is None:
            remedy = "begin the point's name with its quantity, such as energy_active_import_total"
            self.reject(series, series.column, series.point, "does not say what is measured", remedy)
            return None
        point = Point(
            meter_id=meter.id,
            name=series.point,
            quantity=quantity.name,
            unit=quantity.unit,
            kind=quantity.kind.value,
            # A file promises no further readings: their absence means nothing.
            period_s=None,
        )
        self._session.add(point)
        self._session.flush()
        self._points[meter.id, series.point] = point
        return point


def quantity_of(point_name: str) -> Quantity | None:
    """Return the measured quantity that a point's name begins with, the longest of several.

    Its words may come in any order: profiles say `energy_active_import_total`.
    """
    words = point_name.split("_")
    measured = {frozenset(name.split("_")): name for name in QUANTITIES if name not in NOT_MEASURED}
    beginnings = (frozenset(words[:count]) for count in range(len(words), 0, -1))
    return next((QUANTITIES[measured[beginning]] for beginning in beginnings if beginning in measured), None)


def _slug(name: str) -> str:
    slug = _NO_SLUG.sub("-", name.lower()).strip("._-")[:IDENTIFIER_LENGTH_MAX].rstrip("._-")
    try:
        return parse_slug(slug)
    except InvalidIdentifier as error:
        raise Invalid(f"the meter {name!r} has no name to make an id of: give it one in letters or digits") from error


def _period_s(series: PlannedSeries) -> float:
    return float(np.median(np.diff(series.observed_at_ms))) / 1000 if len(series) > 1 else _PERIOD_S
