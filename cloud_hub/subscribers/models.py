"""The tables of broker logins, and of what has been said on topics."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, DateTime, ForeignKey, Identity, Integer, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ALL, hidden, of_organisation


class SubscriberLogin(Base):
    """A login at the broker that reads an organisation's tree, with all below it. It belongs to a service account."""

    __tablename__ = "subscriber_logins"
    tenancy = of_organisation(web=ALL)
    __table_args__ = (UniqueConstraint("organisation_id", "name"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    organisation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("organisations.id"))
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(Text)
    username: Mapped[str] = mapped_column(Text, unique=True)
    """`name@organisation` as that was called when the login was made."""
    password_hash: Mapped[str] = mapped_column(Text)
    """As Mosquitto keeps it, so that a broker that lost everything can be told again; never the password."""
    is_sparkplug: Mapped[bool] = mapped_column(Boolean, server_default="false")
    """Whether it reads the tree in Sparkplug too, and may ask for rebirths there."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    rotated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    applied_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Since when it stands with this password in the broker's files, and a broker that was running was told."""


class LiveTopicRow(Base):
    """Where a meter's readings stand retained at the broker: known, so that they can be taken away again."""

    __tablename__ = "live_topics"
    tenancy = hidden()
    __table_args__ = (UniqueConstraint("organisation", "site", "meter"),)

    meter_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Of no foreign key: the topic outlives its meter until it has been cleared."""
    organisation: Mapped[str] = mapped_column(Text)
    site: Mapped[str] = mapped_column(Text)
    meter: Mapped[str] = mapped_column(Text)


class SaidEvent(Base):
    """An event that has been said on its topic; rows go when no such old event would be said any more."""

    __tablename__ = "said_events"
    tenancy = hidden()

    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    said_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class SparkplugNode(Base):
    """The number of an edge node's last connection, by which its birth and its death are told to belong together."""

    __tablename__ = "sparkplug_nodes"
    tenancy = hidden()

    group_id: Mapped[str] = mapped_column(Text, primary_key=True)
    node_id: Mapped[str] = mapped_column(Text, primary_key=True)
    bd_seq: Mapped[int] = mapped_column(Integer)
