"""Organisations, people and their browsers, for tests of who may do what."""

import re
from dataclasses import dataclass
from typing import Any

from browsing import form_token
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from cloud_hub.access.models import Membership, MembershipSite
from cloud_hub.access.permissions import Role
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Site
from cloud_hub.users.models import User
from cloud_hub.users.passwords import hash_password

PASSWORD = "correct horse battery"
_HASH = hash_password(PASSWORD)
"""One hash for all: making one takes 30 ms."""


@dataclass(frozen=True, slots=True)
class Tree:
    """An operator (main) > a reseller > two customers; and another reseller beside."""

    reseller: Organisation
    customer: Organisation
    neighbour: Organisation
    other: Organisation


def add_organisation(session: Session, slug: str, parent_id: int = 1) -> Organisation:
    """Add an organisation."""
    organisation = Organisation(slug=slug, name=slug.capitalize(), parent_id=parent_id)
    session.add(organisation)
    session.flush()
    return organisation


def add_tree(session: Session) -> Tree:
    """Add organisations below main."""
    reseller = add_organisation(session, "reseller")
    return Tree(
        reseller,
        add_organisation(session, "customer", reseller.id),
        add_organisation(session, "neighbour", reseller.id),
        add_organisation(session, "other"),
    )


def add_site_of(session: Session, organisation_id: int, slug: str) -> Site:
    """Add a site of an organisation."""
    site = Site(organisation_id=organisation_id, slug=slug, name=slug.capitalize())
    session.add(site)
    session.flush()
    return site


def add_person(
    session: Session,
    email: str,
    organisation_id: int | None = None,
    role: Role = Role.ADMIN,
    *,
    role_id: int | None = None,
    sites: tuple[int, ...] | None = None,
) -> User:
    """Add somebody with the password `PASSWORD`, and what they are in an organisation."""
    user = User(email=email, password_hash=_HASH)
    session.add(user)
    session.flush()
    if organisation_id is not None:
        add_membership(session, user.id, organisation_id, role, role_id=role_id, sites=sites)
    return user


def add_membership(
    session: Session,
    user_id: int,
    organisation_id: int,
    role: Role = Role.ADMIN,
    *,
    role_id: int | None = None,
    sites: tuple[int, ...] | None = None,
) -> Membership:
    """Let somebody belong to an organisation."""
    membership = Membership(
        user_id=user_id, organisation_id=organisation_id, role=role, role_id=role_id, is_limited=sites is not None
    )
    session.add(membership)
    session.flush()
    if sites:
        session.execute(insert(MembershipSite), [{"membership_id": membership.id, "site_id": one} for one in sites])
    return membership


class Browser:
    """Somebody who uses the API, logged in by the page."""

    def __init__(self, app: Flask, email: str | None = None) -> None:
        self.client: FlaskClient = app.test_client()
        if email is not None:
            form = {"email": email, "password": PASSWORD, "csrf_token": form_token(self.client)}
            assert self.client.post("/login", data=form).status_code == 303
        self._token = form_token(self.client)

    def get(self, path: str) -> TestResponse:
        """Ask the API."""
        return self.client.get(f"/api/v1{path}")

    def post(self, path: str, body: dict[str, Any]) -> TestResponse:
        """Send JSON to the API."""
        return self.client.post(f"/api/v1{path}", json=body, headers={"X-CSRF-Token": self._token})

    def edit(self, path: str, body: dict[str, Any], *, etag: str | None = None) -> TestResponse:
        """Change what one has just seen."""
        headers = {"X-CSRF-Token": self._token, "If-Match": etag or self.etag(path)}
        return self.client.patch(f"/api/v1{path}", json=body, headers=headers)

    def delete(self, path: str, *, etag: str | None = None) -> TestResponse:
        """Remove what one has just seen."""
        headers = {"X-CSRF-Token": self._token, "If-Match": etag or self.etag(path)}
        return self.client.delete(f"/api/v1{path}", headers=headers)

    def etag(self, path: str) -> str:
        """Return the version of what is there; any text where there is none."""
        return self.get(path).headers.get("ETag", '"none"')

    def send_form(self, path: str, **fields: Any) -> TestResponse:
        """Send a page's form."""
        return self.client.post(path, data={"csrf_token": self._token, **fields})


def letters_to(session: Session, recipient: str) -> list[OutgoingMail]:
    """Return the letters that wait for somebody, oldest first."""
    session.expire_all()
    query = select(OutgoingMail).where(OutgoingMail.recipient == recipient).order_by(OutgoingMail.id)
    return list(session.scalars(query))


def link_in(letter: OutgoingMail) -> str:
    """Return the path of the invitation that a letter leads to."""
    found = re.search(r"https?://[^/\s]+(/invitation/\S+)", letter.body)
    assert found is not None, letter.body
    return found[1]
