"""The ledger's tables. Amounts are whole millionths of the register's unit, so that sums are exact."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ALL, CHANGE, of_organisation, through


class RegisterRecord(Base):
    """How a point's register is to be read, for a period of time. Never changed: a correction withdraws it."""

    __tablename__ = "registers"
    tenancy = through("points", "point_id", web=CHANGE)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    point_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("points.id"), index=True)
    valid_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    valid_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    unit: Mapped[str] = mapped_column(Text)
    """Of the amounts in the ledger."""
    scale: Mapped[Decimal] = mapped_column(Numeric, server_default="1")
    """Multiplies what the readings say."""
    direction: Mapped[str] = mapped_column(Text)
    """A word of `cloud_hub.energy.model.Direction`."""
    is_total: Mapped[bool] = mapped_column(Boolean)
    """True for the register that stands for its meter in its direction; false for a phase or a tariff."""
    rollover: Mapped[Decimal | None] = mapped_column(Numeric)
    """What the reading starts again from 0 at, before `scale`; None when not known."""
    max_rate_per_h: Mapped[Decimal | None] = mapped_column(Numeric)
    """No more than this can be counted in an hour, in `unit`; None for what is usual for the kind of meter."""
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    recorded_by: Mapped[str] = mapped_column(Text)
    """A person, or `profile` for what the meter's profile says."""
    why: Mapped[str] = mapped_column(Text, server_default="")
    withdrawn_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    withdrawn_by: Mapped[str | None] = mapped_column(Text)


class MeterExchange(Base):
    """A register that was replaced by another, both read at that moment, before `scale`."""

    __tablename__ = "meter_exchanges"
    tenancy = through("points", "point_id", web=CHANGE)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    point_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("points.id"), index=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closing: Mapped[Decimal] = mapped_column(Numeric)
    opening: Mapped[Decimal] = mapped_column(Numeric)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    recorded_by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, server_default="")
    withdrawn_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    withdrawn_by: Mapped[str | None] = mapped_column(Text)


class Dirty(Base):
    """A stretch of a meter's time in which something has changed. Added with the change, gone when recomputed."""

    __tablename__ = "ledger_dirty"
    tenancy = through("meters", "meter_id", web=ALL)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    meter_id: Mapped[int] = mapped_column(BigInteger, index=True)
    from_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    to_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """The last instant, itself included."""
    is_silence: Mapped[bool] = mapped_column(Boolean, server_default="false")
    """Nothing has changed but the time: intervals have ended without a reading."""
    noted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class LedgerDay(Base):
    """What is known now of one register's intervals of one local day, in order from local midnight.

    The arrays are equally long: 46, 48 or 50 half hours. An array that would hold only zeros (or, for
    `registered_micro`, nothing but `amounts_micro`) is null.
    """

    __tablename__ = "ledger_days"
    tenancy = through("points", "point_id", web=ALL)
    __table_args__ = ({"postgresql_with": {"fillfactor": "70"}},)

    start_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Local midnight."""
    end_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """The next one."""
    point_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    total_micro: Mapped[int] = mapped_column(BigInteger)
    """The sum of the amounts."""
    day: Mapped[date] = mapped_column(Date, primary_key=True, index=True)
    """In the site's time zone."""
    interval_s: Mapped[int] = mapped_column(Integer)
    calculation: Mapped[int] = mapped_column(SmallInteger)
    """The version of the arithmetic."""
    completeness: Mapped[int] = mapped_column(SmallInteger)
    """Of the whole day, in thousandths of its time."""
    amounts_micro: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """After validation, estimation and editing; 0 where the quality is missing or absent."""
    registered_micro: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    """Before: what the register alone says."""
    qualities: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    """Codes of `cloud_hub.energy.model.IntervalQuality`."""
    completenesses: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    """Of each interval, in thousandths."""
    causes: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    """Bits of `cloud_hub.energy.model.Cause`."""
    methods: Mapped[list[int] | None] = mapped_column(ARRAY(SmallInteger))
    """Codes of `cloud_hub.energy.model.Method`."""
    known_at: Mapped[list[datetime]] = mapped_column(ARRAY(DateTime(timezone=True)))
    """Since when each interval has been known to be so."""


ledger_superseded = Table(
    "ledger_superseded",
    Base.metadata,
    Column("start_at", DateTime(timezone=True), nullable=False),
    Column("end_at", DateTime(timezone=True), nullable=False),
    Column("point_id", BigInteger, nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("registered_micro", BigInteger, nullable=False),
    Column("known_from", DateTime(timezone=True), nullable=False),
    Column("known_until", DateTime(timezone=True), nullable=False, index=True),
    Column("causes", Integer, nullable=False),
    Column("quality", SmallInteger, nullable=False),
    Column("completeness", SmallInteger, nullable=False),
    Column("method", SmallInteger, nullable=False),
    Column("calculation", SmallInteger, nullable=False),
    Index(None, "point_id", "start_at"),
    info={"tenancy": through("points", "point_id", web=ALL)},
)
"""What an interval was known to be before. Only ever added to."""


class LedgerMonth(Base):
    """The sum of a register's days of one local month."""

    __tablename__ = "ledger_months"
    tenancy = through("points", "point_id", web=ALL)

    point_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    """Its first day."""
    total_micro: Mapped[int] = mapped_column(BigInteger)
    estimated_micro: Mapped[int] = mapped_column(BigInteger)
    """The part of it that is estimated."""
    edited_micro: Mapped[int] = mapped_column(BigInteger)
    completeness: Mapped[int] = mapped_column(SmallInteger)
    """In thousandths of the time of the days that are there."""
    days: Mapped[int] = mapped_column(Integer)


class LedgerFinding(Base):
    """Something that happened to a register, under its name."""

    __tablename__ = "ledger_findings"
    tenancy = through("points", "point_id", web=ALL)
    __table_args__ = (UniqueConstraint("point_id", "kind", "from_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    point_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    """A word of `cloud_hub.energy.model.FindingKind`."""
    from_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    to_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
    found_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class LedgerEdit(Base):
    """An amount that a person put in place of what was computed. Never changed but to be undone."""

    __tablename__ = "ledger_edits"
    tenancy = through("points", "point_id", web=CHANGE)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    point_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("points.id"), index=True)
    from_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    to_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """Both on borders of intervals; the end is not part of it."""
    amount_micro: Mapped[int] = mapped_column(BigInteger)
    """Of the whole stretch, spread evenly over its intervals."""
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    made_by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    undone_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    undone_by: Mapped[str | None] = mapped_column(Text)
    undone_why: Mapped[str | None] = mapped_column(Text)


class SuspectSpan(Base):
    """Readings of a meter that are kept, and counted nowhere until a person has judged them."""

    __tablename__ = "suspect_spans"
    tenancy = through("meters", "meter_id", web=CHANGE)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    meter_id: Mapped[int] = mapped_column(BigInteger, index=True)
    from_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    to_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """The last reading, itself included."""
    reason: Mapped[str] = mapped_column(Text)
    """`future` or `past`."""
    readings: Mapped[int] = mapped_column(BigInteger)
    instants_ms: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    """Theirs, in UTC milliseconds since 1970: honest readings of the same hours, when they come, are not meant."""
    noted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    resolution: Mapped[str | None] = mapped_column(Text)
    """`accepted` or `discarded`; None until a person has judged."""
    resolved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    resolved_by: Mapped[str | None] = mapped_column(Text)


class ValidationSetting(Base):
    """What an organisation wants of one validation rule for one kind of meter, over the usual."""

    __tablename__ = "validation_settings"
    tenancy = of_organisation()

    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), primary_key=True)
    meter_kind: Mapped[str] = mapped_column(Text, primary_key=True)
    """The category of the meter's profile, or `*` for all."""
    rule: Mapped[str] = mapped_column(Text, primary_key=True)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
