"""Shapes of what is registered and changed, as requests bring them."""

from typing import Annotated, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cloud_hub.access.references import ControllerName, Id, OrganisationName, SiteName
from cloud_hub.access.references import MeterId as MeterNumber
from cloud_hub.access.subjects import Names
from cloud_hub.registry.models import LifeCycle, MeterRole
from cloud_hub.registry.schemas import Address, Position
from cloud_hub.web.documents import Document
from cloud_hub.web.pagination import ListQuery
from cloud_hub.web.ranges import InstantIn
from protocol.identifiers import BusId, ControllerId, MeterId, ProfileId, SiteId
from protocol.line_config import LineConfig

BULK_MAX = 1000

GroupId = Annotated[Id, Names("group")]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Label = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Why = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[^\s,\x00-\x1f\x7f]+$")]
Tags = Annotated[tuple[Tag, ...], Field(max_length=50), AfterValidator(lambda tags: tuple(sorted(set(tags))))]
"""Words without spaces and commas; answered in order, each once."""
Owners = Annotated[tuple[Id, ...], Field(max_length=50), AfterValidator(lambda ids: tuple(sorted(set(ids))))]
UnitId = Annotated[int, Field(ge=0, le=255)]
PeriodS = Annotated[float, Field(ge=0.05, le=86_400)]
Begins = Literal[LifeCycle.PLANNED, LifeCycle.COMMISSIONED, LifeCycle.IN_SERVICE]
"""Where in its life something may be when it is registered."""


def check_zone(name: str) -> str:
    """Return the name of a time zone that there is.

    Raises: ValueError.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone: use a name such as 'Europe/Berlin'") from error
    return name


TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(check_zone)]
"""An IANA name, such as `Europe/Berlin`."""


class Changes(Document):
    """What is to change of a thing: what is left out stays."""

    clears: ClassVar[frozenset[str]] = frozenset()
    """Fields that null empties."""

    @model_validator(mode="after")
    def _is_a_change(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"nothing is to change: send at least one of {', '.join(type(self).model_fields)}")
        for name in self.model_fields_set - self.clears:
            if getattr(self, name) is None:
                raise ValueError(f"{name} is null: leave it out to keep what is there")
        return self

    def given(self) -> dict[str, object]:
        """Return what was sent, by its name."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class SitePart(Document):
    """A site to be registered, whosever it is."""

    slug: SiteId
    name: Name
    time_zone: TimeZone = "UTC"
    address: Address = Address()
    position: Position | None = None
    tags: Tags = ()
    state: Begins = LifeCycle.PLANNED


class SiteIn(SitePart):
    """A site to be registered."""

    organisation: OrganisationName | None = None
    """Left out: the one organisation in which you may register sites."""


class SiteChanges(Changes):
    """What is to change of a site."""

    clears: ClassVar[frozenset[str]] = frozenset({"position"})

    name: Name | None = None
    time_zone: TimeZone | None = None
    """With another one its days are others: its ledger is laid out anew."""
    address: Address | None = None
    """Replaced as a whole."""
    position: Position | None = None
    tags: Tags | None = None


class SiteMove(Document):
    """The organisation that a site shall belong to from now on."""

    organisation: OrganisationName
    why: Why = ""


class SitesQuery(ListQuery):
    """Which sites are wanted."""

    organisation: OrganisationName | None = None
    """Of this organisation and of those below it."""
    tag: Annotated[tuple[Tag, ...], Field(max_length=10)] = ()
    """With all of these tags."""
    text: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """In the slug, the name or the address, in whatever case."""
    state: LifeCycle | None = None


class ControllerIn(Document):
    """A controller to be registered; its id is unique in the whole hub."""

    id: ControllerId
    site: SiteName
    label: Label = ""
    state: Begins = LifeCycle.PLANNED


class ControllerChanges(Changes):
    """What is to change of a controller."""

    label: Label | None = None


class ControllerMove(Document):
    """The site that a controller shall belong to from now on."""

    site: SiteName
    with_meters: bool = True
    """Whether its meters that belong to its present site go along."""
    why: Why = ""


class BusIn(LineConfig):
    """A line of a controller, as its configuration describes it."""


class MeterPart(Document):
    """What may be said of a meter when it is registered."""

    label: Label = ""
    profile: ProfileId
    serial_number: Label = ""
    role: MeterRole = MeterRole.OTHER
    unit_id: UnitId | None = None
    period_s: PeriodS = 60
    """Seconds between samples, until its controller says it."""
    state: Begins = LifeCycle.PLANNED
    owners: Owners = ()
    """Ids of users, members of the site's organisation."""


class MeterIn(MeterPart):
    """A meter to be registered behind its controller."""

    controller: ControllerName
    slug: MeterId
    """Its id in the controller's configuration."""
    site: SiteName | None = None
    """Left out: its controller's."""
    bus: BusId | None = None
    """One of its controller's buses."""
    parent_id: MeterNumber | None = None
    """The meter upstream, of the same site."""
    parent: MeterId | None = None
    """The same by its slug, behind the same controller; it may come earlier in the same list."""

    @model_validator(mode="after")
    def _has_one_parent(self) -> Self:
        if self.parent is not None and self.parent_id is not None:
            raise ValueError("parent and parent_id are both there: send one of them")
        return self


class MeterChanges(Changes):
    """What is to change of a meter."""

    clears: ClassVar[frozenset[str]] = frozenset({"parent_id", "bus", "unit_id"})

    label: Label | None = None
    profile: ProfileId | None = None
    """To correct it; a device that was exchanged is recorded as an exchange."""
    serial_number: Label | None = None
    role: MeterRole | None = None
    bus: BusId | None = None
    unit_id: UnitId | None = None
    period_s: PeriodS | None = None
    parent_id: MeterNumber | None = None
    site: SiteName | None = None
    """Where it belongs from now on; in another zone its ledger is laid out anew."""
    owners: Owners | None = None


class MetersQuery(ListQuery):
    """Which meters are wanted."""

    site: SiteName | None = None
    controller: ControllerName | None = None
    organisation: OrganisationName | None = None
    """Of this organisation and of those below it."""
    group: GroupId | None = None
    parent_id: MeterNumber | None = None
    owner: Id | None = None
    """A user whom they belong to."""
    role: MeterRole | None = None
    state: LifeCycle | None = None
    text: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """In the slug, the label or the serial number, in whatever case."""


class StepIn(Document):
    """A step in a life."""

    to: LifeCycle
    at: InstantIn | None = None
    """When it was; left out: now."""
    why: Why = ""


class EndingStepIn(StepIn):
    """A step in the life of a site or of a controller."""

    with_parts: bool = False
    """Whether to retire all that belongs to it too."""


class MeterStepIn(StepIn):
    """A step in the life of a meter."""

    replaced_by: MeterNumber | None = None
    """The meter of the same site that measures in its place, with `to` replaced."""

    @model_validator(mode="after")
    def _says_by_what(self) -> Self:
        if (self.to is LifeCycle.REPLACED) != (self.replaced_by is not None):
            raise ValueError(
                "replaced_by goes with `to` replaced, and names the meter that measures from then on; "
                "another device at the same place is an exchange: POST /meters/{id}/exchange"
            )
        return self


class PointChanges(Changes):
    """What is to change of a point."""

    label: Label | None = None


class GroupIn(Document):
    """A group of meters."""

    slug: SiteId
    name: Name
    organisation: OrganisationName | None = None
    """Left out: the one organisation in which you may make groups."""
    meters: Annotated[tuple[MeterNumber, ...], Field(max_length=BULK_MAX)] = ()


class GroupChanges(Changes):
    """What is to change of a group."""

    name: Name | None = None
    meters: Annotated[tuple[MeterNumber, ...], Field(max_length=BULK_MAX)] | None = None
    """All that belong to it from now on."""


class GroupsQuery(ListQuery):
    """Which groups are wanted."""

    organisation: OrganisationName | None = None
    """Of this organisation and of those below it."""


class BulkQuery(Document):
    """How many things are registered at once."""

    partial: bool = False
    """Whether those that can be are registered when others cannot; else it is all or nothing."""


class SitesIn(Document):
    """Sites to be registered."""

    items: Annotated[tuple[SiteIn, ...], Field(min_length=1, max_length=BULK_MAX)]


class MetersIn(Document):
    """Meters to be registered, parents before those below them."""

    items: Annotated[tuple[MeterIn, ...], Field(min_length=1, max_length=BULK_MAX)]
