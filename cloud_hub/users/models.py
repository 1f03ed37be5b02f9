"""The tables of accounts - people, and services that act by tokens - and of how people want to be served."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Integer, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import CHANGE, of_person, people


class User(Base):
    """Somebody, or a service, that may act."""

    __tablename__ = "users"
    tenancy = people(web=CHANGE)
    __table_args__ = (CheckConstraint("kind IN ('person', 'service')", name="kind"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[str] = mapped_column(Text, server_default="person")
    email: Mapped[str | None] = mapped_column(unique=True)
    """In lower case; None for a service."""
    password_hash: Mapped[str | None]
    """None for a service, and for a person who comes by single sign-on or has not yet accepted an invitation."""
    name: Mapped[str] = mapped_column(Text, server_default="")
    organisation_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    """Whose service it is; None for a person, who may belong to several."""
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    @property
    def label(self) -> str:
        """How the audit trail and the pages name it."""
        return self.email or f"service:{self.name}"


class Profile(Base):
    """How somebody wants to be served; who never said so has no row."""

    __tablename__ = "profiles"
    tenancy = of_person()
    __table_args__ = (
        CheckConstraint("language IN ('en', 'de')", name="language"),
        CheckConstraint("time_display IN ('site', 'own')", name="time_display"),
        CheckConstraint("clock_hours IN (12, 24)", name="clock_hours"),
        CheckConstraint("time_display = 'site' OR time_zone IS NOT NULL", name="own_zone"),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    language: Mapped[str] = mapped_column(Text, server_default="en")
    time_display: Mapped[str] = mapped_column(Text, server_default="site")
    """Whether times are shown on the clock of the `site` or on one's `own`."""
    time_zone: Mapped[str | None] = mapped_column(Text)
    clock_hours: Mapped[int] = mapped_column(Integer, server_default="24")
    notifications: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    """A `cloud_hub.users.notifications.Notifications`; what is left out has its default."""
