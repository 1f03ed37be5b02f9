"""Who is asking: the ways to prove it are tried in turn, once, at the beginning of a request."""

from collections.abc import Callable

from flask import Flask, current_app, g, request

from cloud_hub.access.actor import Actor
from cloud_hub.tenancy.scope import LOGIN, NOBODY, enter
from cloud_hub.web.database import request_session

_EXTENSION = "identifiers"
_NOBODYS = frozenset({"static", "health.live", "health.ready"})
"""Endpoints that are asked often, by anybody: nobody's business is looked up for them."""

Identifier = Callable[[], Actor | None]
"""Looks at the request and says who it is; None when it shows nothing of this kind.

It runs while the session may look at accounts (`scope.LOGIN`). Raises: Unauthorized for a proof that is wrong.
"""


def install_identity(app: Flask) -> None:
    """Find out who is asking before every request; a page finds them as `current_user`."""
    app.before_request(_identify)
    app.context_processor(lambda: {"current_user": g.get("actor")})


def add_identifier(app: Flask, identify: Identifier) -> None:
    """Add a way to prove who one is; earlier ones are tried first."""
    app.extensions.setdefault(_EXTENSION, []).append(identify)


def _identify() -> None:
    g.actor = None
    if request.endpoint in _NOBODYS:
        return
    session = request_session()
    enter(session, LOGIN)
    try:
        for identify in current_app.extensions.get(_EXTENSION, ()):
            g.actor = identify()
            if g.actor is not None:
                break
    finally:
        enter(session, NOBODY if g.actor is None else g.actor.scope())
