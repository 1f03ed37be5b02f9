"""`meterhaul hub organisation | validation`: how an organisation's energy is counted, checked and kept."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from cloud_hub.command_line import WHO, add_command, open_engine, say
from cloud_hub.errors import Invalid
from cloud_hub.settings import HubSettings

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from cloud_hub.organisations.models import Organisation

_KEPT = {
    "readings": "readings_kept_days",
    "ledger": "ledger_kept_days",
    "audit trail": "audit_kept_days",
}
_FOR_EVER = "forever"


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`."""
    organisation = add_command(
        commands, "organisation", _organisation, "show or change how long intervals are and what is kept"
    )
    organisation.add_argument("slug", help="the organisation, such as main")
    organisation.add_argument("--interval-minutes", type=float, help="5, 15, 30 or 60; lays the ledger out anew")
    for what, name in _KEPT.items():
        option = "--" + name.replace("_", "-")
        organisation.add_argument(option, metavar="DAYS", help=f"how long to keep {what}; '{_FOR_EVER}' for ever")
    validation = add_command(commands, "validation", _validation, "show or change thresholds of validation rules")
    validation.add_argument("slug", help="the organisation, such as main")
    validation.add_argument("--kind", default="*", help="the meters' kind, such as water_meter (default: all)")
    validation.add_argument("--rule", help="the rule, such as spike")
    validation.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a threshold; may be repeated"
    )
    validation.add_argument("--usual", action="store_true", help="go back to the usual thresholds of the rule")


def _organisation(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.ledger import organisations  # noqa: PLC0415

    asked = {name: getattr(arguments, name) for name in _KEPT.values()}
    kept = {name: _parse_days(name, days) for name, days in asked.items() if days is not None}
    engine = open_engine(settings, "meterhaul-organisation")
    with db.session_scope(db.create_sessions(engine)) as session:
        organisation = organisations.get_organisation(session, arguments.slug)
        if arguments.interval_minutes is not None:
            organisations.change_interval(session, organisation, round(arguments.interval_minutes * 60), who=WHO)
        organisations.change_retention(session, organisation, kept, who=WHO)
        document = _describe(organisation)
    engine.dispose()
    if arguments.json:
        say(json.dumps(document))
        return 0
    say(f"{document['name']} ({document['slug']}): intervals of {document['interval_s'] / 60:g} minutes")
    for what, name in _KEPT.items():
        say(f"  {what} are kept {'for ever' if document[name] is None else f'{document[name]} days'}")
    return 0


def _describe(organisation: "Organisation") -> dict[str, Any]:
    names = ("slug", "name", "interval_s", *_KEPT.values())
    return {name: getattr(organisation, name) for name in names}


def _parse_days(name: str, text: str) -> int | None:
    if text == _FOR_EVER:
        return None
    if not text.isdecimal() or len(text) > 6 or not int(text):
        raise Invalid(f"--{name.replace('_', '-')} is {text!r}: send a number of days from 1, or {_FOR_EVER!r}")
    return int(text)


def _validation(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.energy.rules import Override  # noqa: PLC0415
    from cloud_hub.ledger import organisations  # noqa: PLC0415

    if (arguments.set or arguments.usual) and not arguments.rule:
        raise Invalid("say which rule is meant: --rule NAME, such as --rule spike")
    parameters = dict(_parse_parameter(text) for text in arguments.set)
    engine = open_engine(settings, "meterhaul-validation")
    with db.session_scope(db.create_sessions(engine)) as session:
        organisation = organisations.get_organisation(session, arguments.slug)
        if arguments.usual:
            organisations.drop_setting(session, organisation, arguments.kind, arguments.rule, who=WHO)
        elif parameters:
            override = Override(arguments.kind, arguments.rule, parameters)
            organisations.put_setting(session, organisation, override, who=WHO)
        wanted = organisations.list_settings(session, organisation)
    engine.dispose()
    if arguments.json:
        names = ("meter_kind", "rule", "parameters")
        say(json.dumps([{name: getattr(one, name) for name in names} for one in wanted]))
        return 0
    for one in wanted:
        thresholds = ", ".join(f"{name} = {json.dumps(value)}" for name, value in one.parameters.items())
        say(f"{one.meter_kind:<20} {one.rule:<14} {thresholds}")
    if not wanted:
        say("The usual thresholds hold.")
    return 0


def _parse_parameter(text: str) -> tuple[str, object]:
    name, is_there, value = text.partition("=")
    if not is_there or not name:
        raise Invalid(f"--set {text!r} is no NAME=VALUE: write it as ratio=2.5")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
