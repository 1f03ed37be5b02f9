"""The audit trail's tables. Nobody may change them: see `chain`."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, FetchedValue, ForeignKey, Identity, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import append_only, hidden


class AuditEvent(Base):
    """One deed, or one attempt that was denied. Dropped only when its organisation's period is over.

    It names people in words and by number, without a foreign key: it outlives their accounts.
    """

    __tablename__ = "audit_events"
    tenancy = append_only()
    __table_args__ = (Index(None, "organisation_id", "at"), Index(None, "organisation_id", "number", unique=True))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    who: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    """A constant word such as `exchange_recorded`; `denied` for an attempt that was not let through."""
    subject: Mapped[str] = mapped_column(Text)
    """What it was done to, such as `point:7`."""
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    """The account's id; None for a command on the hub's own machine."""
    on_behalf_of: Mapped[str | None] = mapped_column(Text)
    """Whom a service said it acted for."""
    address: Mapped[str | None] = mapped_column(Text)
    """Where the request came from."""
    request_id: Mapped[str | None] = mapped_column(Text)
    number: Mapped[int] = mapped_column(BigInteger, FetchedValue())
    """Its place in its organisation's chain, from 1."""
    hash: Mapped[bytes] = mapped_column(LargeBinary, FetchedValue())
    """SHA-256 over the event before and all of this one."""


class AuditHead(Base):
    """The newest event of an organisation's chain, and where the chain begins since old events were dropped."""

    __tablename__ = "audit_heads"
    tenancy = hidden()

    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    first_number: Mapped[int] = mapped_column(BigInteger, server_default="1")
    """The oldest event that is kept."""
    before_first: Mapped[bytes] = mapped_column(LargeBinary, server_default="\\x")
    """The hash of the event before that one; empty at the very beginning."""
