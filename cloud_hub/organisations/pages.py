"""The page of the tree of organisations."""

from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.actor import Actor, Subject
from cloud_hub.access.guard import judge
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.access.subjects import Named
from cloud_hub.errors import Conflict
from cloud_hub.organisations import tree
from cloud_hub.organisations.api import show
from cloud_hub.organisations.models import Organisation
from cloud_hub.organisations.schemas import OrganisationIn
from cloud_hub.web.database import request_session

SHOWN_MAX = 500

pages = routes.pages("organisations")


@pages.get("/organisations", permission=Permission.ORGANISATIONS_READ)
def show_tree() -> str:
    """Show the organisations that one may see, each below the one that it belongs to."""
    return _page()


@pages.post("/organisations", permission=Permission.ORGANISATIONS_WRITE)
def add_organisation() -> Response | tuple[str, int]:
    """Add an organisation below another."""
    session, actor = request_session(), current_actor()
    parent = request.form.get("parent", "")
    judge(session, actor, Permission.ORGANISATIONS_WRITE, [Named("organisation", parent, None, "parent")])
    try:
        given = OrganisationIn.model_validate(
            {name: request.form.get(name, "") for name in OrganisationIn.model_fields}
        )
        tree.create_organisation(
            session, slug=given.slug, name=given.name, parent=given.parent, kind=given.kind, who=actor.label
        )
    except ValidationError:
        problem = "A short name has small letters, digits and hyphens; a name has one line, without spaces around it."
        return _page(problem), HTTPStatus.UNPROCESSABLE_ENTITY
    except Conflict as error:
        return _page(str(error)), HTTPStatus.CONFLICT
    session.commit()
    return redirect(url_for("organisations.show_tree"), HTTPStatus.SEE_OTHER)


def _page(problem: str = "") -> str:
    session, actor = request_session(), current_actor()
    placed = tree.list_tree(session, SHOWN_MAX)
    sites = tree.count_sites(session, [one.organisation.id for one in placed])
    known = {one.organisation.id for one in placed}
    rows = [
        {
            "organisation": show(one),
            "indent": sum(above in known for above in one.organisation.lineage[:-1]),
            "sites": sites.get(one.organisation.id, 0),
            "has_people": _may(actor, Permission.PEOPLE_READ, one.organisation),
            "is_writable": _may(actor, Permission.ORGANISATIONS_WRITE, one.organisation),
        }
        for one in placed
    ]
    return render_template(
        "organisations/tree.html", rows=rows, problem=problem, form=request.form, is_cut=len(placed) == SHOWN_MAX
    )


def _may(actor: Actor, permission: Permission, organisation: Organisation) -> bool:
    return actor.may(permission, Subject(organisation.id, tuple(organisation.lineage)))
