"""Every device of the library is recognised by what it answers, and doubt is said rather than hidden."""

import asyncio
from contextlib import closing

import pytest

from edge_agent.bus.bus import ModbusBus
from edge_agent.commissioning.fingerprint import Certainty, mark_of, telling_points
from edge_agent.commissioning.identify import Identity, identify, may_stand_on
from edge_agent.commissioning.unit_probe import UnitProbe
from protocol.library import get_profile, load_library
from protocol.line_config import LineConfig
from protocol.site.timing import Timing
from simulator.devices import make_device
from simulator.register_unit import RegisterUnit
from simulator.server import serve
from simulator.unit import Unit

CANDIDATES = [profile for profile in load_library().values() if may_stand_on(profile, is_serial=False)]
METERS = [profile.id for profile in CANDIDATES if profile.category == "electricity_meter"]


def identity_of(unit: Unit) -> tuple[Identity, int]:
    """Return what a unit is taken for, and how many requests that took."""

    async def ask(port: int) -> tuple[Identity, int]:
        with closing(ModbusBus(LineConfig(id="b", host="127.0.0.1", port=port))) as bus:
            found = await identify(UnitProbe(bus, unit.unit_id, Timing(0.2)), CANDIDATES)
            return found, bus.stats.requests

    with serve(unit) as server:
        return asyncio.run(ask(server.port))


@pytest.mark.parametrize("profile_id", METERS)
def test_meter_is_recognised_or_named_among_those_that_fit_as_well(profile_id: str) -> None:
    found, requests = identity_of(make_device(profile_id))
    assert found.certainty in (Certainty.SURE, Certainty.AMBIGUOUS)
    assert profile_id in {found.profiles[0].id, *(rival.profile.id for rival in found.rivals)}
    assert requests < 150


def test_router_is_recognised_without_a_mains_value() -> None:
    found, _ = identity_of(make_device("teltonika-rut-rutx-modbus"))
    assert found.profiles[0].id == "teltonika-rut-rutx-modbus"


def test_module_without_a_telling_value_is_only_a_guess() -> None:
    found, _ = identity_of(make_device("moxa-iologik-e1210"))
    assert found.certainty is Certainty.GUESS
    assert "moxa-iologik-e1210" in [candidate.profile.id for candidate in found.ranked]


def test_three_voltages_tell_the_three_phase_model_from_its_single_phase_sisters() -> None:
    found, _ = identity_of(make_device("eastron-sdm630"))
    assert (found.certainty, found.profiles[0].id) == (Certainty.SURE, "eastron-sdm630")
    fitting = {item.point for item in found.ranked[0].fitting}
    assert {"frequency", "voltage_l1_n", "voltage_l2_n", "voltage_l3_n"} <= fitting


def test_mark_of_the_maker_decides() -> None:
    registers = dict.fromkeys(range(50_000, 51_400), 0)
    registers |= dict(zip(range(0xC350, 0xC354), (0x53, 0x4F, 0x43, 0x4F), strict=True))
    registers |= {50_520: 0, 50_521: 23_120, 50_526: 0, 50_527: 50_000}
    found, _ = identity_of(RegisterUnit(5, holding=registers))
    assert found.profiles[0].id == "socomec-countis-e14"
    assert ("identification", "SOCO") in [(item.point, item.value) for item in found.ranked[0].evidence]
    mark = mark_of(get_profile("socomec-countis-e14"))
    assert mark is not None
    assert (mark.function_code, mark.address, mark.words) == (3, 0xC350, (0x53, 0x4F, 0x43, 0x4F))


def test_registers_full_of_zeros_prove_nothing() -> None:
    found, _ = identity_of(RegisterUnit(1, holding=dict.fromkeys(range(200), 0), inputs=dict.fromkeys(range(400), 0)))
    assert found.certainty in (Certainty.GUESS, Certainty.UNKNOWN)


def test_silent_tables_are_not_asked_for_ever() -> None:
    unit = make_device("peacefair-pzem-016")
    _, requests = identity_of(unit)
    assert requests < 80


@pytest.mark.parametrize("profile_id", METERS)
def test_every_meter_has_points_that_tell(profile_id: str) -> None:
    assert any(point.quantity in ("voltage", "frequency") for point in telling_points(get_profile(profile_id)))
