"""Somebody else's program: a client generated from the document, and a served hub over HTTP."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from browsing import EMAIL, PASSWORD
from generated_client import PACKAGE, GeneratedClient, generate, model
from hub_factories import START, add_controller, add_meter, add_point, add_scans, add_site
from served_hub import ServedHub
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.db import create_engine, create_sessions
from cloud_hub.users.service import create_admin

_DOCUMENTATION = Path(__file__).parents[2] / "docs" / "api.md"
_PROFILE = "eastron-sdm120"


@pytest.fixture(scope="module")
def package_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = generate(tmp_path_factory.mktemp("generated"))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    """Connect to the database of all these tests: each has sites of its own."""
    engine = create_engine(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def served(module_database_url: str, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    with create_sessions(engine)() as session:
        create_admin(session, EMAIL, PASSWORD)
        session.commit()
    served = ServedHub(module_database_url, tmp_path_factory.mktemp("served"))
    served.start()
    yield served
    served.process.stop()


@pytest.fixture(scope="module")
def connect(served: ServedHub, package_folder: Path) -> Iterator[Callable[[str | None], GeneratedClient]]:
    assert package_folder.is_dir()
    with ExitStack() as open_clients:

        def connect(token: str | None) -> GeneratedClient:
            client = GeneratedClient(_url(served), token)
            open_clients.callback(client.close)
            return client

        yield connect


@pytest.fixture(scope="module")
def hub(connect: Callable[[str | None], GeneratedClient]) -> GeneratedClient:
    """The hub, asked by its admin with an access token."""
    return connect(_log_in(connect(None)))


def _url(served: ServedHub) -> str:
    return f"http://127.0.0.1:{served.port}"


def _log_in(hub: GeneratedClient) -> str:
    pair = hub.ask("logins_of_apps.auth_api_log_in", body=model("LoginIn")(email=EMAIL, password=PASSWORD))
    return str(pair.access_token)


def _register(hub: GeneratedClient, slug: str, organisation: str) -> Any:
    """Register a site with a controller and a meter, as the wizard does."""
    part = model("SitePart")(slug=slug, name=slug.title(), time_zone="Europe/Berlin")
    controller = model("ControllerPart")(id=f"{slug}-1")
    meter = model("LocalMeter")(slug="grid", profile=_PROFILE)
    body = model("RegistrationIn")(site=part, organisation=organisation, controllers=[controller], meters=[meter])
    return hub.ask("sites.registration_api_register_site", body=body)


def test_a_client_registers_sites_and_walks_through_their_list(hub: GeneratedClient) -> None:
    (top,) = hub.ask("organisations.organisations_api_list_organisations").items
    wanted = model("OrganisationIn")(slug="acme", name="Acme", parent=top.slug)
    create = "organisations.organisations_api_create_organisation"
    made = hub.ask(create, body=wanted, idempotency_key="once")
    assert (made.slug, made.parent) == ("acme", top.slug)
    assert hub.ask(create, body=wanted, idempotency_key="once").id == made.id

    registered = [_register(hub, slug, "acme") for slug in ("north", "south", "west")]
    (meter,) = registered[0].meters
    assert registered[0].controllers == ["north-1"]
    assert hub.ask("meters.registry_api_get_meter", meter.id).profile == _PROFILE

    listed: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = hub.ask("sites.sites_api_list_sites", organisation="acme", limit=2, **cursor)
        listed.append([site.slug for site in page.items])
        if page.next_cursor is None:
            break
        cursor = {"cursor": page.next_cursor}
    assert listed == [["north", "south"], ["west"]]


def test_a_client_changes_what_it_has_seen_and_nothing_else(hub: GeneratedClient, session: Session) -> None:
    add_site(session, "barn")
    session.commit()
    seen = hub.ask_detailed("sites.sites_api_get_site", "barn").headers["ETag"]
    edit, changes = "sites.sites_api_edit_site", model("SiteChanges")
    edited = hub.ask_detailed(edit, "barn", body=changes(name="New barn"), if_match=seen)
    assert (edited.status_code, edited.parsed.name) == (HTTPStatus.OK, "New barn")
    late = hub.ask_detailed(edit, "barn", body=changes(name="Old barn"), if_match=seen)
    assert (late.status_code, type(late.parsed)) == (HTTPStatus.PRECONDITION_FAILED, model("Problem"))
    assert hub.ask("sites.sites_api_get_site", "barn").name == "New barn"


def test_a_client_reads_a_series(hub: GeneratedClient, session: Session) -> None:
    meter = add_meter(session, add_controller(session, add_site(session, "hut"), "hut-1"))
    point = add_point(session, meter)
    add_scans(session, meter, [point], [[100.5], [(None, 1)], [7.0]])
    session.commit()
    until = START + timedelta(seconds=3)
    series = hub.ask("readings.readings_api_get_series", point.id, from_=START, to=until)
    assert (series.point.unit, series.from_, series.to, series.reduced) == ("W", START, until, False)
    assert series.value == [100.5, None, 7.0]
    assert series.quality[::2] == ["good", "good"]


def test_a_client_is_told_what_is_wrong_and_where(
    hub: GeneratedClient, connect: Callable[[str | None], GeneratedClient], session: Session
) -> None:
    add_site(session, "shed")
    session.commit()
    create, site = "sites.sites_api_create_site", model("SiteIn")
    taken = hub.ask(create, body=site(slug="shed", name="Shed"))
    assert (taken.status, taken.type_) == (409, "/api/v1/problems#conflict")
    wrong = hub.ask(create, body=site(slug="No slug", name="Shed"))
    assert (wrong.status, [one.pointer for one in wrong.errors]) == (422, ["/slug"])
    assert hub.ask("sites.sites_api_get_site", "nowhere").status == 404
    assert connect("mh_no_token").ask("sites.sites_api_list_sites").status == 401


def test_the_lines_in_the_documentation_run_as_they_stand(
    hub: GeneratedClient,
    connect: Callable[[str | None], GeneratedClient],
    served: ServedHub,
    package_folder: Path,
    session: Session,
) -> None:
    add_site(session, "mill")
    session.commit()
    permissions = [model("Permission")(word) for word in ("sites.read", "sites.write")]
    token = hub.ask("tokens.tokens_api_create_own_token", body=model("TokenIn")(name="docs", permissions=permissions))
    section = _DOCUMENTATION.read_text().partition("## A client")[2]
    (lines,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    env = {
        "PYTHONPATH": str(package_folder),
        "METERHAUL_URL": _url(served),
        "METERHAUL_TOKEN": token.token,
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run([sys.executable, "-c", lines], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mill" in done.stdout
    assert connect(token.token).ask("sites.sites_api_get_site", "mill").name == "Old mill"
