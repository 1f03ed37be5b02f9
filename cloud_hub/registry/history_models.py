"""The tables of what became of sites, controllers and meters in time. Their rows are never changed."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ADD, Tenancy, through

_OF_ANY = " OR ".join(
    f"EXISTS (SELECT FROM {table} parent WHERE parent.id = {key})"
    for table, key in (("meters", "meter_id"), ("controllers", "controller_id"), ("sites", "site_id"))
)


class LifeCycleChange(Base):
    """One step in the life of a site, a controller or a meter."""

    __tablename__ = "life_cycle_changes"
    # As `through`, of whichever of three.
    tenancy = Tenancy("through", f"({_OF_ANY})", f"({_OF_ANY})", ADD)
    __table_args__ = (CheckConstraint("num_nonnulls(site_id, controller_id, meter_id) = 1", name="subject"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    site_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    controller_id: Mapped[str | None] = mapped_column(Text, ForeignKey("controllers.id"), index=True)
    meter_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("meters.id"), index=True)
    before: Mapped[str | None] = mapped_column(Text)
    """A word of `LifeCycle`; None at the beginning of its life."""
    after: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When it happened, as whoever recorded it says."""
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    recorded_by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, server_default="")


class MeterDevice(Base):
    """A device that measured for a meter until it was exchanged."""

    __tablename__ = "meter_devices"
    tenancy = through("meters", "meter_id", web=ADD)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    meter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("meters.id"), index=True)
    serial_number: Mapped[str] = mapped_column(Text)
    """Empty when nobody had said."""
    profile: Mapped[str] = mapped_column(Text)
    removed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    recorded_by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, server_default="")
