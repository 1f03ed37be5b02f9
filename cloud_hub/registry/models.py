"""The tables of what exists: sites, controllers, meters, points, and the layouts that order points into columns."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base


class MeterRole(StrEnum):
    """What a meter measures, which says how it enters its site's total."""

    GRID = "grid"
    HEATER = "heater"
    AIR_CONDITIONER = "air_conditioner"
    WATER = "water"
    LIGHTING = "lighting"
    UPS = "ups"
    SERVER = "server"
    PV = "pv"
    BATTERY = "battery"
    OTHER = "other"


class Organisation(Base):
    """Whose sites they are, and how it wants them counted and kept."""

    __tablename__ = "organisations"
    __table_args__ = (CheckConstraint("interval_s IN (300, 900, 1800, 3600)", name="interval"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    interval_s: Mapped[int] = mapped_column(Integer, server_default="1800")
    """Length of an interval of its ledger, in seconds."""
    readings_kept_days: Mapped[int | None] = mapped_column(Integer)
    """How long raw readings are kept; None for ever, as in the next two."""
    ledger_kept_days: Mapped[int | None] = mapped_column(Integer)
    audit_kept_days: Mapped[int | None] = mapped_column(Integer)
    readings_from: Mapped[date | None] = mapped_column(Date)
    """Closed readings before this UTC day were dropped: what came of them cannot be computed again."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Site(Base):
    """A place with meters."""

    __tablename__ = "sites"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("organisations.id"), server_default="1", index=True
    )
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    time_zone: Mapped[str] = mapped_column(Text, server_default="UTC")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Controller(Base):
    """One agent: who it is, and what it last said of itself."""

    __tablename__ = "controllers"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """By the hub's clock, to about ten seconds."""
    presence: Mapped[str | None] = mapped_column(Text)
    """A word of `protocol.messages.Presence`; None until the first status."""
    presence_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    agent_version: Mapped[str | None] = mapped_column(Text)
    boot_id: Mapped[str | None] = mapped_column(Text)
    """Hexadecimal."""
    health: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    health_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    manifest_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The manifest that it works with."""


class ControllerReply(Base):
    """What a controller answered to an order: a command or a configuration."""

    __tablename__ = "controller_replies"
    __table_args__ = (
        UniqueConstraint("controller_id", "digest"),
        Index(None, "controller_id", "received_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    """`command` or `config`."""
    reference: Mapped[str] = mapped_column(Text)
    """The command's id, or the configuration's revision."""
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    said_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """By the controller's clock."""
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class Meter(Base):
    """One meter behind one controller."""

    __tablename__ = "meters"
    __table_args__ = (UniqueConstraint("controller_id", "slug"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text, ForeignKey("controllers.id"))
    slug: Mapped[str] = mapped_column(Text)
    """Its id in the controller's configuration."""
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    label: Mapped[str] = mapped_column(Text, server_default="")
    profile: Mapped[str] = mapped_column(Text)
    period_s: Mapped[float] = mapped_column(Double)
    """Seconds between scans; the shortest, where its points differ."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    role: Mapped[str] = mapped_column(Text, server_default="other")
    """A word of `MeterRole`."""
    parent_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("meters.id"), index=True)
    """The meter upstream, whose energy includes this one's."""
    commissioned_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Readings from before are kept and counted nowhere; None when nobody has said."""


class MeterGroup(Base):
    """Meters that are looked at together."""

    __tablename__ = "meter_groups"
    __table_args__ = (UniqueConstraint("organisation_id", "slug"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), server_default="1")
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)


class MeterGroupMember(Base):
    """One meter in one group."""

    __tablename__ = "meter_group_members"

    group_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("meter_groups.id", ondelete="CASCADE"), primary_key=True
    )
    meter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meters.id"), primary_key=True, index=True)


class Point(Base):
    """One quantity of one meter."""

    __tablename__ = "points"
    __table_args__ = (UniqueConstraint("meter_id", "name"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    meter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meters.id"))
    name: Mapped[str] = mapped_column(Text)
    quantity: Mapped[str] = mapped_column(Text)
    unit: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    """A word of `protocol.manifest.PointKind`."""
    statistic: Mapped[str | None] = mapped_column(Text)
    """A word of `protocol.report_policy.Statistic` when it sums up a report period."""
    period_s: Mapped[float | None] = mapped_column(Double)
    """The longest time between two readings while all is well; None when none are expected."""


class StoredManifest(Base):
    """A manifest as it came, by the hash that batches name it with."""

    __tablename__ = "manifests"

    controller_id: Mapped[str] = mapped_column(Text, ForeignKey("controllers.id"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class StoredLayout(Base):
    """The ordered points whose values one scan row holds.

    No two of a meter are alike: whoever adds one holds the lock on its controller's row. (A unique
    index cannot see to it: a thousand point ids are too wide for a btree.)
    """

    __tablename__ = "layouts"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    meter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meters.id"), index=True)
    point_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class ManifestLayout(Base):
    """Which layout the `index`-th of a manifest is."""

    __tablename__ = "manifest_layouts"
    __table_args__ = (
        ForeignKeyConstraint(["controller_id", "manifest_hash"], ["manifests.controller_id", "manifests.hash"]),
    )

    controller_id: Mapped[str] = mapped_column(Text, primary_key=True)
    manifest_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    index: Mapped[int] = mapped_column(Integer, primary_key=True)
    layout_id: Mapped[int] = mapped_column(Integer, ForeignKey("layouts.id"), index=True)
    period_s: Mapped[float | None] = mapped_column(Double)
    on_demand: Mapped[bool] = mapped_column(Boolean, server_default="false")
