"""The tables of roles and memberships."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ALL, inherited, of_member, through


class CustomRole(Base):
    """A role that an organisation made for itself and those below it: a set of permissions."""

    __tablename__ = "roles"
    tenancy = inherited()
    __table_args__ = (UniqueConstraint("organisation_id", "slug"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Words of `cloud_hub.access.permissions.Permission`."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Membership(Base):
    """What somebody is in an organisation, and so in all below it."""

    __tablename__ = "memberships"
    tenancy = of_member()
    __table_args__ = (
        UniqueConstraint("user_id", "organisation_id"),
        CheckConstraint("(role = 'custom') = (role_id IS NOT NULL)", name="role"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    role: Mapped[str] = mapped_column(Text)
    """A word of `cloud_hub.access.permissions.Role`."""
    role_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("roles.id"), index=True)
    is_limited: Mapped[bool] = mapped_column(Boolean, server_default="false")
    """Whether it holds for the sites in `membership_sites` alone."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class MembershipSite(Base):
    """One site of a membership that is limited to sites."""

    __tablename__ = "membership_sites"
    tenancy = through("memberships", "membership_id", web=ALL)

    membership_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("memberships.id", ondelete="CASCADE"), primary_key=True
    )
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), primary_key=True, index=True)
