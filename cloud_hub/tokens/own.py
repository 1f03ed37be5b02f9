"""What people do to their own tokens, on the page and by the API alike: told to them and to the audit trail."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.access.permissions import Permission
from cloud_hub.tokens.models import Token
from cloud_hub.tokens.service import create_token, revoke_token
from cloud_hub.users import letters, trail
from cloud_hub.users.models import User


def make_own_token(
    session: Session,
    actor: Actor,
    *,
    name: str,
    permissions: Collection[Permission],
    days: int,
    organisation: str | None = None,
) -> tuple[Token, str]:
    """Make an API token for oneself; return it with its text. The caller commits.

    Raises: BeyondHolder, TooManyTokens.
    """
    user = session.get_one(User, actor.user_id)
    token, text = create_token(
        session,
        user,
        maker=actor,
        name=name,
        permissions=permissions,
        days=days,
        organisation=organisation,
        now=datetime.now(UTC),
    )
    detail = {
        "token": token.public_id,
        "name": name,
        "permissions": token.permissions,
        "organisation": organisation,
        "expires_at": token.expires_at.isoformat(),
    }
    trail.note(session, user, "token_created", detail)
    letters.tell_of_change(session, user, f"an API token was made, named {name!r}, good for {days} days")
    return token, text


def revoke_own_token(session: Session, actor: Actor, token_id: int) -> None:
    """Revoke one's own token, or end an app's login. The caller commits.

    Raises: UnknownToken.
    """
    token = revoke_token(session, actor.user_id, token_id, datetime.now(UTC))
    trail.note(
        session,
        session.get_one(User, actor.user_id),
        "token_revoked",
        {"token": token.public_id, "name": token.name, "kind": token.kind},
    )
