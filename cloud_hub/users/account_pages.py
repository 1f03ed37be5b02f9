"""The page on which people look after their own account."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from flask import redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from cloud_hub.access import routes
from cloud_hub.access.guard import SELF
from cloud_hub.access.routes import current_actor
from cloud_hub.errors import HubError
from cloud_hub.users import account, profiles, recovery, sessions, totp, trail
from cloud_hub.users.authentication import TooManyAttempts, current_seal
from cloud_hub.users.models import User
from cloud_hub.users.notifications import CHANNELS, Severity
from cloud_hub.users.schemas import ClockHours, Language, ProfileIn, ProfileOut, TimeDisplay
from cloud_hub.web.database import request_session
from cloud_hub.web.documents import parse_document

pages = routes.pages("account")

Answer = Response | str | tuple[str, int]

_LANGUAGES: Final = {Language.EN: "English", Language.DE: "Deutsch"}
_CHANNELS: Final = dict(zip(CHANNELS, ("E-mail", "SMS", "Push"), strict=True))
_DONE: Final = {
    "profile": "Your profile is saved.",
    "password": "Your password is changed, and all other logins are ended.",
    "session": "The login is ended.",
    "sessions": "All other logins are ended.",
    "totp-off": "The authenticator is switched off.",
}


@dataclass(frozen=True, slots=True)
class _SessionRow:
    id: int
    device: str
    address: str
    since: str
    last_used: str
    is_current: bool


@pages.get("/account", permission=SELF)
def show() -> str:
    """Show profile, password, authenticator and logins."""
    return _page()


@pages.post("/account/profile", permission=SELF)
def save_profile() -> Answer:
    """Save the profile."""

    def save() -> None:
        session, actor = request_session(), current_actor()
        given = parse_document(ProfileIn, _profile_form(), "your profile")
        user = profiles.lock_user(session, actor.user_id)
        trail.note(session, user, "profile_changed", profiles.change_profile(session, user, given))

    return _do("profile", save)


@pages.post("/account/password", permission=SELF)
def change_password() -> Answer:
    """Change the password."""
    old, new = request.form.get("password", ""), request.form.get("new_password", "")
    return _do("password", lambda: account.set_new_password(request_session(), current_actor(), old, new))


@pages.post("/account/sessions/<id:session_id>/end", permission=SELF, plain=("session_id",))
def end_session(session_id: int) -> Answer:
    """End one login."""
    return _do("session", lambda: account.end_session(request_session(), current_actor(), session_id))


@pages.post("/account/sessions/end", permission=SELF)
def end_other_sessions() -> Answer:
    """End all logins but this one."""
    return _do("sessions", lambda: account.end_other_sessions(request_session(), current_actor()))


@pages.post("/account/totp", permission=SELF)
def begin_totp() -> Answer:
    """Show the secret of a new authenticator."""
    try:
        uri = account.begin_totp(request_session(), current_actor(), request.form.get("password", ""))
    except HubError as error:
        return _refused("totp", error)
    request_session().commit()
    return _totp_page(uri)


@pages.post("/account/totp/confirmation", permission=SELF)
def confirm_totp() -> Answer:
    """Switch the authenticator on, and show the recovery codes."""
    session, actor = request_session(), current_actor()
    try:
        codes = account.confirm_totp(session, actor, request.form.get("code", ""))
    except (account.WrongCode, TooManyAttempts) as error:
        session.rollback()
        uri = totp.pending_uri(session, session.get_one(User, actor.user_id), current_seal())
        return _totp_page(uri, str(error)), _status(error)
    except HubError as error:
        return _refused("totp", error)
    session.commit()
    return render_template("users/codes.html", codes=codes, is_new=True)


@pages.post("/account/totp/removal", permission=SELF)
def switch_totp_off() -> Answer:
    """Switch the authenticator off."""
    password = request.form.get("password", "")
    return _do("totp-off", lambda: account.switch_totp_off(request_session(), current_actor(), password), "totp")


@pages.post("/account/recovery-codes", permission=SELF)
def draw_recovery_codes() -> Answer:
    """Show new recovery codes."""
    try:
        codes = account.draw_recovery_codes(request_session(), current_actor(), request.form.get("password", ""))
    except HubError as error:
        return _refused("totp", error)
    request_session().commit()
    return render_template("users/codes.html", codes=codes, is_new=False)


def _do(done: str, deed: Callable[[], object], section: str = "") -> Answer:
    try:
        deed()
    except HubError as error:
        return _refused(section or done, error)
    request_session().commit()
    return redirect(url_for("account.show", done=done), HTTPStatus.SEE_OTHER)


def _refused(section: str, error: HubError) -> Answer:
    request_session().rollback()
    return _page(section, str(error)), _status(error)


def _status(error: HubError) -> int:
    return HTTPStatus.TOO_MANY_REQUESTS if isinstance(error, TooManyAttempts) else HTTPStatus.UNPROCESSABLE_ENTITY


def _profile_form() -> dict[str, Any]:
    """Return the form as the API would get it."""
    form = request.form
    quiet = {"start": form.get("quiet_start"), "end": form.get("quiet_end"), "time_zone": form.get("quiet_zone")}
    notifications: dict[str, Any] = {channel: form.getlist(channel) for channel in CHANNELS}
    if form.get("quiet") == "on":
        notifications["quiet_hours"] = quiet | {"despite": form.getlist("despite")}
    return {
        "name": form.get("name", "").strip(),
        "language": form.get("language"),
        "time_display": form.get("time_display"),
        "time_zone": form.get("time_zone", "").strip() or None,
        "clock": form.get("clock"),
        "notifications": notifications,
    }


def _page(section: str = "", problem: str = "") -> str:
    session, actor = request_session(), current_actor()
    user = session.get_one(User, actor.user_id)
    profile = profiles.get_profile(session, user)
    return render_template(
        "users/account.html",
        user=user,
        profile=profile,
        has_totp=totp.is_on(session, user.id),
        codes_left=recovery.count_left(session, user.id),
        sessions=[
            _SessionRow(
                one.id,
                device_of(one.user_agent),
                one.address,
                _write(one.created_at, profile),
                _write(one.last_used_at, profile),
                is_current=one.id == actor.session_id,
            )
            for one in sessions.list_of(session, user.id)
        ],
        clock_zone=profile.time_zone or "UTC",
        languages=_LANGUAGES,
        time_displays=TimeDisplay,
        clocks=ClockHours,
        severities=Severity,
        channels=_CHANNELS,
        zones=sorted(available_timezones()),
        done=_DONE.get(request.args.get("done", ""), ""),
        section=section,
        problem=problem,
    )


def _totp_page(uri: str, problem: str = "") -> str:
    picture = Markup(account.draw_qr(uri))  # noqa: S704 - drawn here, of squares
    secret = uri.partition("secret=")[2].partition("&")[0]
    return render_template("users/totp.html", picture=picture, secret=secret, uri=uri, problem=problem)


def _write(instant: datetime, profile: ProfileOut) -> str:
    local = instant.astimezone(ZoneInfo(profile.time_zone) if profile.time_zone else UTC)
    return local.strftime("%d %b %Y, %H:%M" if profile.clock is ClockHours.TWENTY_FOUR else "%d %b %Y, %I:%M %p")


def device_of(user_agent: str) -> str:
    """Name browser and system for people, as far as browsers still tell."""
    # The order matters: most browsers also name those before them.
    browsers = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS": "macOS"}
    browser = next((name for mark, name in browsers.items() if mark in user_agent), "")
    system = next((name for mark, name in (systems | {"Linux": "Linux"}).items() if mark in user_agent), "")
    return " on ".join(part for part in (browser, system) if part) or user_agent[:40] or "Unknown program"
