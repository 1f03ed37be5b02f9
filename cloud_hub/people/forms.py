"""What people do to the people of an organisation from its page. Callers commit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from cloud_hub.access.actor import Actor
from cloud_hub.access.permissions import Role
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.people import invitations, members
from cloud_hub.people.delegation import Standing, decide_standing, require_all
from cloud_hub.people.links import link_to_invitation
from cloud_hub.people.models import Invitation
from cloud_hub.people.schemas import Email

DONE: Mapping[str, str] = {
    "invite": "The invitation is on its way.",
    "resend": "The invitation is sent again; the link before opens nothing any more.",
    "revoke": "The invitation is taken back.",
    "change": "What they may do is changed.",
    "remove": "They belong here no more.",
}
"""What the page says when a form has done its work."""

_CUSTOM = "custom:"
_ID_DIGITS_MAX = 18
_NAME_LENGTH_MAX = 120
_email: TypeAdapter[str] = TypeAdapter(Email)


@dataclass(frozen=True, slots=True)
class Place:
    """Who does something, and where."""

    session: Session
    actor: Actor
    organisation: Organisation


def do(place: Place, action: str, form: MultiDict[str, str]) -> None:
    """Do what a form asks for.

    Raises: HubError with what to say.
    """
    deed = _DEEDS.get(action)
    if deed is None:
        raise NotFound(f"this page has no form {action!r}")
    deed(place, form)


def _invite(place: Place, form: MultiDict[str, str]) -> None:
    standing = _standing(place, form)
    try:
        email = _email.validate_python(form.get("email", "").strip())
    except ValidationError as error:
        raise Invalid("this is not an e-mail address: it needs a name, an @ and a domain") from error
    name = " ".join(form.get("name", "").split())
    if len(name) > _NAME_LENGTH_MAX or not name.isprintable():
        raise Invalid(f"a name has at most {_NAME_LENGTH_MAX} letters")
    invitations.invite(
        place.session,
        place.organisation,
        email=email,
        name=name,
        standing=standing,
        lasts_days=invitations.LASTS_DAYS,
        link_of=link_to_invitation,
        who=place.actor.label,
    )


def _resend(place: Place, form: MultiDict[str, str]) -> None:
    invitation = _invitation(place, form)
    invitations.send_again(
        place.session,
        place.organisation,
        invitation,
        lasts_days=invitations.LASTS_DAYS,
        link_of=link_to_invitation,
        who=place.actor.label,
    )


def _revoke(place: Place, form: MultiDict[str, str]) -> None:
    invitations.revoke(place.session, _invitation(place, form), who=place.actor.label)


def _change(place: Place, form: MultiDict[str, str]) -> None:
    members.lock_memberships(place.session, place.organisation)
    member = members.get_member(place.session, place.organisation, _id(form), lock=True)
    members.change_member(place.session, place.actor, place.organisation, member, _standing(place, form))


def _remove(place: Place, form: MultiDict[str, str]) -> None:
    members.lock_memberships(place.session, place.organisation)
    member = members.get_member(place.session, place.organisation, _id(form), lock=True)
    members.remove_member(place.session, place.actor, place.organisation, member, who=place.actor.label)


_DEEDS: Mapping[str, Callable[[Place, MultiDict[str, str]], None]] = {
    "invite": _invite,
    "resend": _resend,
    "revoke": _revoke,
    "change": _change,
    "remove": _remove,
}


def _standing(place: Place, form: MultiDict[str, str]) -> Standing:
    said = form.get("role", "")
    is_custom = said.startswith(_CUSTOM)
    if not is_custom and said not in tuple(Role):
        raise Invalid("choose a role")
    return decide_standing(
        place.session,
        place.actor,
        place.organisation,
        role=Role.CUSTOM if is_custom else Role(said),
        role_id=_number(said.removeprefix(_CUSTOM)) if is_custom else None,
        sites=form.getlist("sites") or None,
    )


def _invitation(place: Place, form: MultiDict[str, str]) -> Invitation:
    invitation = invitations.get_invitation(place.session, place.organisation, _id(form), lock=True)
    require_all(place.actor, place.organisation, invitations.permissions_in(place.session, invitation))
    return invitation


def _id(form: MultiDict[str, str]) -> int:
    return _number(form.get("id", ""))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _ID_DIGITS_MAX:
        raise NotFound("this form is about nothing that is there: reload the page")
    return int(text)
