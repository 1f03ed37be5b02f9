"""`meterhaul hub mail`: letters on their way. Where no mail server is set, an operator passes them on by hand."""

import argparse
import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

from cloud_hub.command_line import add_command, open_engine, say
from cloud_hub.settings import HubSettings

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from cloud_hub.mail.models import OutgoingMail


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`."""
    mail = commands.add_parser("mail", help="letters on their way")
    deeds = mail.add_subparsers(dest="deed", required=True, metavar="<deed>")
    listing = add_command(deeds, "list", _list, "show letters that wait or were given up")
    listing.add_argument("--all", action="store_true", help="show also those that were sent in the last month")
    show = add_command(deeds, "show", _show, "print a letter, to pass it on by hand")
    show.add_argument("id", type=int)
    resend = add_command(deeds, "resend", _resend, "try a letter again at once")
    resend.add_argument("id", type=int)


def _list(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from sqlalchemy.orm import Session  # noqa: PLC0415

    from cloud_hub.mail.service import list_letters  # noqa: PLC0415

    engine = open_engine(settings, "meterhaul-mail")
    with Session(engine) as session:
        letters = [_describe(letter) for letter in list_letters(session, include_sent=arguments.all)]
    engine.dispose()
    if arguments.json:
        say(json.dumps(letters))
        return 0
    if settings.post_office is None:
        say("No mail server is set (METERHAUL_SMTP_URL): letters wait here. 'mail show ID' prints one to pass on.")
    for letter in letters:
        problem = f": {letter['problem']}" if letter["problem"] else ""
        say(f"{letter['id']:>6}  {letter['queued_at'][:16]}  {letter['state']:<8}  {letter['recipient']}  "
            f"{letter['subject']}{problem}")  # fmt: skip
    if not letters:
        say("No letter waits.")
    return 0


def _show(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.mail.service import get_letter  # noqa: PLC0415

    engine = open_engine(settings, "meterhaul-mail")
    with db.session_scope(db.create_sessions(engine)) as session:
        letter = get_letter(session, arguments.id)
        document = {**_describe(letter), "body": letter.body}
    engine.dispose()
    if arguments.json:
        say(json.dumps(document))
    else:
        body = document["body"] or "(What it said is forgotten: it was sent or withdrawn.)"
        say(f"To: {document['recipient']}\nSubject: {document['subject']}\n\n{body}")
    return 0


def _resend(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.mail.service import resend  # noqa: PLC0415

    engine = open_engine(settings, "meterhaul-mail")
    with db.session_scope(db.create_sessions(engine)) as session:
        document = _describe(resend(session, arguments.id))
    engine.dispose()
    say(json.dumps(document) if arguments.json else f"Letter {document['id']} to {document['recipient']} is due again.")
    return 0


def _describe(letter: "OutgoingMail") -> dict[str, Any]:
    from cloud_hub.mail.service import state_of  # noqa: PLC0415

    return {
        "id": letter.id,
        "recipient": letter.recipient,
        "subject": letter.subject,
        "state": state_of(letter).value,
        "queued_at": letter.queued_at.astimezone(UTC).isoformat(),
        "attempts": letter.attempts,
        "problem": letter.problem,
    }
