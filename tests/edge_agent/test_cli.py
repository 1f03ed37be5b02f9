"""Every command has a text for people, JSON for scripts, and one sentence for each fault."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from scripted_modbus import Answer, scripted_server, with_bytes, with_registers, with_silence
from site_factories import make_energy_point, make_meter_config, make_point, make_profile, make_site_config

from demo.processes import free_port
from edge_agent.buffer.opening import open_buffer
from edge_agent.cli import main
from edge_agent.site.compile import compile_site
from protocol.profile import Profile
from protocol.ranges import RangeSet
from protocol.scans import Scan

TWO_REQUESTS = make_profile([make_point(), make_energy_point(address=1_000)])
ONE_POINT = make_profile([make_point()])


@pytest.fixture(autouse=True)
def _logging_of_a_command_ends_with_it() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Path]:
    """Write agent.toml and site.json; return the path of the first."""

    def write(*profiles: Profile, port: int = 502, timeout_s: float = 20, agent: str = "") -> Path:
        config = make_site_config([make_meter_config("heater")], profiles, port=port, timeout_s=timeout_s)
        (tmp_path / "site.json").write_text(config.model_dump_json(), encoding="utf-8")
        path = tmp_path / "agent.toml"
        path.write_text(
            f'controller_id = "hut-1"\ndata_dir = "data"\nsite = "site.json"\n[broker]\nhost = "localhost"\n{agent}',
            encoding="utf-8",
        )
        return path

    return write


def ask(arguments: Callable[[int], list[str]], *script: Answer) -> int:
    """Run a command beside a meter that answers by the script; `arguments` is given the meter's port."""

    async def inner() -> int:
        async with scripted_server(*script) as server:
            return await asyncio.to_thread(main, arguments(server.port))

    return asyncio.run(inner())


def test_check_of_a_collector_shows_the_first_of_its_buses(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = configure(ONE_POINT)
    site = json.loads((path.parent / "site.json").read_text(encoding="utf-8"))
    [bus] = site["buses"]
    site["buses"] = [
        bus | {"id": f"hut-{n}", "host": f"10.0.0.{n}", "meters": [make_meter_config(f"m{n}")]} for n in range(1, 31)
    ]
    (path.parent / "site.json").write_text(json.dumps(site), encoding="utf-8")
    assert main(["check", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "bus hut-20 at 10.0.0.20:502" in shown
    assert "hut-21" not in shown
    assert "and 10 more buses; --json shows all" in shown
    assert "30 meters, 30 points" in shown


def test_check_shows_requests_points_and_amount(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(configure(TWO_REQUESTS))]) == 0
    out = capsys.readouterr().out
    assert "mqtt://localhost:1883 as hut-1" in out
    assert "heater: unit 1 holding_register 1000..1001 (2 words)" in out
    assert "1 meters, 2 points, 1,728,000 readings per day" in out


def test_check_prints_json(configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--config", str(configure(TWO_REQUESTS))]) == 0
    report = json.loads(capsys.readouterr().out)
    meter = report["buses"][0]["meters"][0]
    assert meter["points"] == ["voltage", "energy"]
    assert [(r["address"], r["count"]) for r in meter["requests"]] == [(0, 1), (1000, 2)]
    assert report["readings_per_day"] == 1_728_000


def test_check_tells_time_traffic_and_policies(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(configure(TWO_REQUESTS))]) == 0
    out = capsys.readouterr().out
    assert "one cycle takes about 100 ms (a round trip of 50 ms); busy 100.0% of the time" in out
    assert re.search(r"^  heater +test-meter +1 +100 ms +every +2 +2 +100 ms$", out, re.MULTILINE)
    assert re.search(r"^about [0-9.]+ MB per month on the line, no budget set$", out, re.MULTILINE)


def test_check_warns_when_the_budget_will_not_last(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = configure(TWO_REQUESTS, agent="[uplink]\nmonthly_budget_mb = 1\n")
    assert main(["check", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "of a budget of 1.0 MB" in out
    assert "warning: the line is expected to carry " in out


def test_check_refuses_a_cycle_that_never_fits_its_period(
    configure: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure()
    site = make_site_config(
        [make_meter_config("heater", period_s=0.05)],
        [TWO_REQUESTS],
        host=None,
        serial={"device": "/dev/x", "baud": 1200},
    )
    (tmp_path / "site.json").write_text(site.model_dump_json(), encoding="utf-8")
    assert main(["check", "--config", str(config)]) == 78
    err = capsys.readouterr().err
    assert "site.json: bus 'bus-1' needs at least 0.38 s for one cycle and its periods are 0.05 s" in err
    assert err.count("\n") == 1


def test_check_finds_an_unreadable_password(
    configure: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").touch()
    assert main(["check", "--config", str(configure(agent="password_file = 'password'\n"))]) == 78
    assert "is empty; write the broker password" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["run"], ["check"], ["read", "heater"], ["status"], ["buffer"], ["export"]], ids=str
)
def test_missing_settings_are_one_sentence_for_every_command(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--config", str(tmp_path / "none.toml")]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("meterhaul edge: ")
    assert "none.toml does not exist" in err
    assert err.count("\n") == 1


def test_fault_of_the_site_is_a_fault_of_configuration(
    configure: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure()
    (tmp_path / "site.json").write_text('{"buses": []}', encoding="utf-8")
    assert main(["check", "--config", str(config)]) == 78
    assert "site.json: buses: [] is empty; fill it in" in capsys.readouterr().err


def test_read_shows_value_unit_quality_registers_and_request(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code = ask(lambda port: ["read", "heater", "--config", str(configure(ONE_POINT, port=port))], with_registers(2312))
    out = capsys.readouterr().out
    assert code == 0
    assert out.splitlines()[-1].split() == [
        "voltage",
        "231.2",
        "V",
        "good",
        "0908",
        "unit",
        "1",
        "holding_register",
        "0..0",
    ]


def test_read_shows_other_byte_orders_of_a_value_that_looks_wrong(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    profile = make_profile([make_point("voltage_l1_n", type="float32", scale="1")])
    code = ask(
        lambda port: ["read", "heater", "--config", str(configure(profile, port=port))], with_registers(0x4000, 0x4367)
    )
    out = capsys.readouterr().out
    assert code == 0
    assert "These values look wrong; the same registers would be:" in out
    assert "voltage_l1_n 2.00411 V: 231.25 V as float32 with little-endian words (plausible)" in out
    assert 'modbus.word_order = "little"' in out.splitlines()[-1]


def test_read_prints_json(configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    code = ask(
        lambda port: ["read", "heater", "--json", "--config", str(configure(ONE_POINT, port=port))],
        with_registers(2312),
    )
    assert code == 0
    point: dict[str, Any] = json.loads(capsys.readouterr().out)["points"][0]
    assert point["request"].pop("text")
    assert point == {
        "point": "voltage",
        "value": 231.2,
        "unit": "V",
        "quality": "good",
        "registers": [2312],
        "request": {"unit_id": 1, "table": "holding_register", "address": 0, "count": 1},
    }


def test_read_shows_which_request_the_meter_refuses(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    refuse = with_bytes(lambda asked: asked.frame(b"\x02", function_code=0x83))
    code = ask(
        lambda port: ["read", "heater", "--json", "--config", str(configure(TWO_REQUESTS, port=port))],
        with_registers(2312),
        refuse,
    )
    points = json.loads(capsys.readouterr().out)["points"]
    assert code == 0
    assert [(point["value"], point["quality"]) for point in points] == [(231.2, "good"), (None, "exception(2)")]


def test_read_of_a_silent_meter_says_what_to_check(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code = ask(
        lambda port: ["read", "heater", "--config", str(configure(ONE_POINT, port=port, timeout_s=0.1))], with_silence
    )
    err = capsys.readouterr().err
    assert code == 1
    assert "meter 'heater' does not answer: unit 1 at 127.0.0.1:" in err
    assert "check that the meter is on, its unit id" in err
    assert err.count("\n") == 1


def test_read_without_a_connection_says_what_to_check(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    assert main(["read", "heater", "--config", str(configure(ONE_POINT, port=port))]) == 1
    err = capsys.readouterr().err
    assert f"no connection to 127.0.0.1:{port}" in err
    assert "check address and port" in err


def test_read_of_an_unknown_meter_names_the_nearest(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", "heatr", "--config", str(configure())]) == 78
    assert "did you mean 'heater'?" in capsys.readouterr().err


async def fill_buffer(path: Path, scans: int, committed: int) -> None:
    plan = compile_site(make_site_config(), "site")
    buffer = open_buffer(
        path, manifest=plan.manifest, boot_id=bytes(16), max_bytes=1 << 24, started_at_ms=1_760_000_000_000
    )
    await buffer.append([Scan(0, 1_760_000_000_000 + n * 1000, (230.0, float(n))) for n in range(scans)])
    await buffer.record_belief(1, {buffer.stream_id: (RangeSet([(1, committed)]), RangeSet())})
    await buffer.close()


def test_buffer_tells_what_is_held_and_outstanding(
    configure: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure()
    asyncio.run(fill_buffer(tmp_path / "data" / "buffer.sqlite3", scans=30, committed=10))
    assert main(["buffer", "--json", "--config", str(config)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["recorded"], report["committed"], report["outstanding"]) == (30, 10, 20)
    assert (report["oldest"], report["newest"]) == ("2025-10-09T08:53:20.000Z", "2025-10-09T08:53:49.000Z")
    assert report["streams"][0]["recorded"] == 30

    assert main(["buffer", "--config", str(config)]) == 0
    assert "scans        30: 10 committed, 20 outstanding" in capsys.readouterr().out


def test_buffer_is_read_beside_the_agent_that_writes_it(
    configure: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure()

    async def look_while_open() -> int:
        plan = compile_site(make_site_config(), "site")
        buffer = open_buffer(
            tmp_path / "data" / "buffer.sqlite3",
            manifest=plan.manifest,
            boot_id=bytes(16),
            max_bytes=1 << 24,
            started_at_ms=1_760_000_000_000,
        )
        await buffer.append([Scan(0, 1_760_000_000_000, (230.0, 1.0))])
        code = await asyncio.to_thread(main, ["buffer", "--json", "--config", str(config)])
        await buffer.append([Scan(0, 1_760_000_001_000, (230.0, 2.0))])
        await buffer.close()
        return code

    assert asyncio.run(look_while_open()) == 0
    assert json.loads(capsys.readouterr().out)["recorded"] == 1


def test_buffer_that_is_not_there_is_one_sentence(
    configure: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["buffer", "--config", str(configure())]) == 1
    assert "the agent has not run yet" in capsys.readouterr().err


def test_file_that_is_no_buffer_is_one_sentence(
    configure: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "buffer.sqlite3").write_bytes(b"no database" * 100)
    assert main(["buffer", "--config", str(config)]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["scan", "run", "check", "read", "status", "buffer", "export"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: meterhaul edge {command}" in out
    assert ("--config" in out) is (command != "scan")
    assert ("--json" in out) is (command not in ("run", "export"))
