"""A site's health names everything; a collector's names what stands out and counts the rest, and fits a message."""

from typing import Any

from edge_agent.health.brief import NAMED_MAX, in_brief
from edge_agent.polling.status import BusStatus, Circuit, MeterState, MeterStatus
from protocol.messages import Health, decode_health, encode_health

SITES, METERS = 1_000, 6


def meter(state: MeterState = MeterState.GOOD, **changes: Any) -> dict[str, Any]:
    return MeterStatus(state=state, since_ms=1_760_000_000_000, **changes).report()


def bus(**changes: Any) -> dict[str, Any]:
    return {"restarts": BusStatus(**changes).restarts, "line": {"requests": 100}}


def silent(number: int) -> dict[str, Any]:
    error = f"no answer from unit 1 at 127.16.0.{number}:15020 within 5 s"
    return meter(MeterState.UNREACHABLE, circuit=Circuit.OPEN, last_error=error)


def test_all_of_a_site_is_named() -> None:
    meters = {f"m{number}": meter() for number in range(NAMED_MAX)}
    health = Health(at_ms=1, meters=meters, buses={"a": bus()})
    assert in_brief(health) is health


def test_of_a_collector_only_what_stands_out_is_named() -> None:
    meters = {f"m{number}": meter() for number in range(NAMED_MAX + 10)}
    meters["m3"], meters["m5"] = silent(3), meter(refused_points=("frequency",))
    routers = {"router": {"signal": "good"}}
    brief = in_brief(Health(at_ms=1, meters=meters, buses={"a": bus()}, routers=routers))
    assert list(brief.meters) == ["m3", "m5"]
    assert (brief.buses, brief.routers) == ({"a": bus()}, routers)
    assert brief.counts == {"meters": {"good": NAMED_MAX + 9, "unreachable": 1}, "buses": 1, "routers": 1}


def test_buses_and_routers_that_stand_out_are_found_among_many() -> None:
    sites = range(NAMED_MAX + 1)
    health = Health(
        at_ms=1,
        buses={f"b{number}": bus(restarts=number // NAMED_MAX) for number in sites},
        routers={f"r{number}": {"signal": "poor" if number == 7 else "good"} for number in sites},
    )
    brief = in_brief(health)
    assert (list(brief.buses), list(brief.routers)) == ([f"b{NAMED_MAX}"], ["r7"])


def test_the_health_of_a_thousand_dead_sites_fits_a_message() -> None:
    meters = {f"site-{s:05}-meter-{m}": silent(s) for s in range(SITES) for m in range(METERS)}
    buses = {f"site-{s:05}": bus(restarts=1, last_restart_reason="x") for s in range(SITES)}
    payload = encode_health(in_brief(Health(at_ms=1, meters=meters, buses=buses)))
    assert decode_health(payload).counts["meters"] == {"unreachable": SITES * METERS}
