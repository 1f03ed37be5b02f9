"""The tables of tariffs, price series, operating hours and emission factors.

Records with `withdrawn_at` are never changed otherwise: a correction withdraws one and adds another.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ALL, CHANGE, inherited, through, through_inherited

_NOT_WITHDRAWN = text("withdrawn_at IS NULL")


class Tariff(Base):
    """What a supplier charges, by a name; its versions say how much."""

    __tablename__ = "tariffs"
    tenancy = inherited(web=CHANGE)
    __table_args__ = (UniqueConstraint("organisation_id", "slug"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    """ISO 4217, of all versions."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class TariffVersion(Base):
    """What a tariff charges from an instant on, until the next version or its own end."""

    __tablename__ = "tariff_versions"
    tenancy = through_inherited("tariffs", "tariff_id", web=CHANGE)
    __table_args__ = (
        Index("tariff_versions_current_key", "tariff_id", "valid_from", unique=True, postgresql_where=_NOT_WITHDRAWN),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tariff_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("tariffs.id"), index=True)
    valid_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    valid_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """A `cloud_hub.tariffs.document.TariffDocument`; decimals are texts."""
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    recorded_by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, server_default="")
    withdrawn_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    withdrawn_by: Mapped[str | None] = mapped_column(Text)


class TariffAssignment(Base):
    """The tariff of a site from an instant on, until the next assignment."""

    __tablename__ = "tariff_assignments"
    tenancy = through("sites", "site_id", web=CHANGE)
    __table_args__ = (
        Index("tariff_assignments_current_key", "site_id", "valid_from", unique=True, postgresql_where=_NOT_WITHDRAWN),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    tariff_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("tariffs.id"), index=True)
    """None: no tariff from then on."""
    valid_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    recorded_by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, server_default="")
    withdrawn_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    withdrawn_by: Mapped[str | None] = mapped_column(Text)


class PriceSeries(Base):
    """Prices by time, such as those of a market, that tariffs refer to by slug."""

    __tablename__ = "price_series"
    tenancy = inherited(web=CHANGE)
    __table_args__ = (UniqueConstraint("organisation_id", "slug"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class TariffPrice(Base):
    """A price that holds in `[from_at, until_at)`."""

    __tablename__ = "tariff_prices"
    tenancy = through_inherited("price_series", "series_id", web=ALL)

    series_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("price_series.id"), primary_key=True, autoincrement=False
    )
    from_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    until_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    value: Mapped[Decimal] = mapped_column(Numeric)
    """Per kWh, in the series' currency; may be negative."""


class SiteHours(Base):
    """A site's operating hours from a local date on, until the next record."""

    __tablename__ = "operating_hours"
    tenancy = through("sites", "site_id", web=CHANGE)
    __table_args__ = (
        Index("operating_hours_current_key", "site_id", "first_day", unique=True, postgresql_where=_NOT_WITHDRAWN),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    site_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sites.id"), index=True)
    first_day: Mapped[date] = mapped_column(Date)
    """0001-01-01 for hours that have held ever since."""
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """A `cloud_hub.calendar.hours.OperatingHours`."""
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    recorded_by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, server_default="")
    withdrawn_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    withdrawn_by: Mapped[str | None] = mapped_column(Text)


class EmissionSeries(Base):
    """Factors of one publisher, with all that says what they may be compared with."""

    __tablename__ = "emission_series"
    tenancy = inherited(web=CHANGE)
    __table_args__ = (
        UniqueConstraint("organisation_id", "slug"),
        CheckConstraint("basis IN ('location', 'market')", name="basis"),
        CheckConstraint("kind IN ('average', 'marginal')", name="kind"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    region: Mapped[str] = mapped_column(Text)
    publisher: Mapped[str] = mapped_column(Text)
    year: Mapped[int | None] = mapped_column(Integer)
    """That the factors were published for; None for a running series."""
    basis: Mapped[str] = mapped_column(Text)
    """`location` (of the grid) or `market` (of the contract)."""
    kind: Mapped[str] = mapped_column(Text)
    """`average` (for accounts) or `marginal` (for the effect of shifting load)."""
    life_cycle: Mapped[bool] = mapped_column(Boolean)
    """True with what fuels and plants emitted upstream."""
    with_losses: Mapped[bool] = mapped_column(Boolean)
    """True with the losses of transmission and distribution."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class EmissionFactor(Base):
    """A factor that holds in `[from_at, until_at)`."""

    __tablename__ = "emission_factors"
    tenancy = through_inherited("emission_series", "series_id", web=ALL)

    series_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("emission_series.id"), primary_key=True, autoincrement=False
    )
    from_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    until_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    value: Mapped[Decimal] = mapped_column(Numeric)
    """g of CO2 equivalent per kWh."""
