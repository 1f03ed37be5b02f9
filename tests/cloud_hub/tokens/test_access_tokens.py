"""Access tokens are refused for every fault that they can have."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from cloud_hub.tokens.access_tokens import LEEWAY_S, LIFETIME, AccessClaims, InvalidAccessToken, sign, verify

_NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
_KEY = OKPKey.generate_key("Ed25519", {"kid": "first"})
_OTHER_KEY = OKPKey.generate_key("Ed25519", {"kid": "second"})
_CLAIMS = AccessClaims("0123456789ab", 7)
_HEADER = {"alg": "Ed25519", "kid": "first", "typ": "at+jwt"}
_SECONDS = int(_NOW.timestamp())
_PAYLOAD: dict[str, Any] = {
    "iss": "meterhaul",
    "aud": "meterhaul-api",
    "sub": "7",
    "sid": "0123456789ab",
    "iat": _SECONDS,
    "nbf": _SECONDS,
    "exp": _SECONDS + 900,
}


def _find(kid: str) -> OKPKey | None:
    return {"first": _KEY, "second": _OTHER_KEY}.get(kid)


def _forge(*, key: OKPKey = _KEY, header: dict[str, Any] | None = None, **changed: Any) -> str:
    payload = {name: value for name, value in (_PAYLOAD | changed).items() if value is not ...}
    return jws.serialize_compact(_HEADER | (header or {}), json.dumps(payload), key, algorithms=["Ed25519"])


def _part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def _unsigned() -> str:
    return f"{_part(_HEADER | {'alg': 'none'})}.{_part(_PAYLOAD)}."


def _signed_with_the_public_key_as_a_secret() -> str:
    signed = f"{_part(_HEADER | {'alg': 'HS256'})}.{_part(_PAYLOAD)}"
    public = _KEY.as_dict(private=False)
    secret = json.dumps(public).encode()
    return f"{signed}.{_part(digest(secret, signed.encode(), sha256))}"


def _under_the_old_name() -> str:
    good = sign(_KEY, _CLAIMS, _NOW)
    return f"{_part(_HEADER | {'alg': 'EdDSA'})}.{good.partition('.')[2]}"


def _tampered() -> str:
    header, _, signature = sign(_KEY, _CLAIMS, _NOW).split(".")
    return f"{header}.{_part(_PAYLOAD | {'sub': '1'})}.{signature}"


def test_what_was_signed_is_read_back() -> None:
    assert verify(sign(_KEY, _CLAIMS, _NOW), _find, _NOW) == _CLAIMS
    assert verify(_forge(), _find, _NOW) == _CLAIMS


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "....",
        "é.é.é",
        "x" * 5000,
        _part(b"[" * 900) + ".e30.x",
        _unsigned(),
        _signed_with_the_public_key_as_a_secret(),
        _under_the_old_name(),
        _tampered(),
        _forge(key=_OTHER_KEY),
        _forge(header={"kid": "third"}),
        _forge(header={"kid": "second"}),
        _forge(key=_OTHER_KEY, header={"jwk": _OTHER_KEY.as_dict(private=False)}),
        _forge(key=_OTHER_KEY, header={"jku": "https://elsewhere.example/jwks.json"}),
        _forge(header={"typ": "JWT"}),
        _forge(iss="https://elsewhere.example"),
        _forge(aud="another-api"),
        _forge(iss=...),
        _forge(aud=...),
        _forge(exp=...),
        _forge(nbf=...),
        _forge(iat=...),
        _forge(sub=...),
        _forge(sid=...),
        _forge(exp="2027-01-01"),
        _forge(sub=7),
        _forge(sub="-7"),
        _forge(sub="9" * 30),
        _forge(sid=["0123456789ab"]),
    ],
    ids=[
        "empty",
        "no base64",
        "only dots",
        "not ASCII",
        "too long",
        "deep",
        "alg none",
        "alg confusion",
        "alg EdDSA",
        "tampered",
        "signed by another key",
        "unknown kid",
        "wrong kid",
        "brings its key",
        "says where its key is",
        "another type",
        "wrong issuer",
        "wrong audience",
        "no issuer",
        "no audience",
        "no expiry",
        "no nbf",
        "no iat",
        "no subject",
        "no login",
        "expiry is no number",
        "subject is no text",
        "negative subject",
        "huge subject",
        "login is a list",
    ],
)
def test_a_wrong_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidAccessToken):
        verify(token, _find, _NOW)


def test_a_header_without_a_key_id_is_refused() -> None:
    header = {name: value for name, value in _HEADER.items() if name != "kid"}
    token = jws.serialize_compact(header, json.dumps(_PAYLOAD), _KEY, algorithms=["Ed25519"])
    with pytest.raises(InvalidAccessToken):
        verify(token, _find, _NOW)


@pytest.mark.parametrize(
    ("seconds", "is_good"),
    [
        (LIFETIME.total_seconds() - 1, True),
        (LIFETIME.total_seconds() + LEEWAY_S - 1, True),
        (LIFETIME.total_seconds() + LEEWAY_S, False),
        (-LEEWAY_S, True),
        (-LEEWAY_S - 1, False),
    ],
    ids=["young", "expired within the leeway", "expired", "from a clock ahead", "from the future"],
)
def test_clocks_may_differ_by_the_leeway(seconds: float, is_good: bool) -> None:  # noqa: FBT001 - a row of a table
    token = sign(_KEY, _CLAIMS, _NOW)

    def check() -> AccessClaims:
        return verify(token, _find, _NOW + timedelta(seconds=seconds))

    if is_good:
        assert check() == _CLAIMS
    else:
        with pytest.raises(InvalidAccessToken):
            check()


def test_each_claim_about_the_beginning_is_checked() -> None:
    allowed, early = _SECONDS + LEEWAY_S, _SECONDS + LEEWAY_S + 1
    for token in (_forge(nbf=early), _forge(iat=early)):
        with pytest.raises(InvalidAccessToken):
            verify(token, _find, _NOW)
    assert verify(_forge(nbf=allowed, iat=allowed), _find, _NOW) == _CLAIMS
