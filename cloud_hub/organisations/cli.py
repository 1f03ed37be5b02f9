"""`meterhaul hub organisations`: the tree, listed and added to."""

import argparse
import json
from typing import Any

from cloud_hub.command_line import WHO, add_command, open_engine, say
from cloud_hub.settings import HubSettings

_LISTED_MAX = 10_000


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`."""
    organisations = commands.add_parser("organisations", help="the tree of organisations")
    deeds = organisations.add_subparsers(dest="deed", required=True, metavar="<deed>")
    add_command(deeds, "list", _list, "show organisations, each below the one that it belongs to")
    add = add_command(deeds, "add", _add, "add an organisation")
    add.add_argument("slug", help="its short name: small letters, digits and hyphens; never changes")
    add.add_argument("name", help="what people call it")
    add.add_argument("--parent", default="main", help="the organisation that it is to be below (default: %(default)s)")
    add.add_argument("--kind", choices=["customer", "reseller"], default="customer", help="default: %(default)s")


def _list(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from sqlalchemy.orm import Session  # noqa: PLC0415

    from cloud_hub.organisations.api import show  # noqa: PLC0415
    from cloud_hub.organisations.tree import list_tree  # noqa: PLC0415

    engine = open_engine(settings, "meterhaul-organisations")
    with Session(engine) as session:
        shown = [show(placed) for placed in list_tree(session, _LISTED_MAX)]
    engine.dispose()
    if arguments.json:
        say(json.dumps([one.model_dump(mode="json") for one in shown]))
        return 0
    for one in shown:
        say(f"{'  ' * one.depth}{one.slug}  {one.name} ({one.kind})")
    return 0


def _add(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.organisations.api import show  # noqa: PLC0415
    from cloud_hub.organisations.schemas import OrganisationIn  # noqa: PLC0415
    from cloud_hub.organisations.tree import create_organisation  # noqa: PLC0415
    from cloud_hub.web.documents import parse_document  # noqa: PLC0415

    given = {name: getattr(arguments, name) for name in ("slug", "name", "parent", "kind")}
    wanted = parse_document(OrganisationIn, given, "the organisation")
    engine = open_engine(settings, "meterhaul-organisations")
    with db.session_scope(db.create_sessions(engine)) as session:
        made = create_organisation(
            session, slug=wanted.slug, name=wanted.name, parent=wanted.parent, kind=wanted.kind, who=WHO
        )
        shown = show(made)
    engine.dispose()
    say(shown.model_dump_json() if arguments.json else f"{shown.slug} is below {shown.parent} now.")
    return 0
