"""Shapes of organisations, as the API takes and answers them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from cloud_hub.access.permissions import Permission
from cloud_hub.access.subjects import Names
from cloud_hub.web.documents import Document
from cloud_hub.web.pagination import ListQuery

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""Letters, digits and hyphens: it stands in addresses and in MQTT topics."""
_BREAKS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
DisplayName = Annotated[
    str,
    StringConstraints(max_length=120, pattern=rf"^[^\s{_BREAKS}]([^{_BREAKS}]*[^\s{_BREAKS}])?$"),
]
"""What people call something, on one line and without spaces around it: it stands in the headers of letters."""
OrganisationName = Annotated[str, Field(max_length=63), Names("organisation")]


class Kind(StrEnum):
    """What an organisation is to those around it; it permits and forbids nothing."""

    OPERATOR = "operator"
    RESELLER = "reseller"
    CUSTOMER = "customer"


class KindBelow(StrEnum):
    """What an organisation below another can be."""

    RESELLER = "reseller"
    CUSTOMER = "customer"


class OrganisationOut(BaseModel):
    """An organisation and its place in the tree."""

    id: int
    slug: str
    name: str
    kind: Kind
    parent: str | None
    """The organisation above; null for the topmost that you may see."""
    depth: int
    """How many organisations are above it; 0 for the operator's."""
    created_at: datetime
    archived_at: datetime | None


class OrganisationsQuery(ListQuery):
    """Which organisations are listed."""

    parent: OrganisationName | None = None
    """Only those directly below this one."""
    archived: bool = False
    """Also those that are archived."""


class OrganisationIn(Document):
    """A new organisation."""

    slug: Slug
    name: DisplayName
    parent: Annotated[str, Field(max_length=63), Names("organisation", Permission.ORGANISATIONS_WRITE)]
    """The organisation that it is to be below."""
    kind: KindBelow = KindBelow.CUSTOMER


class OrganisationEdit(Document):
    """What changes of an organisation; what is left out stays."""

    name: DisplayName | None = None
    kind: KindBelow | None = None
    parent: Annotated[str, Field(max_length=63), Names("organisation", Permission.ORGANISATIONS_WRITE)] | None = None
    """Moves it, with all below it, under another. Takes the right to change both that one and the present one."""
