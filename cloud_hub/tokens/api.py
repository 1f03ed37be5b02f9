"""One's own API tokens, and the service accounts of organisations with theirs, as JSON."""

from datetime import UTC, datetime
from http import HTTPStatus

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.guard import SELF
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.audit.service import record
from cloud_hub.organisations.models import Organisation
from cloud_hub.tokens import service, services
from cloud_hub.tokens.own import make_own_token, revoke_own_token
from cloud_hub.tokens.schemas import (
    ServiceChange,
    ServiceIn,
    ServiceOut,
    ServiceTokenIn,
    TokenIn,
    TokenMade,
    TokenOut,
    service_out,
    token_out,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import ListQuery, PageOut, encode_cursor

api = routes.api("tokens_api", tag="Tokens")


@api.get("/me/tokens", permission=SELF, query=ListQuery, answer=PageOut[TokenOut])
def list_own_tokens(query: ListQuery) -> PageOut[TokenOut]:
    """List one's own tokens and logins of apps."""
    return _list_tokens(request_session(), current_actor().user_id, query)


# No Idempotency-Key here nor below: what it repeats is kept, and the secret must not be.
@api.post(
    "/me/tokens",
    permission=SELF,
    body=TokenIn,
    answer=TokenMade,
    is_idempotent=True,
    shows_secret=True,
    status=HTTPStatus.CREATED,
    problems=(HTTPStatus.CONFLICT,),
)
def create_own_token(body: TokenIn) -> TokenMade:
    """Make an API token for oneself.

    Its text is answered here and never again. An API token cannot make others.
    """
    session = request_session()
    token, text = make_own_token(
        session,
        current_actor(),
        name=body.name,
        permissions=body.permissions,
        days=body.expires_in_days,
        organisation=body.organisation,
    )
    session.commit()
    return TokenMade(**token_out(token, body.organisation).model_dump(), token=text)


@api.delete("/me/tokens/<id:token_id>", permission=SELF, plain=("token_id",))
def delete_own_token(token_id: int) -> None:
    """Revoke one of one's tokens, or end the login of an app."""
    session = request_session()
    revoke_own_token(session, current_actor(), token_id)
    session.commit()


@api.get(
    "/organisations/<organisation>/services",
    permission=Permission.SERVICES_WRITE,
    query=ListQuery,
    answer=PageOut[ServiceOut],
)
def list_services(organisation: str, query: ListQuery) -> PageOut[ServiceOut]:
    """List an organisation's service accounts."""
    session = request_session()
    page = services.list_services(session, _organisation(session, organisation).id, query.window)
    items = [service_out(one) for one in page.items]
    return PageOut[ServiceOut](items=items, next_cursor=encode_cursor(page.next_key))


@api.post(
    "/organisations/<organisation>/services",
    permission=Permission.SERVICES_WRITE,
    body=ServiceIn,
    answer=ServiceOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_service(organisation: str, body: ServiceIn) -> ServiceOut:
    """Add a service account: a program that acts in its own name, by tokens."""
    session = request_session()
    made = services.create_service(
        session, _organisation(session, organisation), maker=current_actor(), name=body.name, role=body.role
    )
    session.commit()
    return service_out(made)


@api.get("/services/<id:service_id>", permission=Permission.SERVICES_WRITE, answer=ServiceOut, is_versioned=True)
def get_service(service_id: int) -> ServiceOut:
    """Return one service account."""
    return service_out(services.get_service(request_session(), service_id))


@api.patch(
    "/services/<id:service_id>",
    permission=Permission.SERVICES_WRITE,
    body=ServiceChange,
    answer=ServiceOut,
    is_versioned=True,
)
def change_service(service_id: int, body: ServiceChange) -> ServiceOut:
    """Give a service account another role, disable it, or let it act again."""
    session = request_session()
    known = services.get_service(session, service_id, for_change=True)
    require_match(service_out(known))
    changed = services.change_service(
        session, known, maker=current_actor(), role=body.role, is_disabled=body.is_disabled
    )
    session.commit()
    return service_out(changed)


@api.delete("/services/<id:service_id>", permission=Permission.SERVICES_WRITE, is_versioned=True)
def delete_service(service_id: int) -> None:
    """Delete a service account and revoke its tokens."""
    session = request_session()
    known = services.get_service(session, service_id, for_change=True)
    require_match(service_out(known))
    services.delete_service(session, known, maker=current_actor())
    session.commit()


@api.get(
    "/services/<id:service_id>/tokens",
    permission=Permission.SERVICES_WRITE,
    query=ListQuery,
    answer=PageOut[TokenOut],
)
def list_service_tokens(service_id: int, query: ListQuery) -> PageOut[TokenOut]:
    """List the tokens of a service account."""
    return _list_tokens(request_session(), service_id, query)


@api.post(
    "/services/<id:service_id>/tokens",
    permission=Permission.SERVICES_WRITE,
    body=ServiceTokenIn,
    answer=TokenMade,
    is_idempotent=True,
    shows_secret=True,
    status=HTTPStatus.CREATED,
    problems=(HTTPStatus.CONFLICT,),
)
def create_service_token(service_id: int, body: ServiceTokenIn) -> TokenMade:
    """Make an API token for a service account, with permissions that both it and you have.

    Its text is answered here and never again.
    """
    session = request_session()
    holder = services.get_service(session, service_id, for_change=True)
    token, text = services.create_service_token(
        session,
        holder,
        maker=current_actor(),
        name=body.name,
        permissions=body.permissions,
        days=body.expires_in_days,
    )
    session.commit()
    return TokenMade(**token_out(token, None).model_dump(), token=text)


@api.delete(
    "/services/<id:service_id>/tokens/<id:token_id>",
    permission=Permission.SERVICES_WRITE,
    names={"token_id": "service_token"},
)
def delete_service_token(service_id: int, token_id: int) -> None:
    """Revoke a token of a service account."""
    session = request_session()
    token = service.revoke_token(session, service_id, token_id, datetime.now(UTC))
    assert token.organisation_id is not None  # noqa: S101 - a service's, as the guard has judged
    record(
        session,
        token.organisation_id,
        who=current_actor().label,
        action="token_revoked",
        subject=f"service:{service_id}",
        detail={"token": token.public_id, "name": token.name},
    )
    session.commit()


def _list_tokens(session: Session, user_id: int, query: ListQuery) -> PageOut[TokenOut]:
    page = service.list_tokens(session, user_id, query.window)
    items = [token_out(token, organisation) for token, organisation in page.items]
    return PageOut[TokenOut](items=items, next_cursor=encode_cursor(page.next_key))


def _organisation(session: Session, slug: str) -> Organisation:
    return session.scalars(select(Organisation).where(Organisation.slug == slug)).one()
