"""A broker login as a step of creating a person: wanted with them, done when the broker has it, gone with them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Permission
from cloud_hub.errors import Invalid
from cloud_hub.organisations.models import Organisation
from cloud_hub.people.completing import WHO
from cloud_hub.people.models import PersonCreation
from cloud_hub.people.saga import Prepared, Progress, Step, add_step
from cloud_hub.subscribers import service
from cloud_hub.subscribers.models import SubscriberLogin
from cloud_hub.users.models import User
from cloud_hub.web.documents import Document
from protocol.identifiers import IDENTIFIER_LENGTH_MAX


class BrokerLoginOptions(Document):
    """What can be said of the login."""

    name: str = Field(min_length=1, max_length=IDENTIFIER_LENGTH_MAX)
    """Of lower-case letters, digits, `.`, `_` and `-`."""
    service_account_id: Annotated[int, Field(ge=1, lt=2**63)]
    """Of the same organisation. The guard does not see it here: it is judged below."""
    sparkplug: bool = False


def _prepare(session: Session, creation: PersonCreation, options: BrokerLoginOptions, who: str) -> Prepared:
    organisation = session.get_one(Organisation, creation.organisation_id)
    account = session.scalars(
        select(User).where(
            User.id == options.service_account_id, User.kind == "service", User.organisation_id == organisation.id
        )
    ).one_or_none()
    # One sentence for all: whose account it is instead is nobody's business here.
    if account is None or account.disabled_at is not None:
        raise Invalid(
            f"steps: broker_login: {organisation.slug!r} has no service account {options.service_account_id} that is "
            "enabled: make one there first, and name it"
        )
    made = service.create_login(session, organisation, account, options.name, who=who, is_sparkplug=options.sparkplug)
    return Prepared({"login": made.login.id}, {"username": made.login.username, "password": made.password})


def _check(session: Session, creation: PersonCreation, notes: Mapping[str, Any]) -> Progress:
    row = session.execute(_own(creation, notes).with_only_columns(SubscriberLogin.applied_at)).one_or_none()
    if row is None:
        return Progress(refusal="the login was deleted before the person was complete")
    return Progress(is_done=row.applied_at is not None)


def _undo(session: Session, creation: PersonCreation, notes: Mapping[str, Any]) -> None:
    login = session.scalars(_own(creation, notes).with_for_update()).one_or_none()
    if login is not None:
        service.delete_login(session, login, who=WHO)


def _own(creation: PersonCreation, notes: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a query, of columns or of rows
    return select(SubscriberLogin).where(
        SubscriberLogin.id == notes["login"], SubscriberLogin.organisation_id == creation.organisation_id
    )


BROKER_LOGIN = Step("broker_login", Permission.SERVICES_WRITE, BrokerLoginOptions, _prepare, _check, _undo)

add_step(BROKER_LOGIN)
