"""A small OpenID Connect provider that really listens, signs and checks, and lies when it is told to."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, redirect, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server
from werkzeug.wrappers import Response as BaseResponse

CLIENT_ID = "meterhaul"
CLIENT_SECRET = "known to both"

Claims = dict[str, Any]


class OidcProvider:
    """Serves while it is entered. Whoever comes is logged in at once, as `email`."""

    def __init__(self) -> None:
        self.email = "ann@example.org"
        self.subject = "person-1"
        self.is_verified = True
        self.spoil: Callable[[Claims], None] = lambda _: None
        """Changes an id_token's claims before it is signed."""
        self.sign: Callable[[Claims], str] = self._sign
        self.describe: Claims = {}
        """Keys of the description that differ from the truth."""
        self.asked: list[dict[str, str]] = []
        """What browsers brought to the authorization endpoint."""
        self._key = RSAKey.generate_key(2048, parameters={"kid": "first", "use": "sig", "alg": "RS256"})
        self._codes: dict[str, dict[str, str]] = {}
        self._server = make_server("127.0.0.1", 0, self._make_app(), threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="oidc provider")

    @property
    def issuer(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def log_in(self, authorization_url: str) -> str:
        """Log in at the provider, and return the path that it sends the browser back to."""
        query = dict(one.split("=", 1) for one in urlsplit(authorization_url).query.split("&"))
        with self._make_app().test_client() as browser:
            back = browser.get("/authorize", query_string=urlsplit(authorization_url).query)
        assert query["client_id"] == CLIENT_ID
        parts = urlsplit(back.location)
        return f"{parts.path}?{parts.query}"

    def sign_unsigned(self, claims: Claims) -> str:
        """Return a token that says it needs no signature."""
        return f"{_encode({'alg': 'none', 'typ': 'JWT'})}.{_encode(claims)}."

    def sign_with_public_key(self, claims: Claims) -> str:
        """Return a token signed by HMAC with what everybody knows, as if it were shared."""
        import hmac  # noqa: PLC0415 - for this lie alone

        text = f"{_encode({'alg': 'HS256', 'kid': 'first', 'typ': 'JWT'})}.{_encode(claims)}"
        signature = hmac.digest(self._key.as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def sign_with_another_key(self, claims: Claims) -> str:
        """Return a token signed by somebody else under the provider's key id."""
        other = RSAKey.generate_key(2048, parameters={"kid": "first"})
        return jwt.encode({"alg": "RS256", "kid": "first"}, claims, other)

    def _sign(self, claims: Claims) -> str:
        return jwt.encode({"alg": "RS256", "kid": "first"}, claims, self._key)

    def _make_app(self) -> Flask:
        app = Flask("oidc_provider")
        app.add_url_rule("/.well-known/openid-configuration", view_func=self._description)
        app.add_url_rule("/jwks", view_func=self._keys)
        app.add_url_rule("/authorize", view_func=self._authorize)
        app.add_url_rule("/token", view_func=self._token, methods=["POST"])
        return app

    def _description(self) -> Claims:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        } | self.describe

    def _keys(self) -> Claims:
        return {"keys": [self._key.as_dict(private=False)]}

    def _authorize(self) -> BaseResponse:
        asked = request.args.to_dict()
        self.asked.append(asked)
        code = secrets.token_urlsafe()
        self._codes[code] = asked
        return redirect(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    def _token(self) -> Response | Claims:
        form = request.form
        asked = self._codes.pop(form["code"], None)
        who = request.authorization
        challenge = (
            base64.urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        )
        is_right = (
            asked is not None
            and who is not None
            and (who.username, who.password) == (CLIENT_ID, CLIENT_SECRET)
            and asked["code_challenge_method"] == "S256"
            and asked["code_challenge"] == challenge
            and asked["redirect_uri"] == form["redirect_uri"]
        )
        if not is_right or asked is None:
            return Response(json.dumps({"error": "invalid_grant"}), 400, content_type="application/json")
        now = int(time.time())
        claims: Claims = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "email": self.email,
            "email_verified": self.is_verified,
        }
        self.spoil(claims)
        return {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": self.sign(claims)}


def _encode(part: Claims) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
