"""Who somebody is at the single sign-on: found by the name that the provider never gives to another.

An e-mail address brings somebody in the first time; from then on it is the provider's own name for them (`sub`)
that counts, so that a person who gets a leaver's address does not get the leaver's account.
"""

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict
from cloud_hub.users.login_models import ProviderIdentity
from cloud_hub.users.models import User
from cloud_hub.users.service import find_user_by_email


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a provider vouches for."""

    issuer: str
    subject: str
    """The provider's own name for them."""
    email: str
    """Verified by the provider."""


class AnotherPerson(Conflict):
    """The account belongs to somebody else at the provider."""


def find_vouched(session: Session, vouched: Vouched) -> User | None:
    """Return whose account it is, bound to them from their first coming on; None for a stranger. Callers commit.

    Raises: AnotherPerson when the account of that address is bound to somebody else there.
    """
    known = session.get(ProviderIdentity, (vouched.issuer, vouched.subject))
    if known is not None:
        return session.get(User, known.user_id)
    user = find_user_by_email(session, vouched.email)
    if user is None or user.disabled_at is not None:
        return user
    bound = select(ProviderIdentity).where(
        ProviderIdentity.user_id == user.id, ProviderIdentity.issuer == vouched.issuer
    )
    if session.scalars(bound).first() is not None:
        raise AnotherPerson(
            f"the account {vouched.email} belongs to somebody else at the single sign-on: if it is yours now, ask the "
            "operator to forget who had it ('meterhaul hub account')"
        )
    session.add(ProviderIdentity(issuer=vouched.issuer, subject=vouched.subject, user_id=user.id))
    session.flush()
    return user


def forget_identities(session: Session, user_id: int) -> int:
    """Let the next one whom a provider vouches for by this account's address have it; return how many were bound."""
    gone = delete(ProviderIdentity).where(ProviderIdentity.user_id == user_id)
    return len(session.scalars(gone.returning(ProviderIdentity.subject)).all())
