"""Which site each meter of a controller belongs to: a collector polls the meters of many. Callers commit."""

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Controller, Meter, Site
from cloud_hub.registry.queries import UnknownController, UnknownSite
from cloud_hub.registry.service import MAIN, register_site

_NEEDED, _OFFERED = ("meter", "site"), ("meter", "site", "site_name", "time_zone", "organisation")


class UnknownMeter(NotFound):
    """The controller has no such meter."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A meter, and the site that it belongs to."""

    meter: str
    """Its id in the controller's configuration."""
    site: str
    """The site's slug."""
    site_name: str = ""
    """When given, the site is added under this name, or gets it."""
    time_zone: str = "UTC"
    """Goes with `site_name`."""
    organisation: str = MAIN
    """The slug of the site's organisation."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells a site from all others."""
        return self.organisation, self.site


@dataclass(frozen=True, slots=True)
class Assigned:
    """What came of assignments."""

    meters: int
    """How many were named."""
    moved: int
    """How many of them belonged to another site before."""


def assign_meters(session: Session, controller_id: str, assignments: Sequence[Assignment]) -> Assigned:
    """Let many meters belong to their sites, all or none; a meter that is named twice goes where it was named last.

    Raises: UnknownController, UnknownMeter, UnknownSite, UnknownOrganisation; Invalid for a site that cannot be.
    """
    # The lock keeps away a manifest that adds meters meanwhile, and another assignment.
    if session.scalars(select(Controller).where(Controller.id == controller_id).with_for_update()).first() is None:
        raise UnknownController(f"there is no controller {controller_id!r}: register it first")
    for site in {assignment.key: assignment for assignment in assignments if assignment.site_name}.values():
        register_site(session, site.site, site.site_name, time_zone=site.time_zone, organisation=site.organisation)
    wanted = {assignment.meter: assignment.key for assignment in assignments}
    found = session.scalars(select(Meter).where(Meter.controller_id == controller_id, Meter.slug.in_(wanted)))
    meters = {meter.slug: meter for meter in found}
    site_ids = _find_sites(session, set(wanted.values()))
    moved = 0
    for meter_slug, key in wanted.items():
        if meter_slug not in meters:
            raise UnknownMeter(
                f"controller {controller_id!r} has no meter {meter_slug!r}: correct it, or let the agent "
                "connect first, which names its meters"
            )
        if key not in site_ids:
            raise UnknownSite(
                f"there is no site {key[1]!r} in organisation {key[0]!r}: register it first, or give its 'site_name'"
            )
        moved += meters[meter_slug].site_id != site_ids[key]
        meters[meter_slug].site_id = site_ids[key]
    session.flush()
    return Assigned(len(wanted), moved)


def _find_sites(session: Session, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    query = select(Organisation.slug.label("organisation"), Site.slug, Site.id).join(
        Organisation, Organisation.id == Site.organisation_id
    )
    rows = session.execute(query.where(Site.slug.in_({slug for _, slug in keys})))
    return {(row.organisation, row.slug): row.id for row in rows}


def parse_assignments(lines: Iterable[str]) -> list[Assignment]:
    """Parse CSV whose first line names the columns `meter`, `site` and, as wanted, `site_name`, `time_zone` and `organisation`.

    Raises: Invalid naming the line.
    """
    reader = csv.DictReader(lines, strict=True, skipinitialspace=True)
    try:
        columns = reader.fieldnames or ()
        if not set(_NEEDED) <= set(columns) <= set(_OFFERED):
            raise Invalid(
                f"the first line names the columns {', '.join(columns) or 'none'}: "
                f"it needs {' and '.join(_NEEDED)}, and may have site_name, time_zone and organisation"
            )
        return [_parse_row(row, reader.line_num) for row in reader]
    except csv.Error as error:
        raise Invalid(f"line {reader.reader.line_num} is not CSV: {error}") from error


def _parse_row(row: dict[str | None, str | None], line: int) -> Assignment:
    given = {name: value.strip() for name, value in row.items() if name and value and value.strip()}
    if None in row or not set(_NEEDED) <= given.keys():
        raise Invalid(f"line {line} must have a meter and a site, and no more than the columns of the first line")
    return Assignment(**given)
