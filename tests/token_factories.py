"""Programs that come to the hub with tokens, for tests."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from browsing import PASSWORD
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from cloud_hub.access.actor import Actor
from cloud_hub.access.grants import load_grants
from cloud_hub.access.models import Membership, MembershipSite
from cloud_hub.access.permissions import Permission, Role
from cloud_hub.organisations.models import Organisation
from cloud_hub.tokens.models import Token
from cloud_hub.tokens.service import create_token
from cloud_hub.users.models import User
from cloud_hub.users.passwords import hash_password


def make_organisation(session: Session, slug: str, *, parent_id: int = 1) -> Organisation:
    """Add an organisation below another."""
    organisation = Organisation(slug=slug, name=slug.title(), parent_id=parent_id)
    session.add(organisation)
    session.commit()
    return organisation


def make_person(
    session: Session,
    email: str = "kim@example.org",
    *,
    organisation_id: int = 1,
    role: Role = Role.ADMIN,
    sites: Iterable[int] | None = None,
    with_password: bool = True,
) -> User:
    """Add a person with a role in an organisation, limited to `sites` where they are given."""
    user = User(email=email, password_hash=hash_password(PASSWORD) if with_password else None)
    session.add(user)
    session.flush()
    membership = Membership(user_id=user.id, organisation_id=organisation_id, role=role, is_limited=sites is not None)
    session.add(membership)
    session.flush()
    session.add_all(MembershipSite(membership_id=membership.id, site_id=site_id) for site_id in sites or ())
    session.commit()
    return user


def make_service(session: Session, name: str = "billing", *, organisation_id: int = 1, role: Role = Role.ADMIN) -> User:
    """Add a service account with a role in its organisation."""
    service = User(kind="service", name=name, organisation_id=organisation_id)
    session.add(service)
    session.flush()
    session.add(Membership(user_id=service.id, organisation_id=organisation_id, role=role))
    session.commit()
    return service


def make_token(
    session: Session,
    holder: User,
    permissions: Collection[Permission] = (Permission.SITES_READ,),
    *,
    days: int = 90,
    organisation: str | None = None,
    now: datetime | None = None,
) -> tuple[Token, str]:
    """Add an API token of somebody who holds all these permissions; return it with its text."""
    maker = Actor(holder.id, holder.label, load_grants(session, holder.id))
    made = create_token(
        session,
        holder,
        maker=maker,
        name="Test",
        permissions=permissions,
        days=days,
        organisation=organisation,
        now=now or datetime.now(UTC),
    )
    session.commit()
    return made


def find_token(session: Session, text: str) -> Token:
    """Return the row of a token's text, as it is now."""
    query = select(Token).where(Token.public_id == text.split("_")[1]).execution_options(populate_existing=True)
    return session.scalars(query).one()


def bearer(text: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {text}"}


def ask_for_login(client: FlaskClient, email: str = "kim@example.org", **body: Any) -> TestResponse:
    """Log in as an app does."""
    return client.post("/api/v1/auth/token", json={"email": email, "password": PASSWORD, **body})


def log_in_app(client: FlaskClient, email: str = "kim@example.org", **body: Any) -> dict[str, Any]:
    """Log in as an app does, and return the pair of tokens."""
    answer = ask_for_login(client, email, **body)
    assert answer.status_code == 200, answer.text
    pair: dict[str, Any] = answer.get_json()
    return pair
