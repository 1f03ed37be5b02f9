"""Where a deed comes from: noted on the session, so that whoever records a deed need not know."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

_ORIGIN: Final = "audit_origin"


@dataclass(frozen=True, slots=True)
class Origin:
    """The request behind a deed."""

    user_id: int | None = None
    on_behalf_of: str | None = None
    address: str | None = None
    request_id: str | None = None


def note_origin(session: Session, origin: Origin) -> None:
    """Let all that is recorded in this session from now on name the request."""
    session.info[_ORIGIN] = origin


def origin_of(session: Session) -> Origin:
    """Return the request behind what a session does; an empty one for a command."""
    origin: Origin = session.info.get(_ORIGIN, Origin())
    return origin
