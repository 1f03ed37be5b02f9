"""`meterhaul hub token-key`: change the key that signs access tokens before its time."""

import argparse
import json
from typing import Any

from cloud_hub.command_line import add_command, open_engine, say
from cloud_hub.settings import HubSettings


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`."""
    key = add_command(commands, "token-key", _token_key, "let a new key sign access tokens from now on")
    key.add_argument(
        "--revoke", action="store_true", help="refuse what the old keys signed as well: apps refresh their tokens"
    )


def _token_key(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from datetime import UTC, datetime  # noqa: PLC0415 - a command loads what it needs, when it runs

    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.tokens.signing_keys import retire_keys, revoke_keys  # noqa: PLC0415

    engine = open_engine(settings, "meterhaul-token-key")
    with db.session_scope(db.create_sessions(engine)) as session:
        ended = revoke_keys(session) if arguments.revoke else retire_keys(session, datetime.now(UTC))
    engine.dispose()
    if arguments.json:
        say(json.dumps({"ended": ended, "revoked": arguments.revoke}))
    else:
        say(f"{ended} keys sign no more{', and their tokens are refused' if arguments.revoke else ''}.")
        say("The next login or refresh makes a new one.")
    return 0
