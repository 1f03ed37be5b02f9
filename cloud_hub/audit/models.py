"""The audit trail's table."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base


class AuditEvent(Base):
    """One deed of one person. Never changed; dropped when its organisation's period is over."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "organisation_id", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    who: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    """A constant word such as `exchange_recorded`."""
    subject: Mapped[str] = mapped_column(Text)
    """What it was done to, such as `point:7`."""
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
