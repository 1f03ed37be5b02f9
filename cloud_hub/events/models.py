"""The table of events."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ADD, of_site


class Event(Base):
    """Something that happened in an organisation, for those who subscribed."""

    __tablename__ = "events"
    tenancy = of_site(web=ADD)
    __table_args__ = (
        Index("events_position_idx", "position", unique=True),
        Index("events_waiting_idx", "id", postgresql_where=text("position IS NULL")),
        Index(None, "organisation_id", "position"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    site_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    """A constant word such as `meter.commissioned` or `command.done`."""
    subject: Mapped[str] = mapped_column(Text)
    """What it happened to, such as `meter:7`."""
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    position: Mapped[int | None] = mapped_column(BigInteger)
    """Its place among all that is told, given after its commit (`cloud_hub.events.order`); None until then."""
