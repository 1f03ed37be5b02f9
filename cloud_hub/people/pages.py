"""The page of an organisation's people: members, invitations, roles."""

from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.actor import Subject
from cloud_hub.access.permissions import PERMISSIONS_OF, Permission, Role
from cloud_hub.access.routes import current_actor
from cloud_hub.errors import Conflict, Forbidden, Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.organisations.tree import get_open, get_organisation
from cloud_hub.people import forms, invitations, members, roles
from cloud_hub.people.invitations import InvitationState
from cloud_hub.people.shapes import show_invitations, show_member
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import LIMIT_MAX, Window

_ALL = Window(LIMIT_MAX)
_SITES = text("""
    SELECT o.slug || ':' || s.slug AS ref, s.name, o.name AS organisation
    FROM sites s JOIN organisations o ON o.id = s.organisation_id
    WHERE o.lineage @> ARRAY[CAST(:id AS bigint)] ORDER BY o.lineage, s.name LIMIT 500
""")

pages = routes.pages("people")


@pages.get("/organisations/<organisation>/people", permission=Permission.PEOPLE_READ)
def show_people(organisation: str) -> str:
    """Show who belongs to an organisation, who is invited, and which roles there are."""
    return _page(organisation)


@pages.post("/organisations/<organisation>/people", permission=Permission.PEOPLE_WRITE)
def change_people(organisation: str) -> Response | tuple[str, int]:
    """Invite, change, remove, as the page's forms say."""
    session, actor = request_session(), current_actor()
    action = request.form.get("action", "")
    is_adding = action in ("invite", "resend")
    found = get_open(session, organisation) if is_adding else get_organisation(session, organisation)
    try:
        forms.do(forms.Place(session, actor, found), action, request.form)
    except (Invalid, Conflict, Forbidden, NotFound) as error:
        session.rollback()
        return _page(organisation, problem=str(error)), HTTPStatus.UNPROCESSABLE_ENTITY
    session.commit()
    address = url_for("people.show_people", organisation=organisation, done=action)
    return redirect(address, HTTPStatus.SEE_OTHER)


def _page(slug: str, problem: str = "") -> str:
    session, actor = request_session(), current_actor()
    organisation = get_organisation(session, slug)
    held = actor.permissions_in(Subject(organisation.id, tuple(organisation.lineage)))
    people = members.list_members(session, organisation, _ALL)
    invited = show_invitations(session, invitations.list_invitations(session, organisation, _ALL).items)
    return render_template(
        "people/index.html",
        organisation=organisation,
        members=[show_member(member) for member in people.items],
        is_cut=people.next_key is not None,
        invitations=[one for one in invited if one.state in (InvitationState.OPEN, InvitationState.EXPIRED)],
        choices=_choices(session, organisation, held),
        custom_roles=roles.list_roles(session, organisation, _ALL).items,
        built_in=[(role, sorted(permissions)) for role, permissions in PERMISSIONS_OF.items()],
        sites=session.execute(_SITES, {"id": organisation.id}).all(),
        is_writable=Permission.PEOPLE_WRITE in held,
        held=held,
        problem=problem,
        said=forms.DONE.get(request.args.get("done", ""), ""),
        form=request.form,
    )


def _choices(session: Session, organisation: Organisation, held: frozenset[Permission]) -> list[tuple[str, str]]:
    """Return the roles that somebody who holds so much may give: what the form sends, and what it shows."""
    usual = [(role.value, role.value) for role, permissions in PERMISSIONS_OF.items() if permissions <= held]
    own = roles.list_roles(session, organisation, _ALL).items
    custom = [(f"{Role.CUSTOM}:{role.id}", role.name) for role in own if set(role.permissions) <= held]
    return usual + custom
