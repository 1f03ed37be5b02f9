"""Who is asking, by `Authorization: Bearer`: an API token, or an access token of an app's login."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, NoReturn

import structlog
from flask import Flask, Response, current_app, g, request
from joserfc.jwk import OKPKey
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Unauthorized

from cloud_hub.access.actor import Actor
from cloud_hub.access.denials import note_denial
from cloud_hub.access.guard import SELF
from cloud_hub.access.identity import add_identifier
from cloud_hub.errors import Forbidden
from cloud_hub.tokens import access_tokens
from cloud_hub.tokens.credentials import API_PREFIX, holds_token, parse_api_token
from cloud_hub.tokens.logins import find_live_login
from cloud_hub.tokens.service import API, LiveToken, actor_of, find_live_token, note_use
from cloud_hub.tokens.signing_keys import find_public_key
from cloud_hub.users.proving import apart
from cloud_hub.web.database import request_session
from cloud_hub.web.operations import operations_of
from cloud_hub.web.rate_limits import limit_stranger

ON_BEHALF_OF: Final = "Meterhaul-On-Behalf-Of"
ON_BEHALF_OF_MAX: Final = 254

_PATHS = "/api/"
_KIND = "token_kind"

log = structlog.get_logger(__name__)


class NotByToken(Forbidden):
    """People do this themselves, logged in; a token that is stolen must not take over the account."""


def install_tokens(app: Flask) -> None:
    """Let programs prove who they are by tokens. Before the cookies: whoever sends a token means it."""
    app.before_request(_refuse_in_address)
    add_identifier(app, _identify)
    app.after_request(_name_scheme)


def keep_tokens_from_accounts(app: Flask) -> None:
    """Refuse API tokens where people change their own accounts. After the identity."""
    app.before_request(_refuse_own_affairs)


def _identify() -> Actor | None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not request.path.startswith(_PATHS):
        return None
    live = _find(text.strip())
    g.token_kind = live.token.kind
    _note_use(live)
    return actor_of(request_session(), live, _read_on_behalf_of(live))


def _find(text: str) -> LiveToken:
    """Return the token that stands behind the text.

    Raises: Unauthorized; TooManyRequests for who tries one after another.
    """
    now = datetime.now(UTC)
    session = request_session()
    if not text.startswith(API_PREFIX):
        return _find_login(text, now)
    presented = parse_api_token(text)
    live = None if presented is None else find_live_token(session, presented.public_id, now)
    if presented is None or live is None or live.token.kind != API or not presented.matches(live.token.secret_hash):
        _refuse("the token is wrong, has expired, or was revoked")
    return live


def _find_login(text: str, now: datetime) -> LiveToken:
    session = request_session()

    def find_key(kid: str) -> OKPKey | None:
        return find_public_key(session, kid, now)

    try:
        claims = access_tokens.verify(text, find_key, now)
    except access_tokens.InvalidAccessToken as error:
        log.info("access_token_refused", reason=str(error))
        _refuse("the token is wrong or has expired: refresh it, or log in again")
    live = find_live_login(session, claims.login, now)
    if live is None or live.user.id != claims.user_id:
        _refuse("the login of this token has ended: log in again")
    return live


def _refuse(why: str) -> NoReturn:
    limit_stranger()
    challenge = WWWAuthenticate("bearer", {"error": "invalid_token", "error_description": why})
    raise Unauthorized(f"{why[:1].upper()}{why[1:]}.", www_authenticate=challenge)


def _note_use(live: LiveToken) -> None:
    noted = live.token.last_used_at
    if noted is None or noted < datetime.now(UTC).replace(second=0, microsecond=0):
        # Apart, so that it stays when the request fails, and holds no lock while the request lasts.
        with apart(request_session()) as own:
            note_use(own, live.token.id, request.remote_addr)


def _read_on_behalf_of(live: LiveToken) -> str:
    given = request.headers.get(ON_BEHALF_OF, "")
    if not given:
        return ""
    if live.user.kind != "service":
        raise BadRequest(f"{ON_BEHALF_OF} is for service accounts: a person acts for themselves.")
    try:  # WSGI hands over the bytes of a header as Latin-1
        name = given.encode("latin-1").decode()
    except UnicodeError:
        name = ""
    if not name.isprintable() or not name.strip() or len(name) > ON_BEHALF_OF_MAX:
        raise BadRequest(f"{ON_BEHALF_OF} is not a name: send 1 to {ON_BEHALF_OF_MAX} printable characters in UTF-8.")
    return name.strip()


def _refuse_in_address() -> None:
    # Addresses stand in the logs of proxies and in histories: whatever was sent there is no secret any more.
    if any(name == "access_token" or holds_token(value) for name, value in request.args.items(multi=True)):
        raise BadRequest(
            "This address holds a token. Send tokens in the Authorization header, and revoke this one: "
            "addresses are written to logs."
        )


def _refuse_own_affairs() -> None:
    if g.get(_KIND) != API or request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    operation = operations_of(current_app).get(request.endpoint or "")
    if operation is not None and operation.permission == SELF:
        error = NotByToken("an API token cannot change its holder's account: log in to do that")
        note_denial(g.actor, operation.permission, error)
        raise error


def _name_scheme(response: Response) -> Response:
    if response.status_code == HTTPStatus.UNAUTHORIZED and request.path.startswith(_PATHS):
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    return response
