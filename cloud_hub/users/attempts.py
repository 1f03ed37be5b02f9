"""How long a guesser must wait: nothing for the first slips, then twice as long each time, and never for ever.

Counted in the database, so that all web processes count together. An attempt counts as failed before it is judged:
a hundred that come at once are a hundred failures, and not one.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.users.proving import apart

FREE_ATTEMPTS = 5
FREE_ATTEMPTS_OF_ADDRESS = 20
"""More, for many people may share the address of their office."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
FORGOTTEN_AFTER_S = 2 * LONGEST_WAIT_S

_IPV6_NETWORK = 64
"""What one customer of a provider gets: each can use as many addresses as it likes in there."""

# The clock of the statement, not of the transaction: what waited for another's attempt sees that attempt's time.
_TAKE = text("""
    INSERT INTO login_attempts AS a (key, failures, last_at) VALUES (:key, 1, clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET
        failures = CASE WHEN a.last_at < clock_timestamp() - make_interval(secs => :forgotten) THEN 1
                        ELSE a.failures + 1 END,
        last_at = clock_timestamp()
    WHERE a.failures < :free OR clock_timestamp() >= a.last_at + make_interval(secs =>
        least(CAST(:longest AS float), :first * power(2, least(a.failures - :free, 30))))
    RETURNING failures
""")
_REMAINING = text("""
    SELECT extract(epoch FROM last_at - clock_timestamp())
           + least(CAST(:longest AS float), :first * power(2, least(greatest(failures - :free, 0), 30)))
    FROM login_attempts WHERE key = :key
""")


@dataclass(frozen=True, slots=True)
class Key:
    """What attempts are counted by."""

    text: str
    free: int = FREE_ATTEMPTS


def by_account(email: str) -> Key:
    """Count the passwords tried with an address, whether there is such an account or not.

    It is kept as a hash: people type passwords into the wrong field.
    """
    return Key(f"account:{_digest(email)}")


def by_code(user_id: int) -> Key:
    """Count second factors apart: a password that was right must not make room for more guesses of those."""
    return Key(f"code:{user_id}")


def by_reset(email: str) -> Key:
    """Count letters that were asked for."""
    return Key(f"reset:{_digest(email)}", free=3)


def by_address(address: str) -> Key:
    """Count all that comes from one network address."""
    return Key(f"address:{_network(address)}", FREE_ATTEMPTS_OF_ADDRESS)


def take(session: Session, *keys: Key) -> float:
    """Take an attempt; answer 0.0, or the seconds until the next may be taken.

    Counted in a transaction of its own. One that has to wait does not count, so that whoever waits gets in.
    """
    with apart(session) as own:
        for key in keys:
            known = {
                "key": key.text,
                "free": key.free,
                "first": FIRST_WAIT_S,
                "longest": LONGEST_WAIT_S,
                "forgotten": FORGOTTEN_AFTER_S,
            }
            if own.execute(_TAKE, known).one_or_none() is None:
                remaining = own.execute(_REMAINING, known).scalar_one_or_none()
                own.rollback()
                return max(float(remaining or 0.0), FIRST_WAIT_S)
    return 0.0


def forgive(session: Session, *, succeeded: Iterable[Key] = (), spared: Iterable[Key] = ()) -> None:
    """Forget the failures of keys that have succeeded; of others only this attempt, so that nobody clears an address.

    In a transaction of its own as well.
    """
    with apart(session) as own:
        own.execute(
            text("DELETE FROM login_attempts WHERE key = ANY (:keys)"), {"keys": [key.text for key in succeeded]}
        )
        own.execute(
            text("UPDATE login_attempts SET failures = failures - 1 WHERE key = ANY (:keys) AND failures > 0"),
            {"keys": [key.text for key in spared]},
        )


def _digest(given: str) -> str:
    return hashlib.sha256(given.encode(errors="replace")).hexdigest()[:32]


def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> (128 - _IPV6_NETWORK) << (128 - _IPV6_NETWORK)))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
