"""Log in at somebody else's: OpenID Connect with authorization code, PKCE, state and nonce. Optional.

The provider says who has which verified address; that address must have an account here already. From the first
time on, the account is theirs by the provider's own name for them.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.flask_client import FlaskOAuth2App, OAuth
from flask import Flask, current_app, redirect, render_template, request, session, url_for
from joserfc.errors import JoseError
from requests import RequestException
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.guard import PUBLIC
from cloud_hub.settings import SingleSignOn
from cloud_hub.users import totp, trail
from cloud_hub.users.access import remote_address
from cloud_hub.users.authentication import Reason
from cloud_hub.users.entering import Answer, let_in, wanted_page
from cloud_hub.users.models import User
from cloud_hub.users.provider_identities import AnotherPerson, Vouched, find_vouched
from cloud_hub.users.proving import apart, proving
from cloud_hub.users.service import find_user_by_email
from cloud_hub.web.database import request_session

_EXTENSION: Final = "single_sign_on"
_NEXT: Final = "single_sign_on_next"
_TIMEOUT_S = 10
_LEEWAY_S = 30
_SUBJECT_MAX = 255
"""Characters (OpenID Connect Core 1.0, section 2)."""
_SIGNATURES: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
"""What a provider may sign with: keys of its own, never one that we know too, and never nothing."""

_WANTED_FROM: Final = frozenset({"same-origin", "none"})
"""Whence a browser says that somebody asked for it: by our button, or by typing. A foreign page logs nobody in."""

log = structlog.get_logger(__name__)
pages = routes.pages("single_sign_on")


class ProviderRefused(Exception):
    """The provider's answer proves nothing; the message is for the log."""


class _Provider(FlaskOAuth2App):  # type: ignore[misc]  # Authlib ships no types
    """A provider whose description of itself is believed only as far as it is safe."""

    def load_server_metadata(self) -> dict[str, Any]:
        """Read the description once, and check it before it is kept."""
        metadata: dict[str, Any] = super().load_server_metadata()
        if metadata.get("issuer") != self.expected_issuer:
            metadata.pop("_loaded_at", None)
            raise ProviderRefused(f"it calls itself {metadata.get('issuer')!r}")
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [one for one in offered if one in _SIGNATURES]
        if not metadata["id_token_signing_alg_values_supported"]:
            raise ProviderRefused(f"it signs by none of {sorted(_SIGNATURES)}")
        return metadata


def set_up_single_sign_on(app: Flask, settings: SingleSignOn | None, public_url: str = "") -> None:
    """Let people come by the provider, when there is one. Asks it nothing before somebody comes."""
    if settings is None:
        return
    provider = OAuth(app).register(
        "oidc",
        client_cls=_Provider,
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "default_timeout": _TIMEOUT_S,
        },
    )
    provider.expected_issuer = settings.issuer
    app.extensions[_EXTENSION] = (provider, public_url)


def is_set_up() -> bool:
    """Say whether there is a provider."""
    return _EXTENSION in current_app.extensions


@pages.get("/single-sign-on", permission=PUBLIC)
def begin() -> Answer:
    """Send the browser to the provider."""
    provider, public_url = _provider()
    page = wanted_page(request.args.get("next", ""))
    if request.headers.get("Sec-Fetch-Site", "none") not in _WANTED_FROM:
        return redirect(url_for("users.login", next=page), HTTPStatus.SEE_OTHER)
    try:
        away: Response = provider.authorize_redirect(_callback_url(public_url))
    except (OAuthError, RequestException, ProviderRefused, ValueError) as error:
        return _unavailable(error)
    session[_NEXT] = page
    return away


@pages.get("/single-sign-on/callback", permission=PUBLIC)
def come_back() -> Answer:
    """Take what the provider says of whoever comes back, and let them in when they have an account."""
    provider, _ = _provider()
    page = wanted_page(str(session.pop(_NEXT, "")))
    try:
        vouched = _vouched(provider)
    except RequestException as error:
        return _unavailable(error)
    except (OAuthError, JoseError, ProviderRefused, ValueError, KeyError, TypeError) as error:
        log.warning("single_sign_on_refused", address=remote_address(), reason=str(error) or type(error).__name__)
        return _refuse("The single sign-on did not prove who you are. Begin again, or log in with your password.")
    database = request_session()
    with proving(database):
        try:
            user = find_vouched(database, vouched)
        except AnotherPerson as error:
            _note_stranger(find_user_by_email(database, vouched.email))
            return _refuse(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        if user is None or user.disabled_at is not None:
            _note_stranger(user)
            return _refuse(
                f"{vouched.email} has no account here. Ask the administrator of your organisation to invite you."
            )
        reason = Reason.CODE_NEEDED if totp.is_on(database, user.id) else Reason.OK
        return let_in(user, page, reason)


def _vouched(provider: _Provider) -> Vouched:
    """Return what the provider vouches for.

    Raises: ProviderRefused, and what Authlib and joserfc raise for tokens that are not right.
    """
    token = provider.authorize_access_token(
        leeway=_LEEWAY_S,
        claims_options={
            "iss": {"essential": True, "value": provider.expected_issuer},
            "aud": {"essential": True, "value": provider.client_id},
        },
    )
    claims: Mapping[str, Any] | None = token.get("userinfo")
    if claims is None:
        raise ProviderRefused("it sent no id_token")
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str) or not email:
        raise ProviderRefused("it does not say that the e-mail address is verified")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_MAX:
        raise ProviderRefused("it has no name of its own for whoever came")
    return Vouched(provider.expected_issuer, subject, email)


def _provider() -> tuple[_Provider, str]:
    """Return the provider, and the address of our pages. Raises: NotFound when there is none."""
    found: tuple[_Provider, str] | None = current_app.extensions.get(_EXTENSION)
    if found is None:
        raise NotFound("Single sign-on is not set up on this hub: log in with your password.")
    return found


def _callback_url(public_url: str) -> str:
    if public_url:
        return public_url + url_for("single_sign_on.come_back")
    return url_for("single_sign_on.come_back", _external=True)


def _note_stranger(user: User | None) -> None:
    log.warning("login_failed", address=remote_address(), user_id=None if user is None else user.id, factor="single")
    with apart(request_session()) as own:
        detail = {"address": remote_address(), "factor": "single_sign_on"}
        trail.note(own, user, "login_failed", detail, who="unknown")


def _refuse(problem: str) -> Answer:
    return _login_page(problem), HTTPStatus.UNAUTHORIZED


def _unavailable(error: Exception) -> Answer:
    log.error("single_sign_on_unavailable", reason=str(error) or type(error).__name__)
    problem = "The single sign-on does not answer just now. Try again in a moment, or log in with your password."
    return _login_page(problem), HTTPStatus.BAD_GATEWAY


def _login_page(problem: str) -> str:
    return render_template("users/login.html", email="", problem=problem, next="", single_sign_on=True)
