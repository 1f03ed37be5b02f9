"""The tables that only ingest needs."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import hidden, shared


class HubState(Base):
    """One row: which incarnation of its own history the database is in."""

    __tablename__ = "hub_state"
    tenancy = shared()
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, server_default="1")
    incarnation: Mapped[int] = mapped_column(BigInteger, server_default="1")


batch_digests = Table(
    "batch_digests",
    Base.metadata,
    Column("stream_pk", BigInteger, ForeignKey("streams.id"), nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "stream_pk", "first_sequence"),
    info={"tenancy": hidden()},
)
"""What was committed for a range of numbers, to tell a repetition from a contradiction."""


class IngestAttempt(Base):
    """How often a batch was begun and not finished. Unlogged: a crash of the database may empty it."""

    __tablename__ = "ingest_attempts"
    tenancy = hidden()
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    attempts: Mapped[int] = mapped_column(Integer)
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
