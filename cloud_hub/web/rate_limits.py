"""How many requests somebody may send: token buckets in the database, so that all processes count together."""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Final

from flask import Flask, Response, current_app, g, request
from sqlalchemy import Boolean, Column, DateTime, Double, Engine, Table, Text, func, text
from werkzeug.exceptions import TooManyRequests

from cloud_hub.db import Base
from cloud_hub.settings import RateLimits
from cloud_hub.tenancy.rows import CHANGE, shared

LIMITS: Final = "RATE_LIMITS"
"""Key of the application's config: `RateLimits`, or None to count nothing."""
BUCKETS_KEPT: Final = timedelta(minutes=10)
"""A bucket fills up within a minute; one that is full is the same as none."""

_WINDOW_S = 60
_ENGINE = "rate_limit_engine"
_FREE = frozenset({"static", "health.live", "health.ready"})
_PROOFS = ("/login", "/forgot", "/reset/", "/invitation/", "/api/v1/auth/")
"""Where passwords, codes and secret links are tried."""
_HOME_NETWORK_BITS = 64

rate_limits = Table(
    "rate_limits",
    Base.metadata,
    Column("key", Text, primary_key=True),
    Column("tokens", Double, nullable=False),
    Column("is_allowed", Boolean, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    info={"tenancy": shared(web=CHANGE)},
    prefixes=["UNLOGGED"],
)
"""Buckets: the requests left to somebody at an instant, and whether the last one was among them."""

# The old row is what SET sees, the new one what RETURNING does: so the verdict is a column. A request
# that waited for another's lock may carry an earlier instant; time never runs backwards in a bucket.
_LEFT = (
    "least(:burst, bucket.tokens + greatest(0, extract(epoch FROM excluded.at - bucket.at)) * :burst / :window)"
    "::double precision"
)
_TAKE = text(f"""
    INSERT INTO rate_limits AS bucket (key, tokens, is_allowed, at)
    VALUES (:key, CAST(:burst AS double precision) - 1, true, statement_timestamp())
    ON CONFLICT (key) DO UPDATE SET
        tokens = {_LEFT} - CASE WHEN {_LEFT} >= 1 THEN 1 ELSE 0 END,
        is_allowed = {_LEFT} >= 1,
        at = greatest(bucket.at, excluded.at)
    RETURNING tokens, is_allowed
""")  # noqa: S608 - the expression is a constant, put together here


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one more request is within a limit, and what is left of it."""

    policy: str
    per_minute: int
    tokens: float
    is_allowed: bool

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until a request is allowed again."""
        return max(1, ceil((1 - self.tokens) * _WINDOW_S / self.per_minute))

    @property
    def full_after_s(self) -> int:
        """Whole seconds until all requests of a minute are allowed again."""
        return ceil((self.per_minute - self.tokens) * _WINDOW_S / self.per_minute)


def install_rate_limits(app: Flask, engine: Engine) -> None:
    """Count every request; those above the limit are answered 429. After the identity, before all that costs."""
    app.config.setdefault(LIMITS, None)
    # Each statement commits by itself: a request that fails has been sent all the same.
    app.extensions[_ENGINE] = engine.execution_options(isolation_level="AUTOCOMMIT")
    app.before_request(_limit)
    app.after_request(_tell)


def take(engine: Engine, policy: str, who: str, per_minute: int) -> Verdict:
    """Take a request out of somebody's bucket, in one statement that is committed by itself."""
    with engine.connect() as connection:
        row = connection.execute(_TAKE, {"key": f"{policy}:{who}", "burst": per_minute, "window": _WINDOW_S}).one()
    return Verdict(policy, per_minute, row.tokens, row.is_allowed)


def limit_stranger() -> None:
    """Count a request of somebody who has not proved who they are.

    Raises: TooManyRequests.
    """
    limits: RateLimits | None = current_app.config[LIMITS]
    if limits is not None:
        _spend("address", address_key(request.remote_addr), limits.per_address)


def forget_full_buckets(engine: Engine) -> None:
    """Drop the buckets of those who sent nothing for a while."""
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM rate_limits WHERE at < now() - CAST(:kept AS interval)"), {"kept": BUCKETS_KEPT}
        )


def address_key(address: str | None) -> str:
    """Return what stands for an address: of IPv6 the network, of which every household has a whole one."""
    try:
        known = ip_address(address or "")
    except ValueError:
        return "unknown"
    if not isinstance(known, IPv6Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ip_network((int(known), _HOME_NETWORK_BITS), strict=False))


def _limit() -> None:
    limits: RateLimits | None = current_app.config[LIMITS]
    if limits is None or request.endpoint in _FREE:
        return
    if request.method == "POST" and request.path.startswith(_PROOFS):
        _spend("login", address_key(request.remote_addr), limits.logins_per_address)
    elif g.get("actor") is None:
        _spend("address", address_key(request.remote_addr), limits.per_address)
    else:
        _spend("identity", str(g.actor.user_id), limits.per_identity)


def _spend(policy: str, who: str, per_minute: int) -> None:
    if not per_minute:
        return
    verdict = take(current_app.extensions[_ENGINE], policy, who, per_minute)
    g.rate_limit = verdict
    if not verdict.is_allowed:
        raise TooManyRequests(
            f"Too many requests: {per_minute} a minute are answered. Try again in {verdict.retry_after_s} s.",
            retry_after=verdict.retry_after_s,
        )


def _tell(response: Response) -> Response:
    verdict: Verdict | None = g.get("rate_limit")
    if verdict is not None:
        # Names and parameters are those of draft-ietf-httpapi-ratelimit-headers-10.
        response.headers["RateLimit-Policy"] = f'"{verdict.policy}";q={verdict.per_minute};w={_WINDOW_S}'
        response.headers["RateLimit"] = f'"{verdict.policy}";r={int(verdict.tokens)};t={verdict.full_after_s}'
    return response
