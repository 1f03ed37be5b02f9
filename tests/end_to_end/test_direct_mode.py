"""One agent process polls many sites: every reading arrives once, dead sites cost nothing, meters go where they belong."""

from collections.abc import Callable

import pytest
from watching import (
    account_after,
    assert_nothing_silent_doubled_or_altered,
    wait_until_delivered,
)

from cloud_hub.registry.assignment import Assignment, assign_meters
from cloud_hub.registry.queries import list_meters_of_sites, list_sites
from cloud_hub.web.pagination import Window
from demo.holdings import read_hub
from demo.processes import wait_until
from demo.stack import CONTROLLER, SITE, Pace, Stack
from edge_agent.cli import main
from protocol.site_config import SiteConfig
from simulator.ledger import read_ledger

SITES, METERS, DEAD = 200, 3, 2
ROUNDS = 3
PACE = Pace(period_s=5.0, send_every_s=1.0, hello_every_s=5.0, ack_timeout_s=5.0)
FLEET = ("--sites", str(SITES), "--meters", str(METERS), "--dead", str(DEAD), "--first-address", "127.24.0.1")
"""Addresses beside those of other fleets."""


@pytest.mark.timeout(180)
def test_two_hundred_sites_are_polled_by_one_process(
    start_stack: Callable[..., Stack], capsys: pytest.CaptureFixture[str]
) -> None:
    stack = start_stack(simulator="fleet", simulation=FLEET, pace=PACE)
    config = SiteConfig.model_validate_json((stack.directory / "agent" / "site.json").read_bytes())
    meters_of = {bus.id: [meter.id for meter in bus.meters] for bus in config.buses}
    living, dead = list(meters_of)[:-DEAD], list(meters_of)[-DEAD:]
    wait_until(lambda: rounds_served(stack) >= ROUNDS, 90, f"{ROUNDS} rounds")
    wait_until(lambda: len(meters_shown(stack)[SITE]) == SITES * METERS, 30, "all meters, at their controller's site")

    assert main(["status", "--config", str(stack.directory / "agent" / "agent.toml")]) == 0
    said = capsys.readouterr().out
    assert f"{len(living) * METERS} good" in said
    assert f"{meters_of[dead[0]][0]} unreachable: " in said
    assert living[0] not in said

    assign(stack, meters_of)
    assert meters_shown(stack) == meters_of | {SITE: []}

    wait_until_delivered(stack)
    account = account_after(stack)
    assert_nothing_silent_doubled_or_altered(account)
    assert account.served >= ROUNDS * len(living) * METERS
    assert (account.on_edge, account.timed_out, account.lost_before_fsync) == (0, 0, 0)
    assert meters_with_values(stack) == {meter for site in living for meter in meters_of[site]}


def rounds_served(stack: Stack) -> int:
    """Return how often the meters of all living sites have answered."""
    stack.require_running()
    serials = {frame.meter: frame.serial for frame in read_ledger(stack.ledger) if frame.answered}
    return min(serials.values()) if len(serials) == (SITES - DEAD) * METERS else 0


def assign(stack: Stack, meters_of: dict[str, list[str]]) -> None:
    with stack.session() as session:
        assignments = [Assignment(meter, site, f"Hut {site}") for site, meters in meters_of.items() for meter in meters]
        assert assign_meters(session, CONTROLLER, assignments).moved == SITES * METERS


def meters_shown(stack: Stack) -> dict[str, list[str]]:
    """Return the meters of each site as the first page lists them."""
    with stack.session() as session:
        sites = {site.id: site.slug for site in list_sites(session, Window(limit=SITES + 1)).items}
        meters = list_meters_of_sites(session, list(sites), per_site=SITES * METERS)
        shown: dict[str, list[str]] = {slug: [] for slug in sites.values()}
        for meter in meters:
            shown[sites[meter.site_id]].append(meter.slug)
    return shown


def meters_with_values(stack: Stack) -> set[str]:
    with stack.session() as session:
        return {scan.meter for scan in read_hub(session) if scan.values}
