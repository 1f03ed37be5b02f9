"""Organisations as JSON."""

from http import HTTPStatus

from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.actor import Subject
from cloud_hub.access.guard import NotPermitted
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.organisations import tree
from cloud_hub.organisations.schemas import (
    Kind,
    OrganisationEdit,
    OrganisationIn,
    OrganisationOut,
    OrganisationsQuery,
)
from cloud_hub.tenancy.scope import NOBODY, enter, scope_of
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("organisations_api", tag="Organisations")


@api.get(
    "/organisations",
    permission=Permission.ORGANISATIONS_READ,
    query=OrganisationsQuery,
    answer=PageOut[OrganisationOut],
)
def list_organisations(query: OrganisationsQuery) -> PageOut[OrganisationOut]:
    """List organisations by slug; with `parent` those directly below one."""
    session = request_session()
    parent_id = None if query.parent is None else tree.get_placed(session, query.parent).organisation.id
    page = tree.list_organisations(session, query.window, parent_id=parent_id, archived=query.archived)
    return PageOut(items=[show(placed) for placed in page.items], next_cursor=encode_cursor(page.next_key))


@api.post(
    "/organisations",
    permission=Permission.ORGANISATIONS_WRITE,
    body=OrganisationIn,
    answer=OrganisationOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_organisation(body: OrganisationIn) -> OrganisationOut:
    """Create an organisation below another."""
    session = request_session()
    made = tree.create_organisation(
        session, slug=body.slug, name=body.name, parent=body.parent, kind=body.kind, who=current_actor().label
    )
    session.commit()
    return show(made)


@api.get(
    "/organisations/<organisation>",
    permission=Permission.ORGANISATIONS_READ,
    answer=OrganisationOut,
    is_versioned=True,
)
def get_organisation(organisation: str) -> OrganisationOut:
    """Return one organisation."""
    return show(tree.get_placed(request_session(), organisation))


@api.patch(
    "/organisations/<organisation>",
    permission=Permission.ORGANISATIONS_WRITE,
    body=OrganisationEdit,
    answer=OrganisationOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def change_organisation(organisation: str, body: OrganisationEdit) -> OrganisationOut:
    """Rename an organisation, say what it is, or move it.

    What it is and where it stands is for those above it to say: it takes the right to change the one above.
    """
    session = request_session()
    placed = _lock(session, organisation)
    require_match(show(placed))
    if body.kind is not None or body.parent is not None:
        require_right_above(placed)
    changed = tree.change_organisation(
        session, placed, who=current_actor().label, name=body.name, kind=body.kind, parent=body.parent
    )
    session.commit()
    return show(changed)


@api.delete(
    "/organisations/<organisation>",
    permission=Permission.ORGANISATIONS_WRITE,
    answer=OrganisationOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def archive_organisation(organisation: str) -> OrganisationOut:
    """Archive an organisation without sites and without organisations below it.

    Whoever belonged to it does no longer; its slug stays taken. Takes the right to change the one above.
    """
    session = request_session()
    placed = _lock(session, organisation)
    require_match(show(placed))
    require_right_above(placed)
    archived = tree.archive_organisation(session, placed, who=current_actor().label)
    session.commit()
    return show(archived)


def _lock(session: Session, slug: str) -> tree.Placed:
    """Lock an organisation, and see it as GET answers it: with the one above it, where that may be read."""
    tree.lock_tree(session)
    organisation = tree.get_placed(session, slug, lock=True).organisation
    scope = scope_of(session) or NOBODY
    enter(session, current_actor().scope(Permission.ORGANISATIONS_READ))
    parent = tree.find_slug(session, organisation.parent_id)
    enter(session, scope)
    return tree.Placed(organisation, parent)


def require_right_above(placed: tree.Placed) -> None:
    """Refuse those who may change an organisation, but not the one above it.

    Raises: NotPermitted.
    """
    *above, _ = placed.organisation.lineage
    if not above:
        return  # the topmost: the service says that it stays what it is
    subject = Subject(above[-1], tuple(above))
    if not current_actor().may(Permission.ORGANISATIONS_WRITE, subject):
        raise NotPermitted(
            f"where {placed.organisation.slug!r} stands is for those to say who may change the organisation above it"
        )


def show(placed: tree.Placed) -> OrganisationOut:
    """Return an organisation as the API answers it."""
    one = placed.organisation
    return OrganisationOut(
        id=one.id,
        slug=one.slug,
        name=one.name,
        kind=Kind.OPERATOR if one.parent_id is None else Kind(one.kind),
        parent=placed.parent,
        depth=len(one.lineage) - 1,
        created_at=one.created_at,
        archived_at=one.archived_at,
    )
