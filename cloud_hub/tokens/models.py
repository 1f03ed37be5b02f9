"""The tables of tokens. Of every secret they hold a hash, or a sealed text."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ADD, CHANGE, Tenancy

_WHILE_PROVING = "(SELECT tenant_is_login())"
_OWN = (
    "((SELECT tenant_is_login()) OR user_id = (SELECT tenant_user()) "
    "OR organisation_id = ANY ((SELECT tenant_organisations())::bigint[]))"
)


class Token(Base):
    """Something that acts in somebody's name until it expires or is revoked.

    An API token is itself the proof. A login of an app has refresh tokens, and access tokens that name it.
    """

    __tablename__ = "tokens"
    # Of a person, whom alone it concerns, or of a service, and so of its organisation.
    tenancy = Tenancy("member", _OWN, _OWN, CHANGE, organisation="organisation_id", person="user_id")
    __table_args__ = (
        CheckConstraint("kind IN ('api', 'login')", name="kind"),
        CheckConstraint("(kind = 'api') = (secret_hash IS NOT NULL)", name="secret"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    organisation_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    """The organisation of the service whose it is; None for a person's."""
    public_id: Mapped[str] = mapped_column(Text, unique=True)
    """By which it is found: the first part of an API token, the `sid` of an access token."""
    secret_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    """SHA-256 of the API token's secret, which is random and long: nothing slower is needed."""
    name: Mapped[str] = mapped_column(Text)
    permissions: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """Words of `cloud_hub.access.permissions.Permission`; None for all that its holder has."""
    within_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("organisations.id"), index=True)
    """The organisation to which it is limited, with all below it."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_by: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """To the minute."""
    last_used_from: Mapped[str | None] = mapped_column(Text)
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class RefreshToken(Base):
    """One refresh token of an app's login: good for one use. A second one means that somebody else has it."""

    __tablename__ = "refresh_tokens"
    tenancy = Tenancy("login", _WHILE_PROVING, _WHILE_PROVING, CHANGE)

    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    token_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("tokens.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SigningKey(Base):
    """An Ed25519 key that signs access tokens for some weeks."""

    __tablename__ = "signing_keys"
    tenancy = Tenancy("login", _WHILE_PROVING, _WHILE_PROVING, ADD)

    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_key: Mapped[bytes] = mapped_column(LargeBinary)
    """The private key, sealed with a key that the hub's secret key file stands for."""
    signs_from: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    signs_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
