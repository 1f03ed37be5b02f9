"""The tables of configurations, commands, and of what is on its way to controllers."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ADD, ALL, shared, through


class ConfigurationState(StrEnum):
    """How far a revision has come."""

    DRAFT = "draft"
    VALIDATED = "validated"
    """It compiles, and nobody has changed it since."""
    PUBLISHED = "published"
    """It is on its way; the controller has not answered yet."""
    ACKNOWLEDGED = "acknowledged"
    """The controller goes by it."""
    REFUSED = "refused"
    """The controller does not take it, and says why."""
    ROLLED_BACK = "rolled_back"
    """Taken back: by a person, or by the controller, which could not reach the hub with it."""
    SUPERSEDED = "superseded"
    """Another one was published before the controller answered."""


OPEN = (ConfigurationState.DRAFT, ConfigurationState.VALIDATED)


class CommandProgress(StrEnum):
    """How a command stands."""

    QUEUED = "queued"
    SENT = "sent"
    """The broker has passed it on; the controller may be away for a moment."""
    RECEIVED = "received"
    """The controller has begun it."""
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """The controller did not begin it, and says why."""
    EXPIRED = "expired"
    """Its time was over before it was begun."""
    INTERRUPTED = "interrupted"
    """The controller ended meanwhile: whether it had its effect is not known."""


class SiteConfiguration(Base):
    """A draft, or a published revision, of what one controller shall do."""

    __tablename__ = "configurations"
    tenancy = through("controllers", "controller_id", web=ALL)
    __table_args__ = (
        UniqueConstraint("controller_id", "revision"),
        Index("configurations_one_draft_idx", "controller_id", unique=True, postgresql_where="revision IS NULL"),
        Index(None, "controller_id", "id"),
        CheckConstraint("(revision IS NULL) = (state IN ('draft', 'validated'))", name="published"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text, ForeignKey("controllers.id"))
    state: Mapped[str] = mapped_column(Text)
    """A word of `ConfigurationState`."""
    revision: Mapped[int | None] = mapped_column(BigInteger)
    """Grows with each publication; controllers refuse what is not newer. None for a draft."""
    based_on: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("configurations.id"), index=True)
    """The newest published one when this was drafted."""
    rolls_back_to: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("configurations.id"), index=True)
    note: Mapped[str] = mapped_column(Text, server_default="")
    site: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """A `SiteConfig` as it was written."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_by: Mapped[str] = mapped_column(Text)
    edited_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    edited_by: Mapped[str | None] = mapped_column(Text)
    validated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    validated_by: Mapped[str | None] = mapped_column(Text)
    resolved: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """The same with the custom profiles that it uses, as they were when it was validated."""
    findings: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """What the compiler says of it."""
    published_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    published_by: Mapped[str | None] = mapped_column(Text)
    hash: Mapped[str | None] = mapped_column(Text)
    """`config_hash` of the order, by which controllers name it."""
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """By the controller's clock."""
    reason: Mapped[str] = mapped_column(Text, server_default="")
    """Why it was refused or taken back."""


class SentCommand(Base):
    """An order to do something once, and what came of it."""

    __tablename__ = "commands"
    tenancy = through("controllers", "controller_id", web=ADD)
    __table_args__ = (
        Index(None, "controller_id", "ordered_at", "id"),
        Index("commands_open_idx", "expires_at", postgresql_where="state IN ('queued', 'sent', 'received')"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text, ForeignKey("controllers.id"))
    kind: Mapped[str] = mapped_column(Text)
    """A word of `protocol.control.CommandKind`."""
    arguments: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(Text, server_default="queued")
    """A word of `CommandProgress`."""
    reason: Mapped[str] = mapped_column(Text, server_default="")
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    ordered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ordered_by: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Downlink(Base):
    """An order in the outbox: `work` signs it and says it to the broker."""

    __tablename__ = "downlinks"
    tenancy = through("controllers", "controller_id", web=ADD)
    __table_args__ = (
        Index("downlinks_due_idx", "due_at", postgresql_where="due_at IS NOT NULL"),
        Index(None, "controller_id", "id"),
        CheckConstraint("num_nonnulls(configuration_id, command_id) = 1", name="about"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text, ForeignKey("controllers.id"))
    kind: Mapped[str] = mapped_column(Text)
    """A word of `protocol.topics.Down`."""
    configuration_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("configurations.id"), unique=True)
    command_id: Mapped[str | None] = mapped_column(Text, ForeignKey("commands.id"), unique=True)
    body: Mapped[str] = mapped_column(Text)
    """Exactly what is signed."""
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """When it is said next; None when there is nothing left to do."""
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the broker last took it."""


class OrderKey(Base):
    """A public key that controllers may know the hub's orders by."""

    __tablename__ = "order_keys"
    tenancy = shared()

    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    public_key: Mapped[str] = mapped_column(Text)
    """PEM, as agents read it."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
