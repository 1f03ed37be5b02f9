"""The tables of readings, and of what is known about their delivery."""

from datetime import datetime

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, INT8RANGE, Range
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base, Ranges
from cloud_hub.tenancy.rows import through
from protocol.ranges import RangeSet

scans = Table(
    "scans",
    Base.metadata,
    Column("observed_at", DateTime(timezone=True), nullable=False),
    Column("meter_id", BigInteger, nullable=False),
    Column("layout_id", Integer, nullable=False),
    Column("values", ARRAY(Double), nullable=False),
    Column("quality", ARRAY(SmallInteger)),
    Index(None, "meter_id", "observed_at"),
    postgresql_partition_by="RANGE (observed_at)",
    info={"tenancy": through("meters", "meter_id")},
)
"""One row per visit to a meter. `values` follow the layout's points, NaN where the quality carries none;
`quality` is null when all is good. No foreign key and no unique index: `streams.committed` alone
decides what is a duplicate, and loading is several times faster for it."""

scan_days = Table(
    "scan_days",
    Base.metadata,
    Column("meter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Date, primary_key=True),
    Column("layout_id", Integer, primary_key=True, autoincrement=False),
    Column("scans", Integer, nullable=False),
    Column("first_ms", Integer, nullable=False),
    Column("step_ms", Integer),
    Column("offsets_ms", ARRAY(Integer)),
    postgresql_partition_by="RANGE (day)",
    info={"tenancy": through("meters", "meter_id")},
)
"""When a layout's points were read on one closed day (UTC): milliseconds since midnight, ordered. As `offsets_ms`,
or, where they are evenly spaced, as `first_ms` and `step_ms`. A day's scans of one layout stand either here or in
`scans`; late ones stand there until they are merged."""

point_days = Table(
    "point_days",
    Base.metadata,
    Column("meter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("point_id", BigInteger, primary_key=True, autoincrement=False),
    Column("base", BigInteger, nullable=False, server_default="0"),
    Column("divisor", BigInteger, nullable=False, server_default="1"),
    Column("day", Date, primary_key=True),
    Column("layout_id", Integer, primary_key=True, autoincrement=False),
    Column("valued", Integer, nullable=False),
    Column("int2s", ARRAY(SmallInteger)),
    Column("int4s", ARRAY(Integer)),
    Column("float4s", ARRAY(REAL)),
    Column("float8s", ARRAY(Double)),
    Column("quality", ARRAY(SmallInteger)),
    postgresql_partition_by="RANGE (day)",
    info={"tenancy": through("meters", "meter_id")},
)
"""What was read of one point at those times, in one of four forms (`cloud_hub.readings.packing`): whole numbers, with
value = (base + n) / divisor, or floats; in none when no value is there. `valued` says how many are. `quality` is
null when all is good."""

_views = MetaData()

readings = Table(
    "readings",
    _views,
    Column("observed_at", DateTime(timezone=True)),
    Column("meter_id", BigInteger),
    Column("point_id", BigInteger),
    Column("value", Double),
    Column("quality", SmallInteger),
    Column("day", Date),
)
"""View: a row per reading, for people and tools. `value` is null where the quality carries none; `day` is the UTC
date, by which old readings are found quickly."""

point_latest = Table(
    "point_latest",
    _views,
    Column("point_id", BigInteger, primary_key=True),
    Column("meter_id", BigInteger),
    Column("observed_at", DateTime(timezone=True)),
    Column("value", Double),
    Column("quality", SmallInteger),
)
"""View: the newest reading of each point."""


class ScanLatest(Base):
    """The newest scan of each layout."""

    __tablename__ = "scan_latest"
    tenancy = through("meters", "meter_id")
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)  # updates stay in their page (HOT)

    layout_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    meter_id: Mapped[int] = mapped_column(BigInteger, index=True)
    observed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    values: Mapped[list[float]] = mapped_column(ARRAY(Double))
    quality: Mapped[list[int] | None] = mapped_column(ARRAY(SmallInteger))


class Stream(Base):
    """What one run of an agent records, and which of its numbers the database holds.

    `committed`, `gaps` and `quarantined` share no number. Numbers below `announced_next` that are in
    none of them are on the way, or on the controller.
    """

    __tablename__ = "streams"
    tenancy = through("controllers", "controller_id")
    __table_args__ = (UniqueConstraint("controller_id", "stream_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text)
    stream_id: Mapped[bytes] = mapped_column(LargeBinary)
    committed: Mapped[RangeSet] = mapped_column(Ranges, server_default="{}")
    gaps: Mapped[RangeSet] = mapped_column(Ranges, server_default="{}")
    """Numbers for which the agent delivered a gap record instead of a scan."""
    quarantined: Mapped[RangeSet] = mapped_column(Ranges, server_default="{}")
    safe: Mapped[RangeSet] = mapped_column(Ranges, server_default="{}")
    lowest_held: Mapped[int] = mapped_column(BigInteger, server_default="1")
    announced_next: Mapped[int] = mapped_column(BigInteger, server_default="1")
    """One above the highest number that the agent has spoken of."""
    boot_id: Mapped[str | None] = mapped_column(Text)
    """Of the boot in which the hub first heard of it; hexadecimal."""
    first_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Set while some of what was announced has a `never_arrived` gap record: since its agent no longer names it,
    or names it with a lower next number. Above `last_seen_at`: nothing has been heard of it since."""


class GapRecord(Base):
    """Numbers of a stream that carry no scan, and why."""

    __tablename__ = "gap_records"
    tenancy = through("controllers", "controller_id")

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    stream_pk: Mapped[int] = mapped_column(BigInteger, ForeignKey("streams.id"), index=True)
    controller_id: Mapped[str] = mapped_column(Text)
    sequences: Mapped[Range[int]] = mapped_column(INT8RANGE)
    reason: Mapped[int] = mapped_column(SmallInteger)
    """A code of `protocol.scans.GapReason`."""
    from_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    to_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class QuarantinedBatch(Base):
    """A batch that could not be stored, kept as it came."""

    __tablename__ = "quarantine"
    tenancy = through("controllers", "controller_id")
    __table_args__ = (UniqueConstraint("controller_id", "digest"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text)
    stream_id: Mapped[bytes | None] = mapped_column(LargeBinary)
    first_sequence: Mapped[int | None] = mapped_column(BigInteger)
    last_sequence: Mapped[int | None] = mapped_column(BigInteger)
    manifest_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    reason: Mapped[str] = mapped_column(Text)
    """A word of `cloud_hub.ingest.reasons.QuarantineReason`."""
    detail: Mapped[str] = mapped_column(Text)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    replayed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
