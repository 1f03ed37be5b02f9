"""Access tokens: JWTs that say for a quarter of an hour which login stands behind a request. Pure.

joserfc rather than PyJWT: it knows RFC 9864's `Ed25519`, which names the curve too, ties each key to its
algorithm, and is what Authlib builds on, so that the hub has one library for tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from cloud_hub.errors import HubError

LIFETIME: Final = timedelta(minutes=15)
LEEWAY_S: Final = 30
"""By so much the clocks of two of the hub's machines may differ."""
ALGORITHM: Final = "Ed25519"
ISSUER: Final = "meterhaul"
AUDIENCE: Final = "meterhaul-api"
LENGTH_MAX: Final = 2048

_TYPE = "at+jwt"
"""RFC 9068: no other token that a key of ours may sign one day is taken for an access token."""


class InvalidAccessToken(HubError):
    """It is no access token of this hub, or is one no longer."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What an access token says."""

    login: str
    """The public id of the login that it belongs to."""
    user_id: int


def sign(key: OKPKey, claims: AccessClaims, now: datetime) -> str:
    """Make an access token that is good from `now` on."""
    issued = int(now.timestamp())
    return jwt.encode(
        {"alg": ALGORITHM, "kid": key.kid, "typ": _TYPE},
        {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(claims.user_id),
            "sid": claims.login,
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(LIFETIME.total_seconds()),
        },
        key,
        algorithms=[ALGORITHM],
    )


def verify(token: str, find_key: Callable[[str], OKPKey | None], now: datetime) -> AccessClaims:
    """Check an access token whole; `find_key` answers the public key of a kid.

    Raises: InvalidAccessToken, saying what is wrong with it.
    """
    if len(token) > LENGTH_MAX:
        raise InvalidAccessToken("the token is too long")

    def choose(parts: Any) -> OKPKey:  # noqa: ANN401 - joserfc keeps the type private
        kid = parts.headers().get("kid")
        key = find_key(kid) if isinstance(kid, str) else None
        if key is None:
            raise InvalidAccessToken("the token was signed with a key that is not this hub's")
        return key

    try:
        decoded = jwt.decode(token, choose, algorithms=[ALGORITHM])
        _rules(now).validate(decoded.claims)
    except (JoseError, ValueError, RecursionError) as error:
        raise InvalidAccessToken(f"the token is not valid ({error})") from error
    if decoded.header.get("typ") != _TYPE:
        raise InvalidAccessToken("the token is no access token")
    login, subject = decoded.claims["sid"], decoded.claims["sub"]
    if not isinstance(login, str) or not subject.isdecimal() or len(subject) > 18:
        raise InvalidAccessToken("the token names no login")
    return AccessClaims(login, int(subject))


def _rules(now: datetime) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        sub={"essential": True},
        sid={"essential": True},
        iat={"essential": True},
        nbf={"essential": True},
        exp={"essential": True},
    )
