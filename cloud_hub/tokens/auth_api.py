"""Logins of apps: a password for a pair of tokens, a refresh token for the next pair, and the end of it."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Never

import structlog
from flask import Response, current_app, g, request
from sqlalchemy.orm import Session
from werkzeug.exceptions import TooManyRequests, Unauthorized

from cloud_hub.access import routes
from cloud_hub.access.guard import PUBLIC
from cloud_hub.audit.origin import Origin, note_origin
from cloud_hub.tokens import access_tokens
from cloud_hub.tokens.access_tokens import AccessClaims
from cloud_hub.tokens.credentials import parse_api_token
from cloud_hub.tokens.logins import begin_login, carry_on, find_login_of
from cloud_hub.tokens.models import Token
from cloud_hub.tokens.schemas import JsonWebKey, JsonWebKeys, LoginIn, RefreshIn, RevokeIn, TokenPair
from cloud_hub.tokens.service import find_live_token
from cloud_hub.tokens.signing_keys import find_public_key, public_keys, signing_key
from cloud_hub.users import letters, trail
from cloud_hub.users.authentication import Outcome, Reason, authenticate
from cloud_hub.users.models import User
from cloud_hub.users.proving import proving
from cloud_hub.web.database import RequestSession, request_session
from cloud_hub.web.json import answer_json

_KEYS_KEPT_S = 3600

log = structlog.get_logger(__name__)
api = routes.api("auth_api", tag="Logins of apps")
well_known = routes.Routes("well_known", tag="Logins of apps")


@api.post(
    "/auth/token",
    permission=PUBLIC,
    body=LoginIn,
    answer=TokenPair,
    problems=(HTTPStatus.UNAUTHORIZED,),
)
def log_in(body: LoginIn) -> TokenPair:
    """Log in by an app: address, password and, where the account asks for one, a code."""
    session = _session()
    outcome = authenticate(session, body.email, body.password, body.code, request.remote_addr or "")
    if outcome.reason is not Reason.OK or outcome.user is None:
        session.commit()
        _refuse(outcome)
    now = datetime.now(UTC)
    with proving(session):
        login, refresh_token = begin_login(session, outcome.user, name=body.name, permissions=body.permissions, now=now)
        trail.note(session, outcome.user, "app_logged_in", {"login": login.public_id, "name": body.name})
        pair = _pair(session, login, refresh_token, now)
        session.commit()
    log.info("app_logged_in", user_id=outcome.user.id)
    return pair


@api.post(
    "/auth/refresh",
    permission=PUBLIC,
    body=RefreshIn,
    answer=TokenPair,
    problems=(HTTPStatus.UNAUTHORIZED,),
)
def refresh(body: RefreshIn) -> TokenPair:
    """Take a refresh token for a new pair.

    It is good once: sent a second time, somebody has a copy of it, and the login ends for both.
    """
    session = _session()
    now = datetime.now(UTC)
    with proving(session):
        carried = carry_on(session, body.refresh_token, now)
        if carried.live is None:
            if carried.stolen is not None:
                _tell_of_copy(session, carried.stolen)
            session.commit()
            raise Unauthorized("The refresh token is wrong, was used before, or its login has ended. Log in again.")
        pair = _pair(session, carried.live.token, carried.refresh_token, now)
        session.commit()
    return pair


@api.post("/auth/revoke", permission=PUBLIC, body=RevokeIn)
def revoke(body: RevokeIn) -> None:
    """Revoke a token that one holds: an API token, or an access or refresh token, whose login ends.

    Answers the same for a token that was never good (RFC 7009).
    """
    session = _session()
    now = datetime.now(UTC)
    with proving(session):
        token = _find_any(session, body.token, now)
        if token is not None and token.revoked_at is None:
            token.revoked_at = now
            holder = session.get_one(User, token.user_id)
            trail.note(session, holder, "token_revoked", {"token": token.public_id, "name": token.name})
            session.commit()


@well_known.get("/.well-known/jwks.json", permission=PUBLIC, answer=JsonWebKeys)
def list_public_keys() -> Response:
    """Return the public keys that access tokens are checked with (RFC 7517)."""
    session = request_session()
    with proving(session):
        keys = public_keys(session, datetime.now(UTC)).as_dict(private=False)["keys"]
    answer = answer_json(JsonWebKeys(keys=[JsonWebKey.model_validate(key) for key in keys]))
    # A new key is told long before it signs: see `signing_keys.TOLD_BEFORE`.
    answer.headers["Cache-Control"] = f"public, max-age={_KEYS_KEPT_S}"
    return answer


def _session() -> RequestSession:
    """Return the request's session; what is recorded in it says where the request came from."""
    session = request_session()
    note_origin(session, Origin(address=request.remote_addr, request_id=g.get("request_id")))
    return session


def _pair(session: Session, login: Token, refresh_token: str, now: datetime) -> TokenPair:
    key = signing_key(session, current_app.config["SECRET_KEY"], now)
    return TokenPair(
        access_token=access_tokens.sign(key, AccessClaims(login.public_id, login.user_id), now),
        expires_in=int(access_tokens.LIFETIME.total_seconds()),
        refresh_token=refresh_token,
        refresh_expires_at=login.expires_at,
    )


def _refuse(outcome: Outcome) -> Never:
    if outcome.reason is Reason.WAIT:
        raise TooManyRequests(outcome.message, retry_after=int(outcome.wait_s) + 1)
    raise Unauthorized(outcome.message)


def _tell_of_copy(session: Session, login: Token) -> None:
    user = session.get_one(User, login.user_id)
    log.warning("refresh_token_reused", user_id=user.id, login=login.public_id)
    trail.note(session, user, "refresh_token_reused", {"login": login.public_id, "name": login.name}, who="unknown")
    letters.tell_of_change(
        session, user, f"the login of your app {login.name!r} was ended, because a token of it was used twice"
    )


def _find_any(session: Session, text: str, now: datetime) -> Token | None:
    presented = parse_api_token(text)
    if presented is not None:
        live = find_live_token(session, presented.public_id, now)
        return live.token if live is not None and presented.matches(live.token.secret_hash) else None
    login = find_login_of(session, text)
    if login is not None:
        return login
    try:
        claims = access_tokens.verify(text, lambda kid: find_public_key(session, kid, now), now)
    except access_tokens.InvalidAccessToken:
        return None
    live = find_live_token(session, claims.login, now)
    return None if live is None else live.token
