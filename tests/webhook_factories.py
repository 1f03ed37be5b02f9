"""Makers of webhooks and of messages to them for tests, and a look at what became of them."""

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from webhook_receiver import Receiver

from cloud_hub.events.service import publish
from cloud_hub.webhooks.delivering import Courier
from cloud_hub.webhooks.fanning import fan_out
from cloud_hub.webhooks.models import Webhook, WebhookSecret
from cloud_hub.webhooks.signing import make_secret


def add_webhook(
    session: Session,
    url: str,
    *,
    organisation_id: int = 1,
    kinds: tuple[str, ...] = ("*",),
    secret: str = "",
) -> Webhook:
    """Add a webhook with a secret, and commit."""
    webhook = Webhook(organisation_id=organisation_id, name="Billing", url=url, kinds=list(kinds))
    session.add(webhook)
    session.flush()
    session.add(WebhookSecret(webhook_id=webhook.id, secret=secret or make_secret()))
    session.commit()
    return webhook


def tell(session: Session, *kinds: str, organisation_id: int = 1, site_id: int | None = None) -> None:
    """Publish events and commit."""
    for kind in kinds or ("meter.made",):
        publish(session, organisation_id, kind=kind, subject="meter:7", data={"name": "Zähler"}, site_id=site_id)
    session.commit()


def tell_and_queue(engine: Engine, session: Session, *kinds: str) -> None:
    """Publish events and queue their messages."""
    tell(session, *kinds)
    while fan_out(engine):
        pass


def deliver_all(engine: Engine, receiver: Receiver) -> None:
    """Send all that is due to the receiver."""
    courier = Courier(engine, receiver.gate())
    while courier.deliver_some():
        pass


def make_due(session: Session) -> None:
    """Let the time pass until everything that waits is due, and every rest is over."""
    session.execute(text("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'waiting'"))
    session.execute(text("UPDATE webhooks SET rest_until = now(), leased_until = now()"))
    session.commit()


def age(session: Session, table: str, column: str, span: str) -> None:
    """Let everything in a table be older by a span."""
    session.execute(text(f"UPDATE {table} SET {column} = {column} - CAST(:span AS interval)"), {"span": span})
    session.commit()


def states(session: Session) -> list[str]:
    """Return the states of all messages in the order in which they were queued."""
    session.rollback()
    return list(session.scalars(text("SELECT state FROM webhook_deliveries ORDER BY id")))


def attempts(session: Session) -> list[tuple[int | None, str]]:
    """Return status and problem of all attempts."""
    session.rollback()
    rows = session.execute(text("SELECT status, problem FROM webhook_attempts ORDER BY id"))
    return [(row.status, row.problem) for row in rows]


def reload(session: Session, webhook: Webhook) -> Webhook:
    """Return the webhook as it is now."""
    session.rollback()
    return session.scalars(
        select(Webhook).where(Webhook.id == webhook.id).execution_options(populate_existing=True)
    ).one()
