"""Broker logins of an organisation as JSON."""

from http import HTTPStatus

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.organisations.models import Organisation
from cloud_hub.subscribers import service
from cloud_hub.subscribers.grants import filters_of
from cloud_hub.subscribers.schemas import NewSubscriberOut, SubscriberIn, SubscriberOut, SubscribersQuery
from cloud_hub.subscribers.service import NewLogin
from cloud_hub.users.models import User
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut, encode_cursor, parse_window

api = routes.api("subscribers_api", tag="MQTT subscribers")

_PATH = "/organisations/<organisation>/subscribers"
_ONE = f"{_PATH}/<id:subscriber_id>"


@api.get(_PATH, permission=Permission.SERVICES_WRITE, query=SubscribersQuery, answer=PageOut[SubscriberOut])
def list_subscribers(organisation: str, query: SubscribersQuery) -> PageOut[SubscriberOut]:
    """List the broker logins of an organisation."""
    session = request_session()
    given = {"limit": str(query.limit)} | ({"cursor": query.cursor} if query.cursor is not None else {})
    page = service.list_logins(session, _organisation(session, organisation), parse_window(given))
    items = [SubscriberOut.model_validate(login) for login in page.items]
    return PageOut[SubscriberOut](items=items, next_cursor=encode_cursor(page.next_key))


@api.post(
    _PATH,
    permission=Permission.SERVICES_WRITE,
    body=SubscriberIn,
    answer=NewSubscriberOut,
    is_idempotent=True,
    shows_secret=True,
    status=HTTPStatus.CREATED,
    problems=(HTTPStatus.CONFLICT,),
)
def create_subscriber(organisation: str, body: SubscriberIn) -> NewSubscriberOut:
    """Make a broker login that reads the organisation's live topics.

    The password is in this answer and nowhere else. The broker knows the login within seconds.
    """
    session = request_session()
    made = service.create_login(
        session,
        _organisation(session, organisation),
        session.scalars(select(User).where(User.id == body.service_id)).one(),
        body.name,
        who=current_actor().label,
        is_sparkplug=body.sparkplug,
    )
    session.commit()
    return _with_password(organisation, made)


@api.get(_ONE, permission=Permission.SERVICES_WRITE, answer=SubscriberOut)
def get_subscriber(organisation: str, subscriber_id: int) -> SubscriberOut:
    """Return one broker login."""
    session = request_session()
    return SubscriberOut.model_validate(service.get_login(session, _organisation(session, organisation), subscriber_id))


@api.post(f"{_ONE}/rotate", permission=Permission.SERVICES_WRITE, answer=NewSubscriberOut)
def rotate_subscriber(organisation: str, subscriber_id: int) -> NewSubscriberOut:
    """Give a broker login another password.

    Who is connected with the old one is thrown out within seconds. The new one is in this answer and nowhere else.
    """
    session = request_session()
    login = service.get_login(session, _organisation(session, organisation), subscriber_id)
    made = service.rotate_login(session, login, who=current_actor().label)
    session.commit()
    return _with_password(organisation, made)


@api.delete(_ONE, permission=Permission.SERVICES_WRITE, status=HTTPStatus.NO_CONTENT)
def delete_subscriber(organisation: str, subscriber_id: int) -> None:
    """Take a broker login away; who is connected with it is thrown out within seconds."""
    session = request_session()
    login = service.get_login(session, _organisation(session, organisation), subscriber_id)
    service.delete_login(session, login, who=current_actor().label)
    session.commit()


def _organisation(session: Session, slug: str) -> Organisation:
    return session.scalars(select(Organisation).where(Organisation.slug == slug)).one()


def _with_password(organisation: str, made: NewLogin) -> NewSubscriberOut:
    shown = SubscriberOut.model_validate(made.login).model_dump()
    filters = filters_of([organisation], is_sparkplug=made.login.is_sparkplug)
    return NewSubscriberOut.model_construct(**shown, password=made.password, filters=filters)
