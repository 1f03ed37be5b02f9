"""The judgement of a request: may this actor do that to all that it names."""

from collections.abc import Sequence
from typing import Final

from flask import g
from sqlalchemy.orm import Session
from werkzeug.exceptions import Unauthorized

from cloud_hub.access.actor import Actor
from cloud_hub.access.permissions import Permission
from cloud_hub.access.subjects import Named, find_subjects
from cloud_hub.errors import Conflict, Forbidden, NotFound
from cloud_hub.tenancy.scope import enter, scope_of

PUBLIC: Final = "public"
"""Anybody may use it, logged in or not."""
SELF: Final = "self"
"""Anybody who is logged in may use it: it is about themselves."""


class NotVisible(NotFound):
    """There is no such thing that this actor may know of."""


class Ambiguous(Conflict):
    """Several things that they see have this name."""


class NotPermitted(Forbidden):
    """They see it, and may not do this to it."""


def require_actor(permission: str) -> Actor | None:
    """Return the request's actor, if the route asks for one; refuse one who holds the permission nowhere.

    Raises: Unauthorized, NotPermitted.
    """
    if permission == PUBLIC:
        return None
    actor: Actor | None = g.get("actor")
    if actor is None:
        raise Unauthorized("Log in first.")
    if permission != SELF and not actor.may(Permission(permission)):
        raise NotPermitted(f"you may not do this: it takes the permission {permission}")
    return actor


def judge(session: Session, actor: Actor, permission: str, named: Sequence[Named]) -> None:
    """Refuse things that the actor does not see, or may not do this to.

    Raises: NotVisible, NotPermitted.
    """
    for one in dict.fromkeys(named):
        seen = [subject for subject in find_subjects(session, one.kind, one.key) if actor.sees(subject)]
        if not seen:
            raise NotVisible(f"there is no {one.kind.replace('_', ' ')} {one.key!r}")
        if len(seen) > 1:
            raise Ambiguous(
                f"several organisations have a {one.kind} {one.key!r}: name it with its organisation, "
                f"as ORGANISATION:{one.key}"
            )
        needed = one.permission or (None if permission == SELF else Permission(permission))
        if needed is not None and not actor.may(needed, seen[0]):
            raise NotPermitted(
                f"you may not do this to {one.kind.replace('_', ' ')} {one.key!r}: it takes the permission {needed}"
            )


def narrow(session: Session, actor: Actor, permission: str) -> None:
    """Let the session see no more than where the actor holds the permission."""
    scope = actor.scope(None if permission == SELF else Permission(permission))
    if scope != scope_of(session):
        enter(session, scope)
