"""What the API says and hears about one's own account."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from cloud_hub.access.permissions import Permission
from cloud_hub.users.notifications import Notifications, ZoneName
from cloud_hub.web.documents import Document

NAME_MAX = 120
_PASSWORD_MAX = 1024
"""More than any password has: one that is too long is refused in words, not as a broken shape."""


class Language(StrEnum):
    """What somebody reads best. Pages are in English for now; letters and alerts will follow the choice."""

    EN = "en"
    DE = "de"


class TimeDisplay(StrEnum):
    """On whose clock times are shown."""

    SITE = "site"
    OWN = "own"


class ClockHours(StrEnum):
    """How the clock counts."""

    TWELVE = "12"
    TWENTY_FOUR = "24"


class MembershipOut(BaseModel):
    """What one is in an organisation, and so in all below it."""

    organisation: str
    name: str
    role: str
    sites: list[str] | None
    """The sites that it is limited to; null for all."""
    permissions: list[Permission]


class ProfileOut(BaseModel):
    """How somebody wants to be served."""

    name: str
    language: Language
    time_display: TimeDisplay
    time_zone: str | None
    clock: ClockHours
    notifications: Notifications


class MeOut(BaseModel):
    """Who is asking, and what they may do."""

    id: int
    kind: str
    email: str | None
    profile: ProfileOut
    has_password: bool
    has_totp: bool
    memberships: list[MembershipOut]
    permissions: list[Permission]
    """All that this login or token may do anywhere."""


class ProfileIn(Document):
    """What to change of one's profile; what is left out stays."""

    name: str = Field(default="", max_length=NAME_MAX)
    language: Language = Language.EN
    time_display: TimeDisplay = TimeDisplay.SITE
    time_zone: ZoneName | None = None
    clock: ClockHours = ClockHours.TWENTY_FOUR
    notifications: Notifications = Notifications()


Password = Annotated[str, Field(max_length=_PASSWORD_MAX)]


class PasswordConfirmation(Document):
    """One's password, again."""

    password: Password


class PasswordIn(Document):
    """The password that one has, and the one that one wants."""

    password: Password
    new_password: Password

    @model_validator(mode="after")
    def _differ(self) -> "PasswordIn":
        if self.password == self.new_password:
            raise ValueError("the new password is the old one: choose another")
        return self


class SessionOut(BaseModel):
    """One login in one browser."""

    id: int
    address: str
    user_agent: str
    created_at: AwareDatetime
    last_used_at: AwareDatetime
    ends_at: AwareDatetime
    is_current: bool


class EndedOut(BaseModel):
    """How many logins were ended."""

    ended: int


class TotpOut(BaseModel):
    """An authenticator that waits to be confirmed. It is shown this once."""

    uri: str
    """For an authenticator: `otpauth://totp/...`."""
    qr_svg: str
    """The same as a picture."""


class TotpStateOut(BaseModel):
    """Whether logins take a code."""

    is_on: bool
    recovery_codes_left: int


class TotpCodeIn(Document):
    """A code that the authenticator shows."""

    code: str = Field(min_length=1, max_length=32)


class RecoveryCodesOut(BaseModel):
    """Recovery codes. They are shown this once."""

    codes: list[str]
