"""Write what happens to an account into the audit trails of the organisations that it belongs to."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership
from cloud_hub.audit.service import record
from cloud_hub.users.models import User

_OPERATOR = 1
"""Who learns of accounts that belong to nobody, or are none: the topmost organisation."""


def note(session: Session, user: User | None, action: str, detail: Mapping[str, Any], *, who: str = "") -> None:
    """Record a deed to an account, by its owner unless `who` says otherwise; the caller commits.

    The session must see the account's memberships: its owner's does, and one within `proving`.
    """
    user_id = 0 if user is None else user.id
    organisations = session.scalars(select(Membership.organisation_id).where(Membership.user_id == user_id)).all()
    for organisation_id in organisations or [_OPERATOR]:
        record(
            session,
            organisation_id,
            who=who or ("unknown" if user is None else user.label),
            action=action,
            subject="user:unknown" if user is None else f"user:{user.id}",
            detail=detail,
        )
