"""The second wall: SQLAlchemy leaves out of every query what the session's scope does not hold, RLS or no RLS."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, column, event, literal, select, table
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, registry, with_loader_criteria

from cloud_hub.tenancy.rows import Tenancy
from cloud_hub.tenancy.scope import Scope, scope_of

_ORGANISATIONS = table("organisations", column("id", BigInteger), column("lineage", ARRAY(BigInteger)))
_OPTIONS = "tenant_criteria"


def install_criteria(mappers: registry) -> None:
    """Let every query of a scoped session ask for what its scope holds, and for no more."""

    @event.listens_for(Session, "do_orm_execute")
    def _narrow(state: ORMExecuteState) -> None:
        scope = scope_of(state.session)
        if scope is None or scope.is_login or not (state.is_select or state.is_update or state.is_delete):
            return
        known_scope, options = state.session.info.get(_OPTIONS, (None, ()))
        if known_scope is not scope:
            options = tuple(_options(mappers, scope))
            state.session.info[_OPTIONS] = (scope, options)
        state.statement = state.statement.options(*options)


def _options(mappers: registry, scope: Scope) -> Iterator[Any]:
    roots = literal(sorted(scope.organisations), ARRAY(BigInteger))
    inside = select(_ORGANISATIONS.c.id).where(_ORGANISATIONS.c.lineage.op("&&")(roots))
    for mapper in mappers.mappers:
        tenancy: Tenancy = mapper.class_.tenancy
        if tenancy.organisation:
            seen = _seen(mapper, tenancy, scope, mapper.local_table.c[tenancy.organisation].in_(inside))
            yield with_loader_criteria(mapper.class_, seen, include_aliases=True)


def _seen(mapper: Mapper[Any], tenancy: Tenancy, scope: Scope, own: ColumnElement[bool]) -> ColumnElement[bool]:
    columns = mapper.local_table.c
    match tenancy.kind:
        case "inherited":
            return own | columns[tenancy.organisation].in_(scope.ancestors)
        case "itself":
            return own | columns[tenancy.organisation].in_(scope.members_of)
        case "member":
            return own | (columns[tenancy.person] == scope.user_id)
        case "site":
            return own | columns[tenancy.site].in_(scope.sites)
    return own
