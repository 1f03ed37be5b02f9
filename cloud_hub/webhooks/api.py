"""Webhooks as JSON."""

from datetime import timedelta
from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.access.subjects import find_subjects
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import ListQuery, PageOut, encode_cursor
from cloud_hub.webhooks import log, service
from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.schemas import (
    DeliveryDetailOut,
    DeliveryOut,
    DeliveryQuery,
    RotationIn,
    SecretOut,
    WebhookChange,
    WebhookCreatedOut,
    WebhookIn,
    WebhookOut,
)

GATE = "WEBHOOK_GATE"
"""Key of the application's configuration: a `Gate` other than the one for the internet."""

api = routes.api("webhooks_api", tag="Webhooks")


@api.get(
    "/organisations/<organisation>/webhooks",
    permission=Permission.WEBHOOKS_READ,
    query=ListQuery,
    answer=PageOut[WebhookOut],
)
def list_webhooks(organisation: str, query: ListQuery) -> PageOut[WebhookOut]:
    """List an organisation's webhooks by id."""
    session = request_session()
    page = service.list_webhooks(session, _organisation_id(session, organisation), query.window)
    return PageOut(items=list(page.items), next_cursor=encode_cursor(page.next_key))


@api.post(
    "/organisations/<organisation>/webhooks",
    permission=Permission.WEBHOOKS_WRITE,
    body=WebhookIn,
    answer=WebhookCreatedOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    shows_secret=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_webhook(organisation: str, body: WebhookIn) -> WebhookCreatedOut:
    """Add a webhook.

    The secret in the answer is shown this once: the receiver checks signatures with it.
    """
    session = request_session()
    made = service.create_webhook(
        session, _organisation_id(session, organisation), body, _gate(), who=current_actor().label
    )
    session.commit()
    return WebhookCreatedOut(**made.shown.model_dump(), secret=made.secret)


@api.get("/webhooks/<id:webhook_id>", permission=Permission.WEBHOOKS_READ, answer=WebhookOut, is_versioned=True)
def get_webhook(webhook_id: int) -> WebhookOut:
    """Return one webhook."""
    session = request_session()
    return service.show(session, service.get_webhook(session, webhook_id))


@api.patch(
    "/webhooks/<id:webhook_id>",
    permission=Permission.WEBHOOKS_WRITE,
    body=WebhookChange,
    answer=WebhookOut,
    is_versioned=True,
)
def change_webhook(webhook_id: int, body: WebhookChange) -> WebhookOut:
    """Change a webhook, or switch it off and on."""
    session = request_session()
    webhook = service.get_webhook(session, webhook_id, for_change=True)
    require_match(service.show(session, webhook))
    shown = service.change_webhook(session, webhook, body, _gate(), who=current_actor().label)
    session.commit()
    return shown


@api.delete("/webhooks/<id:webhook_id>", permission=Permission.WEBHOOKS_WRITE, is_versioned=True)
def remove_webhook(webhook_id: int) -> None:
    """Remove a webhook with its log."""
    session = request_session()
    webhook = service.get_webhook(session, webhook_id, for_change=True)
    require_match(service.show(session, webhook))
    service.remove_webhook(session, webhook, who=current_actor().label)
    session.commit()


@api.post(
    "/webhooks/<id:webhook_id>/secret",
    permission=Permission.WEBHOOKS_WRITE,
    body=RotationIn,
    answer=SecretOut,
    status=HTTPStatus.CREATED,
)
def rotate_secret(webhook_id: int, body: RotationIn) -> SecretOut:
    """Give a webhook a new secret; the old one signs too for a while."""
    session = request_session()
    webhook = service.get_webhook(session, webhook_id, for_change=True)
    secret, until = service.rotate_secret(
        session, webhook, timedelta(hours=body.overlap_hours), who=current_actor().label
    )
    session.commit()
    return SecretOut(secret=secret, overlap_until=until)


@api.post(
    "/webhooks/<id:webhook_id>/ping",
    permission=Permission.WEBHOOKS_WRITE,
    answer=DeliveryOut,
    status=HTTPStatus.ACCEPTED,
    problems=(HTTPStatus.CONFLICT,),
)
def ping(webhook_id: int) -> DeliveryOut:
    """Send a test message; what came of it stands in the log."""
    session = request_session()
    webhook = service.get_webhook(session, webhook_id, for_change=True)
    delivery = log.queue_ping(session, webhook, who=current_actor().label)
    session.commit()
    return DeliveryOut.model_validate(delivery)


@api.get(
    "/webhooks/<id:webhook_id>/deliveries",
    permission=Permission.WEBHOOKS_READ,
    query=DeliveryQuery,
    answer=PageOut[DeliveryOut],
)
def list_deliveries(webhook_id: int, query: DeliveryQuery) -> PageOut[DeliveryOut]:
    """List the messages of the last 30 days, the newest first."""
    page = log.list_deliveries(request_session(), webhook_id, query.window, query.state)
    items = [DeliveryOut.model_validate(delivery) for delivery in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.get(
    "/webhooks/<id:webhook_id>/deliveries/<id:delivery_id>",
    permission=Permission.WEBHOOKS_READ,
    answer=DeliveryDetailOut,
    names={"delivery_id": "webhook_delivery"},
)
def get_delivery(webhook_id: int, delivery_id: int) -> DeliveryDetailOut:
    """Return one message with its attempts."""
    session = request_session()
    return log.show_in_detail(session, log.get_delivery(session, webhook_id, delivery_id))


@api.post(
    "/webhooks/<id:webhook_id>/deliveries/<id:delivery_id>/resend",
    permission=Permission.WEBHOOKS_WRITE,
    answer=DeliveryOut,
    status=HTTPStatus.ACCEPTED,
    names={"delivery_id": "webhook_delivery"},
    problems=(HTTPStatus.CONFLICT,),
)
def resend(webhook_id: int, delivery_id: int) -> DeliveryOut:
    """Send a message once more, under the id that it had."""
    session = request_session()
    webhook = service.get_webhook(session, webhook_id, for_change=True)
    delivery = log.get_delivery(session, webhook_id, delivery_id, for_change=True)
    log.queue_again(session, webhook, delivery, who=current_actor().label)
    session.commit()
    return DeliveryOut.model_validate(delivery)


def _organisation_id(session: Session, slug: str) -> int:
    (organisation,) = find_subjects(session, "organisation", slug)
    return organisation.organisation_id


def _gate() -> Gate:
    gate: Gate = current_app.config.get(GATE) or Gate()
    return gate
