"""Forget tokens that ended long ago, and keys that nothing can be signed with."""

from sqlalchemy import Engine, text

from cloud_hub.tokens.service import KEPT_AFTER_END
from cloud_hub.tokens.signing_keys import KEPT_AFTER


def forget_ended_tokens(engine: Engine) -> None:
    """Delete what ended so long ago that nobody looks for it; a login takes its refresh tokens along."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "DELETE FROM tokens WHERE least(expires_at, coalesce(revoked_at, expires_at)) "
                "< now() - CAST(:kept AS interval)"
            ),
            {"kept": KEPT_AFTER_END},
        )
        connection.execute(
            text("DELETE FROM signing_keys WHERE signs_until < now() - CAST(:kept AS interval)"), {"kept": KEPT_AFTER}
        )
