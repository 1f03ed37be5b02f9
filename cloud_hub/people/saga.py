"""Make a person with all that they need in an organisation: all of it, or nothing, whenever a process dies.

A creation is one transaction: the invitation with its letter, and what each further step wants. What happens
outside the database (the letter, a login at the broker) is only *wanted* there; `work` carries it out, as often as it
takes, and asks each step how far it is (`completing`). A creation that can never be complete is undone and says why.

Slices above this one add steps when they are imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.access.permissions import Permission
from cloud_hub.audit.service import record
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.delegation import require_all
from cloud_hub.people.models import Invitation, PersonCreation
from cloud_hub.web.documents import Document, parse_document


class CreationState(StrEnum):
    """How far a creation is."""

    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    """And so undone."""


class UnknownPerson(NotFound):
    """The organisation has made nobody of that number."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a step has put into the transaction."""

    notes: Mapping[str, Any] = field(default_factory=dict)
    """What it needs to know later, as JSON can hold it; no secrets."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """What whoever creates the person is shown once, such as a password."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is."""

    is_done: bool = False
    refusal: str = ""
    """Why it can never be done; empty while it may."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something beside invitation and membership that a new person can be given. None of its deeds commits."""

    name: str
    permission: Permission
    """What whoever asks for it must be permitted in the organisation."""
    options: type[Document]
    """What can be said about it in the request."""
    prepare: Callable[[Session, PersonCreation, Any, str], Prepared]
    """Writes down what is wanted; given the options, and who asks. Raises: HubError, which refuses the creation."""
    check: Callable[[Session, PersonCreation, Mapping[str, Any]], Progress]
    """Says how far it is, given its notes. `work` calls it until it is done or refused, and again after a crash."""
    undo: Callable[[Session, PersonCreation, Mapping[str, Any]], None]
    """Wants it no more, given its notes. Must stand being called for what was never done."""


_steps: dict[str, Step] = {}


def add_step(step: Step) -> None:
    """Let creations have this step."""
    _steps[step.name] = step


def known_steps() -> Mapping[str, Step]:
    """Return all steps by name."""
    return _steps


def start_creation(
    session: Session,
    actor: Actor,
    organisation: Organisation,
    invitation: Invitation,
    wanted: Mapping[str, Mapping[str, Any]],
) -> tuple[PersonCreation, dict[str, dict[str, str]]]:
    """Begin the creation of whom the invitation is for, and return it with what is shown once, by step.

    `wanted` has the options of each step by its name. Raises: Invalid, TooMuch, and what the steps raise.
    """
    chosen = [(_get_step(name), options) for name, options in wanted.items()]
    require_all(actor, organisation, {step.permission for step, _ in chosen})
    creation = PersonCreation(
        organisation_id=organisation.id,
        invitation_id=invitation.id,
        state=CreationState.PENDING,
        steps={},
        created_by=actor.label,
    )
    session.add(creation)
    session.flush()
    notes, shown = {}, {}
    for step, given in chosen:
        options = parse_document(step.options, given, f"steps: {step.name}")
        prepared = step.prepare(session, creation, options, actor.label)
        notes[step.name], shown[step.name] = dict(prepared.notes), dict(prepared.shown)
    creation.steps = notes
    session.flush()
    detail = {"email": invitation.email, "invitation": invitation.id, "steps": sorted(notes)}
    note(session, creation, "person_created", who=actor.label, detail=detail)
    return creation, {name: values for name, values in shown.items() if values}


def get_creation(session: Session, organisation: Organisation, creation_id: int) -> tuple[PersonCreation, Invitation]:
    """Return a creation of just that organisation, with its invitation.

    Raises: UnknownPerson.
    """
    query = select(PersonCreation, Invitation).join(Invitation, Invitation.id == PersonCreation.invitation_id)
    query = query.where(PersonCreation.id == creation_id, PersonCreation.organisation_id == organisation.id)
    row = session.execute(query).one_or_none()
    if row is None:
        raise UnknownPerson(f"{organisation.slug!r} has made no person {creation_id}")
    creation, invitation = row
    return creation, invitation


def note(session: Session, creation: PersonCreation, action: str, *, who: str, detail: Mapping[str, Any]) -> None:
    """Write the audit trail of a creation."""
    record(session, creation.organisation_id, who=who, action=action, subject=f"person:{creation.id}", detail=detail)


def _get_step(name: str) -> Step:
    if name not in _steps:
        known = ", ".join(sorted(_steps)) or "none"
        raise Invalid(f"steps: there is no step {name!r}; there is {known}")
    return _steps[name]
