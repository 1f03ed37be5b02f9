"""What was sent to a webhook, and sending it again. Callers commit."""

from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, NotFound
from cloud_hub.web.pagination import Page, Window, cut
from cloud_hub.webhooks.fanning import message_body
from cloud_hub.webhooks.models import Webhook, WebhookAttempt, WebhookDelivery
from cloud_hub.webhooks.schemas import AttemptOut, DeliveryDetailOut, DeliveryOut

PING = "ping"
"""The kind of a test message."""
_SHOWN_MAX = 100

State = Literal["waiting", "delivered", "failed"]


class UnknownDelivery(NotFound):
    """The webhook has no such message."""


class SwitchedOff(Conflict):
    """Nothing is sent to a webhook that is switched off."""


def list_deliveries(
    session: Session, webhook_id: int, window: Window, state: State | None = None
) -> Page[WebhookDelivery]:
    """List messages, the newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    if window.after is not None:
        query = query.where(WebhookDelivery.id < window.after_id)
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    rows = session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(window.limit + 1)).all()
    return cut(rows, window, lambda delivery: delivery.id)


def get_delivery(session: Session, webhook_id: int, delivery_id: int, *, for_change: bool = False) -> WebhookDelivery:
    """Return one message of a webhook; locked when it is about to change.

    Raises: UnknownDelivery.
    """
    query = select(WebhookDelivery).where(WebhookDelivery.id == delivery_id, WebhookDelivery.webhook_id == webhook_id)
    delivery = session.scalars(query.with_for_update() if for_change else query).one_or_none()
    if delivery is None:
        raise UnknownDelivery(f"webhook {webhook_id} has no message {delivery_id}: it may be older than 30 days")
    return delivery


def show_in_detail(session: Session, delivery: WebhookDelivery) -> DeliveryDetailOut:
    """Return a message with its attempts."""
    query = (
        select(WebhookAttempt)
        .where(WebhookAttempt.delivery_id == delivery.id)
        .order_by(WebhookAttempt.id.desc())
        .limit(_SHOWN_MAX)
    )
    tried = [AttemptOut.model_validate(attempt) for attempt in reversed(session.scalars(query).all())]
    shown = DeliveryOut.model_validate(delivery)
    return DeliveryDetailOut(**shown.model_dump(), body=delivery.body, tried=tried)


def queue_again(session: Session, webhook: Webhook, delivery: WebhookDelivery, *, who: str) -> None:
    """Let a locked message be sent once more, under its own id.

    Raises: SwitchedOff.
    """
    _wake(webhook)
    now = datetime.now(UTC)
    delivery.state, delivery.attempts, delivery.finished_at = "waiting", 0, None
    delivery.queued_at = delivery.due_at = now
    session.flush()
    detail = {"delivery_id": delivery.id, "message_id": delivery.message_id}
    subject = f"webhook:{webhook.id}"
    record(session, webhook.organisation_id, who=who, action="webhook_resent", subject=subject, detail=detail)


def queue_ping(session: Session, webhook: Webhook, *, who: str) -> WebhookDelivery:
    """Queue a test message.

    Raises: SwitchedOff.
    """
    _wake(webhook)
    data = {"webhook_id": webhook.id, "name": webhook.name, "asked_by": who}
    delivery = WebhookDelivery(
        webhook_id=webhook.id, event_id=None, kind=PING, body=message_body(PING, datetime.now(UTC), data)
    )
    session.add(delivery)
    session.flush()
    subject, detail = f"webhook:{webhook.id}", {"delivery_id": delivery.id}
    record(session, webhook.organisation_id, who=who, action="webhook_pinged", subject=subject, detail=detail)
    return delivery


def _wake(webhook: Webhook) -> None:
    if not webhook.is_active:
        raise SwitchedOff(f"webhook {webhook.id} is switched off: switch it on first")
    webhook.rest_until = datetime.now(UTC)  # somebody waits and looks
