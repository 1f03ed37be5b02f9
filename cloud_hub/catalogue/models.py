"""The tables of custom profiles."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Integer, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ADD, CHANGE, inherited, through_inherited


class CustomProfile(Base):
    """A profile that an organisation made for itself and those below it, with what is searched of its newest version."""

    __tablename__ = "meter_profiles"
    tenancy = inherited(web=CHANGE)
    __table_args__ = (UniqueConstraint("organisation_id", "slug"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    slug: Mapped[str] = mapped_column(Text, index=True)
    """The id by which configurations name it."""
    manufacturer: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    category: Mapped[str] = mapped_column(Text)
    quantities: Mapped[list[str]] = mapped_column(ARRAY(Text))
    hash: Mapped[str] = mapped_column(Text)
    """Of the newest version."""
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    retired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """From when on nothing new may use it; what was published carries its own copy."""


class ProfileVersion(Base):
    """What a custom profile says, or said. Never changed."""

    __tablename__ = "meter_profile_versions"
    tenancy = through_inherited("meter_profiles", "profile_id", web=ADD)

    profile_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meter_profiles.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """From 1."""
    hash: Mapped[str] = mapped_column(Text)
    """Of its content; a version that takes an earlier one back has that one's."""
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_by: Mapped[str] = mapped_column(Text)
