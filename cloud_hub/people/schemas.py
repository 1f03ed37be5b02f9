"""Shapes of roles, members, invitations and new people, as the API takes and answers them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from cloud_hub.access.permissions import Permission, Role
from cloud_hub.access.subjects import Names
from cloud_hub.organisations.schemas import DisplayName, Slug
from cloud_hub.people.invitations import LASTS_DAYS, LASTS_DAYS_MAX, InvitationState
from cloud_hub.people.saga import CreationState
from cloud_hub.web.documents import Document
from cloud_hub.web.json_values import JsonObject

Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"),
]
"""An address as HTML's forms take it; case does not matter."""
RoleId = Annotated[int, Field(ge=1, lt=2**63), Names("role", Permission.PEOPLE_READ)]
MemberId = Annotated[int, Field(ge=1, lt=2**63), Names("member")]
SiteName = Annotated[str, Field(min_length=1, max_length=127), Names("site", Permission.SITES_READ)]
Sites = Annotated[list[SiteName], Field(min_length=1, max_length=500)]
"""Sites of the organisation or of those below it, as `slug` or `organisation:slug`."""
LastsDays = Annotated[int, Field(ge=1, le=LASTS_DAYS_MAX)]
Permissions = Annotated[list[Permission], Field(min_length=1, max_length=100)]


class BuiltInRoleOut(BaseModel):
    """A role that every organisation has."""

    role: Role
    permissions: list[Permission]
    is_limited_to_sites: bool


class BuiltInRolesOut(BaseModel):
    """The roles that every organisation has."""

    items: list[BuiltInRoleOut]


class RoleOut(BaseModel):
    """A role that an organisation made; those below it may use it too."""

    id: int
    slug: str
    name: str
    permissions: list[str]
    is_own: bool
    """Whether it is this organisation's, and not that of one above."""
    created_at: datetime


class RoleIn(Document):
    """A new role."""

    slug: Slug
    name: DisplayName
    permissions: Permissions


class RoleEdit(Document):
    """What changes of a role; what is left out stays."""

    name: DisplayName | None = None
    permissions: Permissions | None = None


class StandingIn(Document):
    """What somebody is to be."""

    role: Role
    role_id: RoleId | None = None
    """The role that `custom` stands for."""
    sites: Sites | None = None
    """Null lets them see all sites; an installer always has some."""


class MemberOut(BaseModel):
    """Somebody, and what they are in an organisation."""

    id: int
    user_id: int
    kind: str
    email: str | None
    name: str
    role: Role
    role_id: int | None
    role_name: str | None
    permissions: list[Permission]
    sites: list[str] | None
    """Null for all."""
    is_disabled: bool
    created_at: datetime


class MemberIn(StandingIn):
    """Somebody who belongs to another organisation of yours, and is to belong to this one too."""

    member_id: MemberId
    """What they are there."""


class MemberEdit(Document):
    """What changes of a member; what is left out stays."""

    role: Role | None = None
    role_id: RoleId | None = None
    sites: Sites | None = None
    """Null, when sent, lets them see all sites."""


class InvitationIn(StandingIn):
    """An invitation."""

    email: Email
    name: DisplayName | None = None
    lasts_days: LastsDays = LASTS_DAYS


class InvitationOut(BaseModel):
    """An invitation; its secret is in the letter alone."""

    id: int
    email: str
    name: str
    role: Role
    role_id: int | None
    sites: list[str] | None
    state: InvitationState
    expires_at: datetime
    invited_by: str
    created_at: datetime
    accepted_at: datetime | None


class ResendIn(Document):
    """How long the fresh link is good for."""

    lasts_days: LastsDays = LASTS_DAYS


class PersonIn(InvitationIn):
    """A new person with all that they need."""

    steps: Annotated[dict[Annotated[str, Field(max_length=40)], JsonObject], Field(default_factory=dict, max_length=20)]
    """What they are given beside the invitation: options by the step's name. The documentation lists the steps."""


class PersonOut(BaseModel):
    """How far a new person is."""

    id: int
    state: CreationState
    reason: str | None
    """Why it failed, and so was undone."""
    invitation: InvitationOut
    steps: list[str]
    created_at: datetime
    finished_at: datetime | None


class CreatedPersonOut(PersonOut):
    """A new person, with what is shown this once."""

    shown_once: dict[str, dict[str, str]]
    """By step, such as the password of a login."""
