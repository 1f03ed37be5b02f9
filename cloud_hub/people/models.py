"""The tables of invitations and of creations of people."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import CHANGE, of_member, of_organisation


class Invitation(Base):
    """Somebody is asked to belong to an organisation. Whoever shows the token that was mailed may accept, once."""

    __tablename__ = "invitations"
    tenancy = of_member(web=CHANGE)
    __table_args__ = (
        Index(
            "invitations_open",
            "organisation_id",
            "email",
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    email: Mapped[str] = mapped_column(Text)
    """In lower case."""
    name: Mapped[str] = mapped_column(Text, server_default="")
    role: Mapped[str] = mapped_column(Text)
    role_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("roles.id", ondelete="SET NULL"), index=True)
    """The role that `custom` stands for; None when it was deleted after the invitation was over."""
    site_ids: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    """The sites that the membership will be limited to; None for all."""
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    invited_by: Mapped[str] = mapped_column(Text)
    mail_id: Mapped[UUID | None] = mapped_column(Uuid)
    """The key of the letter that carries the token."""
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="SET NULL"), index=True)
    """Who accepted it."""
    membership_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("memberships.id", ondelete="SET NULL"), index=True
    )
    """What came of it, as long as it lasts."""
    made_account: Mapped[bool] = mapped_column(Boolean, server_default="false")
    """Whether the account was made by accepting."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PersonCreation(Base):
    """A person on the way to belong to an organisation with all that they need there: all of it, or nothing."""

    __tablename__ = "people_creations"
    tenancy = of_organisation(web=CHANGE)
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'active', 'failed')", name="state"),
        CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", name="reason"),
        Index("people_creations_pending", "id", postgresql_where=text("state = 'pending'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    invitation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("invitations.id"), unique=True)
    state: Mapped[str] = mapped_column(Text, server_default="pending")
    """A word of `cloud_hub.people.saga.CreationState`."""
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it failed, and so was undone."""
    steps: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    """By the name of each step what it noted for itself. No secrets."""
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
