"""The tables of what exists: sites, controllers, buses, meters, points, and the layouts that order points into columns.

What became of them in time is in `history_models`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    FetchedValue,
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
from cloud_hub.tenancy.rows import ALL, CHANGE, of_organisation, of_site, through


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


class LifeCycle(StrEnum):
    """Where in its life a site, a controller or a meter is; `life_cycle.py` says what may follow what."""

    PLANNED = "planned"
    COMMISSIONED = "commissioned"
    IN_SERVICE = "in_service"
    REPLACED = "replaced"
    """Of meters only: another one measures in its place."""
    RETIRED = "retired"


def _state(*words: LifeCycle) -> CheckConstraint:
    return CheckConstraint(f"state IN ({', '.join(repr(word.value) for word in words)})", name="state")


_WITHOUT_REPLACED = [word for word in LifeCycle if word is not LifeCycle.REPLACED]


class Site(Base):
    """A place with meters."""

    __tablename__ = "sites"
    tenancy = of_site(site="id", web=CHANGE)
    __table_args__ = (
        UniqueConstraint("organisation_id", "slug"),
        UniqueConstraint("id", "organisation_id"),
        _state(*_WITHOUT_REPLACED),
        Index(None, "tags", postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("organisations.id"), server_default="1", index=True
    )
    slug: Mapped[str] = mapped_column(Text)
    """Unique within its organisation."""
    name: Mapped[str] = mapped_column(Text)
    time_zone: Mapped[str] = mapped_column(Text, server_default="UTC")
    address: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    """A `cloud_hub.registry.schemas.Address`, without what is empty."""
    latitude: Mapped[float | None] = mapped_column(Double)
    """Degrees in WGS 84; both or none."""
    longitude: Mapped[float | None] = mapped_column(Double)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    """In order, each once."""
    state: Mapped[str] = mapped_column(Text, server_default=LifeCycle.IN_SERVICE)
    """A word of `LifeCycle`."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Controller(Base):
    """One agent: who it is, and what it last said of itself."""

    __tablename__ = "controllers"
    tenancy = of_site(web=CHANGE)
    __table_args__ = (
        ForeignKeyConstraint(["site_id", "organisation_id"], ["sites.id", "sites.organisation_id"], onupdate="CASCADE"),
        _state(*_WITHOUT_REPLACED),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    label: Mapped[str] = mapped_column(Text, server_default="")
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, FetchedValue(), server_onupdate=FetchedValue(), index=True)
    """Its site's, kept so by the database."""
    state: Mapped[str] = mapped_column(Text, server_default=LifeCycle.IN_SERVICE)
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
    tenancy = through("controllers", "controller_id")
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


class Bus(Base):
    """One line of a controller to meters: a serial port, a gateway, a meter on the network."""

    __tablename__ = "buses"
    tenancy = through("controllers", "controller_id", web=ALL)
    __table_args__ = (UniqueConstraint("controller_id", "slug"), UniqueConstraint("id", "controller_id"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text, ForeignKey("controllers.id"))
    slug: Mapped[str] = mapped_column(Text)
    """Its id in the controller's configuration."""
    line: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """A `protocol.line_config.LineConfig` without its id and without what is as usual."""


class Meter(Base):
    """One place where something is measured, behind one controller: its devices come and go, its history stays."""

    __tablename__ = "meters"
    tenancy = of_site(web=CHANGE)
    __table_args__ = (
        UniqueConstraint("controller_id", "slug"),
        ForeignKeyConstraint(["site_id", "organisation_id"], ["sites.id", "sites.organisation_id"], onupdate="CASCADE"),
        ForeignKeyConstraint(["bus_id", "controller_id"], ["buses.id", "buses.controller_id"]),
        _state(*LifeCycle),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    controller_id: Mapped[str] = mapped_column(Text, ForeignKey("controllers.id"))
    slug: Mapped[str] = mapped_column(Text)
    """Its id in the controller's configuration."""
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, FetchedValue(), server_onupdate=FetchedValue(), index=True)
    """Its site's, kept so by the database."""
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
    state: Mapped[str] = mapped_column(Text, server_default=LifeCycle.IN_SERVICE)
    """A word of `LifeCycle`; one that appears by itself, in a manifest, is in service."""
    serial_number: Mapped[str] = mapped_column(Text, server_default="")
    """Of the device that is there now."""
    bus_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """One of its controller's; None when nobody has said."""
    unit_id: Mapped[int | None] = mapped_column(Integer)
    """On its bus."""
    replaced_by_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("meters.id"), index=True)
    """The meter that measures in its place since it was replaced."""


class MeterOwner(Base):
    """A user whom a meter belongs to, such as the tenant of a flat."""

    __tablename__ = "meter_owners"
    tenancy = through("meters", "meter_id", web=ALL)

    meter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meters.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class MeterGroup(Base):
    """Meters that are looked at together."""

    __tablename__ = "meter_groups"
    tenancy = of_organisation()
    __table_args__ = (UniqueConstraint("organisation_id", "slug"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"), server_default="1")
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)


class MeterGroupMember(Base):
    """One meter in one group."""

    __tablename__ = "meter_group_members"
    tenancy = through("meter_groups", "group_id", and_table="meters", and_key="meter_id", web=ALL)

    group_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("meter_groups.id", ondelete="CASCADE"), primary_key=True
    )
    meter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meters.id"), primary_key=True, index=True)


class Point(Base):
    """One quantity of one meter."""

    __tablename__ = "points"
    tenancy = through("meters", "meter_id", web=CHANGE)
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
    label: Mapped[str] = mapped_column(Text, server_default="")


class StoredManifest(Base):
    """A manifest as it came, by the hash that batches name it with."""

    __tablename__ = "manifests"
    tenancy = through("controllers", "controller_id")

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
    tenancy = through("meters", "meter_id")

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    meter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meters.id"), index=True)
    point_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class ManifestLayout(Base):
    """Which layout the `index`-th of a manifest is."""

    __tablename__ = "manifest_layouts"
    tenancy = through("controllers", "controller_id")
    __table_args__ = (
        ForeignKeyConstraint(["controller_id", "manifest_hash"], ["manifests.controller_id", "manifests.hash"]),
    )

    controller_id: Mapped[str] = mapped_column(Text, primary_key=True)
    manifest_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    index: Mapped[int] = mapped_column(Integer, primary_key=True)
    layout_id: Mapped[int] = mapped_column(Integer, ForeignKey("layouts.id"), index=True)
    period_s: Mapped[float | None] = mapped_column(Double)
    on_demand: Mapped[bool] = mapped_column(Boolean, server_default="false")
