"""A point is written only where profile and site allow it, within limits, and what the meter holds then is read back."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from order_factories import make_command
from polling_factories import Recorded
from site_factories import make_meter_config, make_point, make_profile, make_site_plan
from structlog.testing import capture_logs

from edge_agent.clock.clock import SystemClock
from edge_agent.control.signatures import OrderRefused
from edge_agent.control.write_point import PointNotWritten, prepare_write
from edge_agent.errors import AgentError
from edge_agent.polling.supervisor import Supervisor
from protocol.control import CommandKind
from protocol.profile import Table
from simulator.faults import Fault, FaultKind
from simulator.modbus import Write
from simulator.register_unit import RegisterUnit
from simulator.server import serve

PROFILE = make_profile(
    [
        make_point("limit", address=0, access="rw"),
        make_point("read_only", address=1),
        make_point("share", address=2, access="rw", scale="1", exponent_point="share_scale"),
        make_point("share_scale", address=3, type="int16", scale="1", quantity="exponent"),
        make_point("reset", address=4, access="w", scale="1"),
        make_point("wide", address=10, type="uint32", access="rw", scale="1"),
        make_point("relay", address=0, table="coil", type="bool", quantity="state", access="rw", scale="1"),
    ]
)
OPEN = [
    {"point": "limit", "lowest": 0, "highest": 500},
    {"point": "share", "lowest": 0, "highest": 100},
    {"point": "reset", "lowest": 1, "highest": 1},
    {"point": "wide", "lowest": 0, "highest": 1_000_000},
    {"point": "relay", "lowest": 0, "highest": 1},
]


WRITABLE = (0, 1, 2, 4, 10, 11)


class ClampingUnit(RegisterUnit):
    """Takes what is written, but never more than 300.0."""

    def _write(self, write: Write) -> None:
        super()._write(write)
        words = self.tables[Table.HOLDING_REGISTER]
        words[0] = min(words[0], 3_000)


def make_unit(kind: type[RegisterUnit] = RegisterUnit, *, writable: Sequence[int] = WRITABLE) -> RegisterUnit:
    return kind(
        holding={0: 2_312, 1: 7, 2: 500, 3: 0xFFFF, 4: 0, 10: 0, 11: 5},
        coils={0: 0},
        writable=writable,
        meter_id="meter-1",
    )


def write(
    unit: RegisterUnit,
    arguments: Mapping[str, Any],
    *,
    fault: Fault | None = None,
    factors: tuple[dict[str, Any], ...] = (),
) -> tuple[dict[str, Any], list[Any]]:
    """Write through a real line; return the result and the log."""

    async def inner() -> dict[str, Any]:
        with serve(unit) as server:
            server.set_fault("meter-1", fault)
            meter = make_meter_config(writable=OPEN, points=["limit", "read_only"], factors=factors)
            plan = make_site_plan([meter], [PROFILE], port=server.port, timeout_s=0.3)
            buses = Supervisor(plan=plan, sink=Recorded(), clock=SystemClock(), on_change=lambda: None)
            command = make_command(CommandKind.WRITE, arguments={"meter": "meter-1", **arguments})
            return await prepare_write(command, plan=lambda: plan, buses=buses)()

    with capture_logs() as logs:
        return asyncio.run(inner()), logs


def test_point_is_written_read_back_and_logged() -> None:
    unit = make_unit()
    result, logs = write(unit, {"point": "limit", "value": 100.5})
    assert unit.tables[Table.HOLDING_REGISTER][0] == 1_005
    assert (result["old"], result["new"], result["unit"], result["read_back"]) == (231.2, 100.5, "V", True)
    [line] = logs
    assert (line["event"], line["meter_id"], line["point"], line["old"], line["new"]) == (
        "point_written",
        "meter-1",
        "limit",
        231.2,
        100.5,
    )
    assert line["command"].startswith("command-")


def test_wide_point_and_coil_are_written_whole() -> None:
    unit = make_unit()
    assert write(unit, {"point": "wide", "value": 70_000})[0]["new"] == 70_000
    assert [unit.tables[Table.HOLDING_REGISTER][address] for address in (10, 11)] == [1, 4_464]


def test_point_with_a_scale_of_the_device_is_written_in_it() -> None:
    unit = make_unit()
    result, _ = write(unit, {"point": "share", "value": 12.5})
    assert (result["old"], result["new"]) == (50.0, 12.5)
    assert unit.tables[Table.HOLDING_REGISTER][2] == 125


def test_point_with_a_factor_of_the_site_is_written_in_the_sites_unit() -> None:
    unit = make_unit()
    result, _ = write(unit, {"point": "limit", "value": 500}, factors=({"point": "limit", "factor": "10"},))
    assert (result["old"], result["new"]) == (2312.0, 500.0)
    assert unit.tables[Table.HOLDING_REGISTER][0] == 500


def test_point_that_cannot_be_read_is_written_blindly_and_says_so() -> None:
    unit = make_unit()
    result, _ = write(unit, {"point": "reset", "value": 1})
    assert (result["old"], result["new"], result["read_back"]) == (None, 1.0, False)
    assert unit.tables[Table.HOLDING_REGISTER][4] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"point": "limit", "value": 500.1}, r"500\.1 is outside 0\.\.500"),
        ({"point": "limit", "value": -1}, "outside"),
        ({"point": "read_only", "value": 1}, "does not open point 'read_only'"),
        ({"point": "unheard_of", "value": 1}, "does not open point"),
        ({"point": "limit", "value": 1, "meter": "meter-2"}, "meter-2"),
        ({"point": "limit", "value": "1"}, "argument 'value'"),
        ({"point": "limit", "value": True}, "argument 'value'"),
        ({"point": "limit", "value": float("nan")}, "argument 'value'"),
        ({"point": "limit"}, "argument 'value'"),
        ({"point": "limit", "value": 1, "force": True}, "argument 'force'"),
        ({"point": "relay", "value": 0.6}, "cannot express|would understand"),
        ({"point": "reset", "value": 1.4}, "outside"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_sent(arguments: dict[str, Any], reason: str) -> None:
    unit = make_unit()
    with pytest.raises(OrderRefused, match=reason):
        write(unit, arguments)
    assert unit.tables == make_unit().tables


def test_value_that_reads_back_otherwise_is_a_failure() -> None:
    with (
        capture_logs() as logs,
        pytest.raises(PointNotWritten, match=r"was 231\.2, 400 was written, .* reads back 300"),
    ):
        write(make_unit(ClampingUnit), {"point": "limit", "value": 400})
    assert logs == []


def test_meter_that_refuses_says_so() -> None:
    with pytest.raises(AgentError, match="illegal data address"):
        write(make_unit(writable=()), {"point": "relay", "value": 1})


def test_silent_meter_is_not_written() -> None:
    unit = make_unit()
    with pytest.raises(AgentError, match="did not answer"):
        write(unit, {"point": "limit", "value": 100}, fault=Fault(FaultKind.DEAD))
    assert unit.tables == make_unit().tables
