"""The table of organisations, which form a tree."""

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    FetchedValue,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import of_organisations_themselves


class Organisation(Base):
    """Whose sites they are, and how it wants them counted and kept."""

    __tablename__ = "organisations"
    tenancy = of_organisations_themselves()
    __table_args__ = (
        CheckConstraint("interval_s IN (300, 900, 1800, 3600)", name="interval"),
        CheckConstraint("kind IN ('reseller', 'customer')", name="kind"),
        Index(None, "lineage", postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    parent_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    """The organisation above; None for the operator's."""
    lineage: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), FetchedValue(), server_onupdate=FetchedValue())
    """Ids from the topmost organisation down to this one; kept by the database."""
    kind: Mapped[str] = mapped_column(Text, server_default="customer")
    """`reseller` or `customer`, for people; the topmost is the operator, whatever stands here."""
    interval_s: Mapped[int] = mapped_column(Integer, server_default="1800")
    """Length of an interval of its ledger, in seconds."""
    readings_kept_days: Mapped[int | None] = mapped_column(Integer)
    """How long raw readings are kept; None for ever, as in the next two."""
    ledger_kept_days: Mapped[int | None] = mapped_column(Integer)
    audit_kept_days: Mapped[int | None] = mapped_column(Integer)
    readings_from: Mapped[date | None] = mapped_column(Date)
    """Closed readings before this UTC day were dropped: what came of them cannot be computed again."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    archived_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Since when it is over: nothing is added to it, and its slug stays taken."""
