"""What all ways in have in common: let somebody in, refuse them, and where they go then."""

from http import HTTPStatus

import structlog
from flask import redirect, url_for
from werkzeug.wrappers import Response

from cloud_hub.users import access
from cloud_hub.users.authentication import Outcome, Reason
from cloud_hub.users.models import User
from cloud_hub.web.database import request_session

Answer = Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]

log = structlog.get_logger(__name__)


def let_in(user: User, page: str, reason: Reason) -> Response:
    """Begin the login of somebody who proved who they are, or let it wait for their code."""
    access.begin_login(user, is_complete=reason is Reason.OK)
    request_session().commit()
    if reason is not Reason.OK:
        return redirect(url_for("users.code", next=page), HTTPStatus.SEE_OTHER)
    log.info("login_succeeded", user_id=user.id)
    return redirect(page, HTTPStatus.SEE_OTHER)


def refused(page: str, outcome: Outcome) -> Answer:
    """Answer an attempt that failed with the page that it came from."""
    if outcome.reason is Reason.WAIT:
        return page, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(int(outcome.wait_s) + 1)}
    return page, HTTPStatus.UNAUTHORIZED


def wanted_page(path: str) -> str:
    """Return where to go next: a path of this site only, so that a link cannot lead a fresh login elsewhere."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours else url_for("dashboard.index")
