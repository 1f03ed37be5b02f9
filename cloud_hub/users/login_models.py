"""The tables of proving who one is: logins, attempts, second factors, forgotten passwords."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column

from cloud_hub.db import Base
from cloud_hub.tenancy.rows import ADD, ALL, Tenancy, of_person


class LoginSession(Base):
    """One login of one person in one browser. The browser holds a random token, this row its hash."""

    __tablename__ = "login_sessions"
    tenancy = of_person()

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    is_complete: Mapped[bool] = mapped_column(Boolean, server_default="true")
    """False while the second factor is still to be shown: then it opens nothing but that question."""
    address: Mapped[str] = mapped_column(Text)
    """Where it was last used from."""
    user_agent: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """To the minute."""
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """However much it is used."""


class LoginAttempt(Base):
    """How often in a row somebody failed to prove who they are, by account or by address."""

    __tablename__ = "login_attempts"
    tenancy = Tenancy("login", "(SELECT tenant_is_login())", "(SELECT tenant_is_login())", ALL)

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TotpSecret(Base):
    """What somebody's authenticator and the hub both know."""

    __tablename__ = "totp_secrets"
    tenancy = of_person()

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """None until a code has shown that the authenticator knows it too; before that, no login asks for one."""
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    """The time step whose code was used last: neither it nor an older one is taken again."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class RecoveryCode(Base):
    """A code that stands in for the authenticator, once."""

    __tablename__ = "recovery_codes"
    tenancy = of_person()

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PasswordResetRequest(Base):
    """Somebody typed this address as that of an account whose password they forgot.

    The web puts it here, whether there is such an account or not; `work` looks for the account.
    """

    __tablename__ = "password_reset_requests"
    tenancy = Tenancy("outbox", "false", "true", ("INSERT",))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class PasswordReset(Base):
    """A link that was sent to set a new password; the letter holds the token, this row its hash."""

    __tablename__ = "password_resets"
    tenancy = of_person(web=("SELECT", "DELETE"))

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ProviderIdentity(Base):
    """Whose account somebody at a single sign-on opens; bound when they come the first time."""

    __tablename__ = "provider_identities"
    tenancy = of_person(web=ADD)
    __table_args__ = (UniqueConstraint("user_id", "issuer"),)

    issuer: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    """The provider's own name for them, which it gives to nobody else (`sub`)."""
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    bound_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
