"""Shapes of the registration of a whole site: what is sent, and what came of it."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from cloud_hub.access.permissions import Permission
from cloud_hub.access.references import Id, OrganisationName
from cloud_hub.access.subjects import Names
from cloud_hub.calendar.hours import OperatingHours
from cloud_hub.registry.bodies import BULK_MAX, Begins, Label, MeterPart, Name, Owners, SitePart, Why
from cloud_hub.registry.models import LifeCycle
from cloud_hub.registry.schemas import SiteOut
from cloud_hub.web.documents import Document
from cloud_hub.web.ranges import DayIn, InstantIn
from protocol.identifiers import BusId, ControllerId, MeterId, SiteId
from protocol.line_config import LineConfig

_CONTROLLERS_MAX, _BUSES_MAX, _GROUPS_MAX = 100, 50, 100


class ControllerPart(Document):
    """A controller of the site, with its lines."""

    id: ControllerId
    """Unique in the whole hub."""
    label: Label = ""
    state: Begins = LifeCycle.PLANNED
    buses: Annotated[tuple[LineConfig, ...], Field(max_length=_BUSES_MAX)] = ()


class LocalMeter(MeterPart):
    """A meter of the site, told from the others by a name that holds in this request alone."""

    slug: MeterId
    """Its id in the controller's configuration."""
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """What `parent` and groups call it here; left out: its slug."""
    controller: ControllerId | None = None
    """One of those above; left out where there is only one."""
    bus: BusId | None = None
    """One of that controller's."""
    parent: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The name of the meter upstream."""

    @property
    def called(self) -> str:
        """What others in the request call it."""
        return self.name or self.slug


class GroupPart(Document):
    """A group of meters of the site."""

    slug: SiteId
    name: Name
    meters: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=BULK_MAX)] = ()
    """Names of meters."""


class HoursPart(Document):
    """The site's operating hours from a local date on; left out: since ever."""

    first_day: DayIn | None = None
    hours: OperatingHours


class TariffPart(Document):
    """The tariff of the site from an instant on."""

    tariff_id: Annotated[Id, Names("tariff", Permission.TARIFFS_READ)]
    valid_from: InstantIn


class RegistrationQuery(Document):
    """Whether to do it."""

    dry_run: bool = False
    """Whether only to say if it could be done: nothing is kept, and meters and groups have no ids."""


class RegistrationIn(Document):
    """A whole site: all of it, or nothing."""

    organisation: OrganisationName | None = None
    """Left out: the one organisation in which you may do all of this."""
    site: SitePart
    controllers: Annotated[tuple[ControllerPart, ...], Field(max_length=_CONTROLLERS_MAX)] = ()
    meters: Annotated[tuple[LocalMeter, ...], Field(max_length=BULK_MAX)] = ()
    groups: Annotated[tuple[GroupPart, ...], Field(max_length=_GROUPS_MAX)] = ()
    operating_hours: HoursPart | None = None
    tariff: TariffPart | None = None
    owners: Owners = ()
    """Users who own every meter, beside each meter's own owners."""
    why: Why = ""

    @model_validator(mode="after")
    def _has_controllers_for_meters(self) -> Self:
        if self.meters and not self.controllers:
            raise ValueError("there are meters and no controller: add the one that reads them")
        return self


class RegisteredMeter(BaseModel):
    """A meter that was registered."""

    name: str
    id: int | None
    controller: str
    slug: str


class RegisteredGroup(BaseModel):
    """A group that was made."""

    id: int | None
    slug: str


class RegistrationOut(BaseModel):
    """A site that was registered, or could be."""

    dry_run: bool
    site: SiteOut
    controllers: list[str]
    meters: list[RegisteredMeter]
    groups: list[RegisteredGroup]
    tariff_id: int | None
