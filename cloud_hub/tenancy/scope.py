"""What the tenant of a transaction may see, told to PostgreSQL at its beginning and to SQLAlchemy at each query."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session

_SCOPE = "tenant_scope"
_TELL = text(
    "SELECT set_config('meterhaul.organisations', :organisations, true), set_config('meterhaul.sites', :sites, true), "
    "set_config('meterhaul.members_of', :members_of, true), set_config('meterhaul.ancestors', :ancestors, true), "
    "set_config('meterhaul.user', :user_id, true), set_config('meterhaul.login', :login, true)"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What somebody may see at all; what they may do there is `cloud_hub.access`'s."""

    organisations: frozenset[int] = frozenset()
    """Ids of organisations that they see with all below them."""
    sites: frozenset[int] = frozenset()
    """Ids of single sites that they see beside those."""
    members_of: frozenset[int] = frozenset()
    """Ids of organisations whose own row they see: those that they belong to."""
    ancestors: frozenset[int] = frozenset()
    """Ids of the organisations above those: whose catalogues (tariffs, profiles, roles) they may use."""
    user_id: int | None = None
    is_login: bool = False
    """Whether somebody is just proving who they are: accounts are visible, tenants' rows are not."""


NOBODY: Final = Scope()
LOGIN: Final = Scope(is_login=True)


def enter(session: Session, scope: Scope) -> None:
    """Let the session see what `scope` holds, in the transaction under way and in all that follow."""
    session.info[_SCOPE] = scope
    if session.in_transaction():
        _tell(session.connection(), scope)


def scope_of(session: Session) -> Scope | None:
    """Return what the session may see; None for a session of the hub's own processes, which is bound to no tenant."""
    scope: Scope | None = session.info.get(_SCOPE)
    return scope


def array_text(ids: Iterable[int]) -> str:
    """Write ids as PostgreSQL reads an array."""
    return "{" + ",".join(map(str, sorted(ids))) + "}"


@event.listens_for(Session, "after_begin")
def _begin(session: Session, _transaction: Any, connection: Connection) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    scope = scope_of(session)
    if scope is not None:
        _tell(connection, scope)


def _tell(connection: Connection, scope: Scope) -> None:
    connection.execute(
        _TELL,
        {
            "organisations": array_text(scope.organisations),
            "sites": array_text(scope.sites),
            "members_of": array_text(scope.members_of),
            "ancestors": array_text(scope.ancestors),
            "user_id": "" if scope.user_id is None else str(scope.user_id),
            "login": "on" if scope.is_login else "",
        },
    )
