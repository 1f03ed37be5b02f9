"""Makers of bodies for the registry's routes, and somebody who sends them."""

from collections.abc import Collection
from typing import Any

from api_client import ApiClient
from browsing import PASSWORD, log_in
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership, MembershipSite
from cloud_hub.access.permissions import Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.events.models import Event
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Site
from cloud_hub.users.models import User
from cloud_hub.users.passwords import hash_password

PROFILE = "eastron-sdm120"


def site_body(slug: str = "north", **changes: Any) -> dict[str, Any]:
    """Make the body of a site."""
    return {"slug": slug, "name": "North hut", "time_zone": "Europe/Berlin", **changes}


def meter_body(slug: str = "heater", controller: str = "north-1", **changes: Any) -> dict[str, Any]:
    """Make the body of a meter."""
    return {"controller": controller, "slug": slug, "profile": PROFILE, **changes}


def bus_body(name: str = "main-bus", **changes: Any) -> dict[str, Any]:
    """Make the body of a bus on the network."""
    return {"id": name, "host": "192.168.1.10", **changes}


def edit(api: ApiClient, path: str, body: object) -> Any:
    """Change what is there now, and return the answer."""
    answer = api.send("PATCH", path, body, match=api.etag(path))
    assert answer.status_code == 200, answer.text
    return answer.json


def refused_edit(api: ApiClient, path: str, body: object) -> tuple[int, str]:
    """Try to change what is there now; return status and reason."""
    answer = api.send("PATCH", path, body, match=api.etag(path))
    said: Any = answer.json
    return answer.status_code, said["detail"]


def add_member(
    session: Session, organisation: Organisation, email: str, role: Role, *, sites: Collection[Site] = ()
) -> User:
    """Add somebody who may log in, as a member of an organisation; with `sites`, limited to those."""
    user = User(email=email, password_hash=hash_password(PASSWORD))
    session.add(user)
    session.flush()
    membership = Membership(user_id=user.id, organisation_id=organisation.id, role=role.value, is_limited=bool(sites))
    session.add(membership)
    session.flush()
    session.add_all(MembershipSite(membership_id=membership.id, site_id=site.id) for site in sites)
    session.flush()
    return user


def api_as(app: Flask, email: str) -> ApiClient:
    """Log somebody in, who sends JSON from then on."""
    client = app.test_client()
    assert log_in(client, email=email).status_code == 303
    return ApiClient(client)


def deeds(session: Session) -> list[str]:
    """Return what the audit trail says was done in the registry, in order."""
    session.rollback()
    known = ("site", "controller", "bus", "meter", "point", "group")
    deed = func.split_part(AuditEvent.action, "_", 1).in_(known)
    query = select(AuditEvent.action).where(deed).order_by(AuditEvent.id)
    return list(session.scalars(query))


def events(session: Session) -> list[tuple[str, str]]:
    """Return the kinds and subjects of all events, in order."""
    session.rollback()
    rows = session.execute(select(Event.kind, Event.subject).order_by(Event.id))
    return [(row.kind, row.subject) for row in rows]
