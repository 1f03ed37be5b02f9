"""What a device does not have costs one search and then nothing; routers tell who they are."""

from polling_factories import Meters, Polling, poll, scans
from site_factories import make_meter_config, make_point, make_profile

from edge_agent.polling.status import MeterState
from protocol.profile import Profile
from protocol.quality import exception_quality

MISSING = exception_quality(2)
HOUR_MS = 3_600_000


def make_row(count: int, *, step: int = 1) -> Profile:
    return make_profile([make_point(f"p{n}", address=n * step, scale="1") for n in range(count)])


def words(count: int) -> dict[int, int]:
    return {address: 100 + address for address in range(count)}


def test_bad_point_is_found_once_and_the_rest_is_kept() -> None:
    polling = poll(scans(3), profiles=[make_row(16)], behaviour=Meters(words(16), refused={5: 2}))
    for scan in polling.recorded.scans:
        assert scan.quality == tuple(MISSING if n == 5 else 0 for n in range(16))
        assert scan.values[6] == 106
    assert polling.meters.spans[-2:] == [(0, 5), (6, 10)]
    status = polling.statuses["meter-1"]
    assert (status.state, status.refused_points) == (MeterState.GOOD, ("p5",))
    assert [entry["points"] for entry in polling.logs if entry["event"] == "points_refused"] == [["p5"]]
    assert polling.events == ["points_refused"]


def test_hole_that_the_device_refuses_is_asked_around() -> None:
    polling = poll(scans(3), profiles=[make_row(4, step=3)], behaviour=Meters(words(12), refused={4: 2}))
    assert all(scan.quality is None for scan in polling.recorded.scans)
    assert polling.statuses["meter-1"].refused_points == ()
    assert all(not address <= 4 < address + count for address, count in polling.meters.spans[-4:])


def test_search_goes_on_with_the_next_visit_rather_than_hold_up_the_bus() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: bool(polling.statuses["meter-1"].refused_points))
        await scans(len(polling.recorded.scans) + 1)(polling)

    bad = range(0, 40, 2)
    polling = poll(use, profiles=[make_row(40)], behaviour=Meters(words(40), refused=dict.fromkeys(bad, 2)))
    assert set(polling.statuses["meter-1"].refused_points) == {f"p{n}" for n in bad}
    first, last = polling.recorded.scans[0], polling.recorded.scans[-1]
    assert first.quality is not None
    assert first.quality.count(MISSING) > len(bad)
    assert last.quality == tuple(MISSING if n in bad else 0 for n in range(40))


def test_requests_that_prove_too_much_to_hope_for_fall_back_to_what_was_answered() -> None:
    """A device that answers at most 4 registers: no point is bad, and no hole."""

    class Short(Meters):
        async def answer(self, asked, writer):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as its parent
            self.refused = {asked.address: 2} if asked.count > 4 else {}
            await super().answer(asked, writer)

    polling = poll(scans(4), profiles=[make_row(16)], behaviour=Short(words(16)))
    assert all(scan.quality is None for scan in polling.recorded.scans)
    assert polling.meters.spans[-4:] == [(0, 4), (4, 4), (8, 4), (12, 4)]
    assert polling.statuses["meter-1"].refused_points == ()


def test_point_that_comes_back_is_noticed_within_the_hour() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: polling.statuses["meter-1"].refused_points == ("p5",))
        polling.meters.refused.clear()
        polling.clock.slept_ms += HOUR_MS
        await polling.until(lambda: polling.statuses["meter-1"].refused_points == ())
        await scans(len(polling.recorded.scans) + 2)(polling)

    polling = poll(use, profiles=[make_row(16)], behaviour=Meters(words(16), refused={5: 2}))
    assert polling.recorded.scans[-1].quality is None
    assert polling.events[-1] == "points_accepted"


def test_point_that_is_lost_later_is_searched_for_within_the_hour() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: polling.statuses["meter-1"].refused_points == ("p5",))
        polling.meters.refused[9] = 2
        await polling.until(lambda: len(polling.statuses["meter-1"].refused_points) > 1)
        polling.clock.slept_ms += HOUR_MS
        await polling.until(lambda: polling.statuses["meter-1"].refused_points == ("p5", "p9"))
        await scans(len(polling.recorded.scans) + 2)(polling)

    polling = poll(use, profiles=[make_row(16)], behaviour=Meters(words(16), refused={5: 2}))
    assert polling.recorded.scans[-1].quality == tuple(MISSING if n in (5, 9) else 0 for n in range(16))


def test_device_that_has_nothing_of_a_block_is_asked_for_it_as_a_whole() -> None:
    async def use(polling: Polling) -> None:
        await polling.until(lambda: len(polling.statuses["meter-1"].refused_points) == 4)
        assert polling.statuses["meter-1"].state is MeterState.REFUSING
        polling.meters.refused.clear()
        await polling.until(lambda: polling.statuses["meter-1"].state is MeterState.GOOD)

    polling = poll(use, profiles=[make_row(4)], behaviour=Meters(words(4), refused=dict.fromkeys(range(4), 2)))
    assert polling.meters.spans[-1] == (0, 4)
    assert polling.statuses["meter-1"].refused_points == ()


def packed(text: str, words: int) -> list[int]:
    raw = text.encode().ljust(2 * words, b"\0")
    return [int.from_bytes(raw[n : n + 2]) for n in range(0, len(raw), 2)]


ROUTER = make_profile(
    [
        make_point("uptime", address=1, type="uint32", quantity="duration", scale="1"),
        make_point("signal_rssi", address=3, type="int32", quantity="signal_strength", scale="1"),
        make_point("operator", address=23, type="string", words=4, quantity="text", scale="1"),
        make_point("network_type", address=119, type="string", words=4, quantity="text", scale="1"),
        make_point("wan_ip", address=139, type="ipv4", quantity="text", scale="1"),
        make_point("gps_latitude", address=143, type="float32", quantity="latitude", scale="1"),
        make_point("data_rx_sim1_month", address=193, type="uint32", quantity="data_volume", scale="1"),
    ],
    id="router",
    category="cellular_router",
)


def test_router_shows_its_signal_and_its_texts_and_what_it_lacks_costs_nothing() -> None:
    said = {
        **dict(enumerate([1, 0x5180, 0xFFFF, 0x10000 - 77], 1)),
        **dict(enumerate(packed("Vodafone", 4), 23)),
        **dict(enumerate(packed("LTE", 4), 119)),
        **dict(enumerate([10 << 8, 7], 139)),
        **dict(enumerate([0, 5_000], 193)),
    }

    async def use(polling: Polling) -> None:
        await polling.until(lambda: "wan_ip" in polling.statuses["meter-1"].router)
        await polling.until(lambda: "rssi_dbm" in polling.statuses["meter-1"].router)

    meter = make_meter_config(profile="router")
    polling = poll(use, meters=[meter], profiles=[ROUTER], behaviour=Meters(said, refused=dict.fromkeys([143, 144], 2)))
    status = polling.statuses["meter-1"]
    assert status.router == {
        "signal": "good",
        "operator": "Vodafone",
        "network_type": "LTE",
        "wan_ip": "10.0.0.7",
        "rssi_dbm": -77.0,
        "uptime_s": 86_400.0,
        "data_rx_sim1_month": 5_000.0,
    }
    assert status.refused_points == ("gps_latitude",)
    assert "router" not in status.report()


def test_identity_of_a_meter_is_read_once_and_its_failure_costs_no_scan() -> None:
    profile = make_profile(
        [
            make_point(),
            make_point("serial_number", address=200, type="uint32", quantity="identity", scale="1"),
            make_point("device_model", address=300, type="string", words=4, quantity="identity", scale="1"),
        ]
    )

    async def use(polling: Polling) -> None:
        await polling.until(lambda: bool(polling.statuses["meter-1"].texts))
        await scans(4)(polling)

    behaviour = Meters({0: 2312, 201: 4711}, refused={300: 4})
    polling = poll(use, profiles=[profile], behaviour=behaviour)
    assert polling.statuses["meter-1"].texts == {"serial_number": "4711"}
    assert polling.meters.spans.count((200, 2)) == 1
    assert polling.statuses["meter-1"].state is MeterState.GOOD
