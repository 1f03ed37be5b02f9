"""`meterhaul hub audit`: check that nobody has tampered with the audit trail."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cloud_hub.command_line import open_engine, say
from cloud_hub.settings import HubSettings

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from cloud_hub.audit.chain import Verified


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`."""
    audit = commands.add_parser("audit", help="the trail of who changed what")
    deeds = audit.add_subparsers(dest="deed", required=True, metavar="<deed>")
    text = "check every organisation's trail; ends with 1 when one was tampered with"
    verify = deeds.add_parser("verify", help=text, description=f"{text[0].upper()}{text[1:]}.")
    verify.add_argument("--json", action="store_true", help="print one JSON document")
    verify.add_argument(
        "--since",
        action="append",
        default=[],
        metavar="ORGANISATION:NUMBER:HASH",
        help="what an earlier check printed: refuse a trail that does not go on from there; may be repeated",
    )
    verify.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.audit.chain import Anchor, verify  # noqa: PLC0415 - as above

    anchors = [Anchor.parse(text) for text in arguments.since]
    engine = open_engine(settings, "meterhaul-audit")
    with engine.connect() as connection:
        trails = verify(connection, anchors)
    engine.dispose()
    if arguments.json:
        say(json.dumps([asdict(trail) for trail in trails]))
    else:
        _print(trails)
    return 1 if any(trail.problem for trail in trails) else 0


def _print(trails: Sequence["Verified"]) -> None:
    if not trails:
        say("Nothing has been audited yet.")
    for trail in trails:
        if trail.problem:
            say(f"{trail.organisation}: TAMPERED WITH: {trail.problem}. Compare with a backup.", is_error=True)
        else:
            say(
                f"{trail.organisation}: {trail.events} events, whole. Keep: {trail.organisation}:{trail.number}:{trail.hash}"
            )
