"""The API of one's own logins: password, sessions, authenticator, recovery codes."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.guard import SELF
from cloud_hub.access.routes import current_actor
from cloud_hub.users import account, recovery, sessions, totp
from cloud_hub.users.api import NoParameters
from cloud_hub.users.login_models import LoginSession
from cloud_hub.users.schemas import (
    EndedOut,
    PasswordConfirmation,
    PasswordIn,
    RecoveryCodesOut,
    SessionOut,
    TotpCodeIn,
    TotpOut,
    TotpStateOut,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut

api = routes.api("account_api", tag="Oneself")

_CONFLICT = (HTTPStatus.CONFLICT,)


@api.post("/me/password", permission=SELF, body=PasswordIn, status=HTTPStatus.NO_CONTENT, problems=_CONFLICT)
def change_password(body: PasswordIn) -> None:
    """Change one's password. All other logins end."""
    session = request_session()
    account.set_new_password(session, current_actor(), body.password, body.new_password)
    session.commit()


@api.get("/me/sessions", permission=SELF, query=NoParameters, answer=PageOut[SessionOut])
def list_sessions(query: NoParameters) -> PageOut[SessionOut]:
    """List one's logins, the latest used first."""
    del query
    actor = current_actor()
    found = sessions.list_of(request_session(), actor.user_id)
    return PageOut(items=[_session_out(one, actor.session_id) for one in found], next_cursor=None)


@api.delete("/me/sessions", permission=SELF, query=NoParameters, answer=EndedOut)
def end_other_sessions(query: NoParameters) -> EndedOut:
    """End all of one's logins but this one."""
    del query
    session = request_session()
    ended = account.end_other_sessions(session, current_actor())
    session.commit()
    return EndedOut(ended=ended)


@api.delete(
    "/me/sessions/<id:session_id>",
    permission=SELF,
    plain=("session_id",),
    query=NoParameters,
    status=HTTPStatus.NO_CONTENT,
)
def end_session(session_id: int, query: NoParameters) -> None:
    """End one of one's logins."""
    del query
    session = request_session()
    account.end_session(session, current_actor(), session_id)
    session.commit()


@api.get("/me/totp", permission=SELF, query=NoParameters, answer=TotpStateOut)
def read_totp(query: NoParameters) -> TotpStateOut:
    """Tell whether logins take a code, and how many recovery codes are left."""
    del query
    session, user_id = request_session(), current_actor().user_id
    return TotpStateOut(is_on=totp.is_on(session, user_id), recovery_codes_left=recovery.count_left(session, user_id))


@api.post("/me/totp", permission=SELF, body=PasswordConfirmation, answer=TotpOut, problems=_CONFLICT)
def begin_totp(body: PasswordConfirmation) -> TotpOut:
    """Begin to set up an authenticator. It is asked for once a code of it was confirmed."""
    session = request_session()
    uri = account.begin_totp(session, current_actor(), body.password)
    session.commit()
    return TotpOut(uri=uri, qr_svg=account.draw_qr(uri))


@api.post("/me/totp/confirmation", permission=SELF, body=TotpCodeIn, answer=RecoveryCodesOut, problems=_CONFLICT)
def confirm_totp(body: TotpCodeIn) -> RecoveryCodesOut:
    """Confirm an authenticator by a code, and get recovery codes. From now on logins take a code."""
    session = request_session()
    codes = account.confirm_totp(session, current_actor(), body.code)
    session.commit()
    return RecoveryCodesOut(codes=codes)


@api.post(
    "/me/totp/removal",
    permission=SELF,
    body=PasswordConfirmation,
    status=HTTPStatus.NO_CONTENT,
    problems=_CONFLICT,
)
def switch_totp_off(body: PasswordConfirmation) -> None:
    """Switch the authenticator off; its recovery codes go with it."""
    session = request_session()
    account.switch_totp_off(session, current_actor(), body.password)
    session.commit()


@api.post("/me/recovery-codes", permission=SELF, body=PasswordConfirmation, answer=RecoveryCodesOut, problems=_CONFLICT)
def draw_recovery_codes(body: PasswordConfirmation) -> RecoveryCodesOut:
    """Make new recovery codes in place of the old ones."""
    session = request_session()
    codes = account.draw_recovery_codes(session, current_actor(), body.password)
    session.commit()
    return RecoveryCodesOut(codes=codes)


def _session_out(row: LoginSession, current: int | None) -> SessionOut:
    return SessionOut(
        id=row.id,
        address=row.address,
        user_agent=row.user_agent,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        ends_at=row.ends_at,
        is_current=row.id == current,
    )
