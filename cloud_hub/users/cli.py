"""`meterhaul hub account`: what the operator can do for somebody who cannot log in any more."""

import argparse
import json
from typing import Any

from cloud_hub.command_line import WHO, add_command, open_engine, say
from cloud_hub.errors import NotFound
from cloud_hub.settings import HubSettings


class UnknownAccount(NotFound):
    """Nobody has this address."""


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the command of this slice to those of `meterhaul hub`."""
    account = add_command(commands, "account", _account, "show an account, or help somebody back into it")
    account.add_argument("email")
    account.add_argument(
        "--remove-authenticator", action="store_true", help="let logins go by the password alone; ends all logins"
    )
    account.add_argument("--end-sessions", action="store_true", help="end all logins")
    account.add_argument(
        "--forget-single-sign-on",
        action="store_true",
        help="let whoever has the address at the single sign-on now have the account; ends all logins",
    )
    account.add_argument("--forget-failures", action="store_true", help="let them try again without waiting")


def _account(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415 - a command loads what it needs, when it runs
    from cloud_hub.users import rescue, sessions, totp  # noqa: PLC0415
    from cloud_hub.users.service import find_user_by_email  # noqa: PLC0415

    engine = open_engine(settings, "meterhaul-account")
    with db.session_scope(db.create_sessions(engine)) as session:
        user = find_user_by_email(session, arguments.email)
        if user is None:
            raise UnknownAccount(f"nobody has the address {arguments.email!r}: look for a slip of the pen")
        if arguments.remove_authenticator:
            rescue.remove_authenticator(session, user, WHO)
        if arguments.end_sessions:
            rescue.end_sessions(session, user, WHO)
        if arguments.forget_single_sign_on:
            rescue.forget_single_sign_on(session, user, WHO)
        if arguments.forget_failures:
            rescue.forget_failures(session, user, WHO)
        told = {
            "email": user.email,
            "is_disabled": user.disabled_at is not None,
            "has_password": user.password_hash is not None,
            "has_authenticator": totp.is_on(session, user.id),
            "sessions": len(sessions.list_of(session, user.id)),
        }
    engine.dispose()
    say(json.dumps(told) if arguments.json else "\n".join(f"{key:<18} {value}" for key, value in told.items()))
    return 0
