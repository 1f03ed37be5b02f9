"""The tree of organisations: found, added to, moved, ended. Callers commit."""

from dataclasses import dataclass

from psycopg2.errors import CheckViolation
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from cloud_hub.access.models import Membership
from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, Forbidden, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.web.pagination import Page, Window, cut

# The database's trigger takes it too, but after a row is locked: taken first, two who change the tree never wait
# for each other in a circle.
_LOCK_TREE = text("SELECT pg_advisory_xact_lock(1869767521)")
_SITES_BELOW = text("""
    SELECT count(*) FROM sites s JOIN organisations o ON o.id = s.organisation_id
    WHERE o.lineage @> ARRAY[CAST(:id AS bigint)]
""")
_SITES_OF_EACH = text(
    "SELECT organisation_id, count(*) AS sites FROM sites WHERE organisation_id = ANY(:ids) GROUP BY 1"
)


class UnknownOrganisation(NotFound):
    """No organisation has that slug."""


class SlugTaken(Conflict):
    """Another organisation of the hub has that slug."""


class CannotMove(Conflict):
    """An organisation cannot be there."""


class NotEmpty(Conflict):
    """Something still belongs to the organisation."""


class Archived(Conflict):
    """The organisation is over."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An organisation, and the slug of the one above, where that may be seen."""

    organisation: Organisation
    parent: str | None


def list_organisations(
    session: Session, window: Window, *, parent_id: int | None = None, archived: bool = False
) -> Page[Placed]:
    """List organisations by slug, those directly below one or all."""
    above = aliased(Organisation)
    query = select(Organisation, above.slug).outerjoin(above, above.id == Organisation.parent_id)
    if parent_id is not None:
        query = query.where(Organisation.parent_id == parent_id)
    if not archived:
        query = query.where(Organisation.archived_at.is_(None))
    if window.after is not None:
        query = query.where(Organisation.slug > window.after)
    rows = session.execute(query.order_by(Organisation.slug).limit(window.limit + 1)).all()
    return cut([Placed(one, slug) for one, slug in rows], window, lambda placed: placed.organisation.slug)


def list_tree(session: Session, limit: int) -> list[Placed]:
    """List what may be seen of the tree, each organisation behind the one above it, siblings by name."""
    page = list_organisations(session, Window(limit))
    below: dict[int | None, list[Placed]] = {}
    known = {placed.organisation.id for placed in page.items}
    for placed in sorted(page.items, key=lambda placed: placed.organisation.name.casefold()):
        parent_id = placed.organisation.parent_id
        below.setdefault(parent_id if parent_id in known else None, []).append(placed)
    ordered: list[Placed] = []
    waiting = below.get(None, [])[::-1]
    while waiting:
        placed = waiting.pop()
        ordered.append(placed)
        waiting += below.get(placed.organisation.id, [])[::-1]
    return ordered


def count_sites(session: Session, organisations: list[int]) -> dict[int, int]:
    """Return how many sites each of these organisations has itself."""
    rows = session.execute(_SITES_OF_EACH, {"ids": organisations})
    return {row.organisation_id: row.sites for row in rows}


def get_organisation(session: Session, slug: str) -> Organisation:
    """Return the organisation of that slug.

    Raises: UnknownOrganisation.
    """
    found = session.scalars(select(Organisation).where(Organisation.slug == slug)).one_or_none()
    if found is None:
        raise UnknownOrganisation(f"there is no organisation {slug!r}")
    return found


def get_placed(session: Session, slug: str, *, lock: bool = False) -> Placed:
    """Return the organisation of that slug; with `lock` nobody else changes it until the transaction ends.

    Raises: UnknownOrganisation.
    """
    query = select(Organisation).where(Organisation.slug == slug)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise UnknownOrganisation(f"there is no organisation {slug!r}")
    return Placed(found, find_slug(session, found.parent_id))


def find_slug(session: Session, organisation_id: int | None) -> str | None:
    """Return the slug of an organisation that the session may see."""
    return session.scalars(select(Organisation.slug).where(Organisation.id == organisation_id)).one_or_none()


def get_open(session: Session, slug: str) -> Organisation:
    """Return an organisation to which something is to be added; it is not archived until the transaction ends.

    Raises: UnknownOrganisation, Archived.
    """
    found = session.scalars(
        select(Organisation).where(Organisation.slug == slug).with_for_update(read=True, key_share=True)
    ).one_or_none()
    if found is None:
        raise UnknownOrganisation(f"there is no organisation {slug!r}")
    if found.archived_at is not None:
        raise Archived(f"the organisation {slug!r} is archived: nothing can be added to it")
    return found


def create_organisation(session: Session, *, slug: str, name: str, parent: str, kind: str, who: str) -> Placed:
    """Add an organisation below another.

    Raises: UnknownOrganisation, Archived, SlugTaken.
    """
    session.execute(_LOCK_TREE)
    above = get_open(session, parent)
    made = Organisation(slug=slug, name=name, parent_id=above.id, kind=kind)
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError as error:
        raise SlugTaken(f"the slug {slug!r} is taken on this hub: choose another") from error
    _note(session, made, who, "organisation_created", {"after": _facts(made, above.slug)})
    return Placed(made, above.slug)


def lock_tree(session: Session) -> None:
    """Let nobody else change the tree until the transaction ends. Before any row of it is locked."""
    session.execute(_LOCK_TREE)


def change_organisation(
    session: Session,
    placed: Placed,
    *,
    who: str,
    name: str | None = None,
    kind: str | None = None,
    parent: str | None = None,
) -> Placed:
    """Rename an organisation, call it another kind, or move it with all below it.

    Behind `lock_tree` and `get_placed(lock=True)`. Raises: UnknownOrganisation, Archived, CannotMove.
    """
    organisation, before = placed.organisation, _facts(placed.organisation, placed.parent)
    _require_open(organisation)
    if (kind or parent) and organisation.parent_id is None:
        raise CannotMove(f"{organisation.slug!r} is the operator's, the topmost organisation: it stays what it is")
    organisation.name = name or organisation.name
    organisation.kind = kind or organisation.kind
    above = placed.parent
    if parent is not None and parent != placed.parent:
        _move(session, organisation, get_open(session, parent))
        above = parent
    session.flush()
    after = _facts(organisation, above)
    if after != before:
        _note(session, organisation, who, "organisation_changed", {"before": before, "after": after})
    return Placed(organisation, above)


def archive_organisation(session: Session, placed: Placed, *, who: str) -> Placed:
    """End an organisation to which nothing belongs any more; who belonged to it, does no longer.

    Behind `lock_tree` and `get_placed(lock=True)`. Raises: NotEmpty; Forbidden for the topmost.
    """
    organisation = placed.organisation
    _require_open(organisation)
    if organisation.parent_id is None:
        raise Forbidden(f"{organisation.slug!r} is the operator's, the topmost organisation: it cannot be archived")
    below = select(func.count()).select_from(Organisation)
    below = below.where(Organisation.parent_id == organisation.id, Organisation.archived_at.is_(None))
    organisations, sites = session.scalar(below), session.scalar(_SITES_BELOW, {"id": organisation.id})
    if organisations or sites:
        raise NotEmpty(
            f"{organisation.slug!r} still has {organisations} organisations and {sites} sites: "
            "move or remove them before you archive it"
        )
    ended = delete(Membership).where(Membership.organisation_id == organisation.id).returning(Membership.user_id)
    members = sorted(session.scalars(ended.execution_options(synchronize_session=False)))
    organisation.archived_at = session.scalar(select(func.now()))
    session.flush()
    _note(session, organisation, who, "organisation_archived", {"members_ended": members})
    return placed


def _move(session: Session, organisation: Organisation, above: Organisation) -> None:
    slug = organisation.slug
    try:
        with session.begin_nested():
            organisation.parent_id = above.id
    except IntegrityError as error:
        if not isinstance(error.orig, CheckViolation):
            raise
        raise CannotMove(f"{above.slug!r} is below {slug!r}: an organisation cannot be below itself") from error


def _require_open(organisation: Organisation) -> None:
    if organisation.archived_at is not None:
        raise Archived(f"the organisation {organisation.slug!r} is archived: it changes no more")


def _facts(organisation: Organisation, parent: str | None) -> dict[str, str | None]:
    return {"slug": organisation.slug, "name": organisation.name, "kind": organisation.kind, "parent": parent}


def _note(session: Session, organisation: Organisation, who: str, action: str, detail: dict[str, object]) -> None:
    subject = f"organisation:{organisation.slug}"
    record(session, organisation.id, who=who, action=action, subject=subject, detail=detail)
