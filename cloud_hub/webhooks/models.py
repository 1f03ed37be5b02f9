"""The tables of webhooks, and of what was sent to them."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ALL, CHANGE, Tenancy, of_organisation, through


class Webhook(Base):
    """An address that an organisation wants to be told at."""

    __tablename__ = "webhooks"
    tenancy = of_organisation(web=ALL)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    name: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Patterns of `cloud_hub.events.kinds`."""
    is_active: Mapped[bool] = mapped_column(Boolean, server_default="true")
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    """Why the hub switched it off; None when it did not."""
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    """Failed attempts since the last that went well."""
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    is_slow: Mapped[bool] = mapped_column(Boolean, server_default="false")
    """Whether its last answer took so long that it may not hold up the quick ones."""
    rest_until: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """After a failure nothing is sent before this."""
    leased_until: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """One worker at a time sends to it; this is how long the others keep away should that one die."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class WebhookSite(Base):
    """One site whose events a webhook wants; one without any wants those of all."""

    __tablename__ = "webhook_sites"
    tenancy = through("webhooks", "webhook_id", web=ALL)

    webhook_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True)
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), primary_key=True, index=True)


_OWN = "EXISTS (SELECT FROM webhooks parent WHERE parent.id = webhook_id)"


class WebhookSecret(Base):
    """A key that signs what is sent. The web puts it in and can never read it again; only `work` can."""

    __tablename__ = "webhook_secrets"
    tenancy = Tenancy("outbox", "false", _OWN, ("INSERT",))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    webhook_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    secret: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    overlap_until: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """Until then the secret before this one signs too."""


class WebhookDelivery(Base):
    """One message to one webhook."""

    __tablename__ = "webhook_deliveries"
    tenancy = through("webhooks", "webhook_id", web=CHANGE)
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state"),
        UniqueConstraint("webhook_id", "event_id"),
        Index(None, "webhook_id", "id"),
        Index("webhook_deliveries_waiting_idx", "webhook_id", "due_at", postgresql_where=text("state = 'waiting'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    webhook_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("webhooks.id", ondelete="CASCADE"))
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    """None for a test message. No foreign key: the log outlives the event."""
    message_id: Mapped[str] = mapped_column(
        Text, server_default=text("'msg_' || replace(CAST(gen_random_uuid() AS text), '-', '')")
    )
    """The same in every repetition, so that the receiver can tell one."""
    kind: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    """Attempts begun since it was queued."""
    queued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), index=True)
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WebhookAttempt(Base):
    """One time that a message was sent, and what came back."""

    __tablename__ = "webhook_attempts"
    tenancy = through("webhook_deliveries", "delivery_id")

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    delivery_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    status: Mapped[int | None] = mapped_column(Integer)
    """The HTTP status; None when there was no answer."""
    duration_ms: Mapped[int] = mapped_column(Integer)
    problem: Mapped[str] = mapped_column(Text)
    """Why it failed, in a sentence; empty when it went well."""
    answer: Mapped[str] = mapped_column(Text)
    """The beginning of the answer's body."""
