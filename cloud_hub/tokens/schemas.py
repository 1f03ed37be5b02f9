"""Shapes of tokens, logins and service accounts as the API takes and answers them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from cloud_hub.access.permissions import Permission
from cloud_hub.access.subjects import Names
from cloud_hub.tokens.models import Token
from cloud_hub.tokens.service import DAYS_DEFAULT, DAYS_MAX
from cloud_hub.tokens.services import ServiceAccount
from cloud_hub.web.documents import Document

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
]
RoleName = Annotated[str, Field(min_length=1, max_length=100)]
Permissions = Annotated[frozenset[Permission], Field(min_length=1)]
Secret = Annotated[str, Field(min_length=1, max_length=2048)]


class ServiceTokenIn(Document):
    """A token to be made for a service account."""

    name: Name
    """What it is for."""
    permissions: Permissions
    """What it permits at most: nothing beyond what its holder may do."""
    expires_in_days: Annotated[int, Field(ge=1, le=DAYS_MAX)] = DAYS_DEFAULT


class TokenIn(ServiceTokenIn):
    """A token to be made for oneself."""

    organisation: Annotated[str, Field(max_length=100), Names("organisation")] | None = None
    """The organisation to which it is limited, with those below it; left out for all of one's own."""


class TokenOut(BaseModel):
    """A token, or an app's login, without its secret."""

    id: int
    kind: str
    """`api` for an API token, `login` for the login of an app."""
    public_id: str
    """The first part of the token's text, by which logs and people can tell it."""
    name: str
    permissions: list[str] | None
    """What it permits at most; null for all that its holder may do."""
    organisation: str | None
    """The organisation to which it is limited."""
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    """To the minute."""
    last_used_from: str | None
    """The network address."""
    revoked_at: datetime | None


class TokenMade(TokenOut):
    """A token that has just been made. Its text is shown here, and never again."""

    token: str


class ServiceIn(Document):
    """A service account to be made."""

    name: Name
    role: RoleName
    """`admin`, `manager`, `technician`, `viewer`, or the slug of a custom role."""


class ServiceChange(Document):
    """What shall be another for a service account; what is left out stays."""

    role: RoleName | None = None
    is_disabled: bool | None = None
    """Its tokens are refused as long as it is."""


class ServiceOut(BaseModel):
    """A service account."""

    id: int
    name: str
    role: str
    is_disabled: bool
    created_at: datetime


class LoginIn(Document):
    """Who logs in by an app."""

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(max_length=1024)]
    code: Annotated[str, Field(max_length=64)] | None = None
    """Of the authenticator, or a recovery code, where the account asks for one."""
    name: Name = "App"
    """How the login is listed, such as the app's name and the phone's."""
    permissions: Permissions | None = None
    """What the app may do at most; left out for all that the person may."""


class RefreshIn(Document):
    """A refresh token that is taken for new ones."""

    refresh_token: Secret


class RevokeIn(Document):
    """A token that shall be good no more: an API token, or any token of a login, which then ends."""

    token: Secret


class TokenPair(BaseModel):
    """What an app needs until it comes again."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the scheme's name (RFC 6750)
    expires_in: int
    """Seconds for which the access token is good."""
    refresh_token: str
    """Good once, for the next pair; used twice, it ends the login."""
    refresh_expires_at: datetime


class JsonWebKey(BaseModel):
    """A public key that checks access tokens (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class JsonWebKeys(BaseModel):
    """All public keys that access tokens may be signed with, now or soon."""

    keys: list[JsonWebKey]


def token_out(token: Token, organisation: str | None) -> TokenOut:
    """Show a token; `organisation` is the slug of its limit."""
    return TokenOut(
        id=token.id,
        kind=token.kind,
        public_id=token.public_id,
        name=token.name,
        permissions=token.permissions,
        organisation=organisation,
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        last_used_from=token.last_used_from,
        revoked_at=token.revoked_at,
    )


def service_out(service: ServiceAccount) -> ServiceOut:
    """Show a service account."""
    return ServiceOut(
        id=service.user.id,
        name=service.user.name,
        role=service.role,
        is_disabled=service.user.disabled_at is not None,
        created_at=service.user.created_at,
    )
