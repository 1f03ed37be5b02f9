"""`meterhaul hub signing-key`: the key by which controllers know the hub's orders."""

import argparse
import json
from typing import Any

from cloud_hub.command_line import add_command, open_engine, say
from cloud_hub.settings import HubSettings


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`."""
    add_command(
        commands,
        "signing-key",
        _signing_key,
        "show the public key by which controllers know the hub's orders; it is made when it is missing",
    )


def _signing_key(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.configuration.signing import (  # noqa: PLC0415 - a command loads what it needs, when it runs
        prepare_signing_key,
        read_signing_key,
    )

    path = settings.signing_key_file
    engine = open_engine(settings, "meterhaul-signing-key")
    key = prepare_signing_key(engine, settings) or read_signing_key(path)
    engine.dispose()
    if arguments.json:
        say(json.dumps({"key_id": key.id, "public_key": key.public_pem, "file": str(path)}))
    else:
        say(key.public_pem.rstrip())
    return 0
