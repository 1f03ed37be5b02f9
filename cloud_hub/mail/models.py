"""The outbox."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Index, Integer, Text, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import Tenancy


class OutgoingMail(Base):
    """One letter; what it says may hold a secret link, so the web can put it in and never read it."""

    __tablename__ = "mail_outbox"
    tenancy = Tenancy("outbox", "false", "true", ("INSERT",))
    __table_args__ = (
        Index("mail_outbox_due", "due_at", postgresql_where=text("sent_at IS NULL AND given_up_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    recipient: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    """Plain text; empty once it is sent, for it may have held a secret."""
    queued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """When it is tried next."""
    problem: Mapped[str | None] = mapped_column(Text)
    """Why the last attempt failed."""
    key: Mapped[UUID] = mapped_column(Uuid, server_default=func.gen_random_uuid(), index=True)
    """What others know it by, and its Message-ID: a letter that goes twice is seen to be one."""
    given_up_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When it was refused for good; `problem` says why."""
