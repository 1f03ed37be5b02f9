"""Look at accounts while somebody proves who they are, and only for as long."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from cloud_hub.audit.origin import note_origin, origin_of
from cloud_hub.tenancy.scope import LOGIN, enter, scope_of


@contextmanager
def proving(session: Session) -> Iterator[None]:
    """Let a session of the web see accounts within the block; one that is bound to no tenant sees them anyway."""
    before = scope_of(session)
    if before is None:
        yield
        return
    enter(session, LOGIN)
    try:
        yield
    finally:
        enter(session, before)


@contextmanager
def apart(session: Session) -> Iterator[Session]:
    """Open a transaction of its own beside the session's, committed at the end of the block.

    For what must stay when the request fails or dies: that somebody tried, and failed.
    """
    with Session(session.get_bind()) as own:
        note_origin(own, origin_of(session))
        enter(own, LOGIN)
        yield own
        own.commit()
