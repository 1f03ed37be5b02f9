"""A scan becomes a site configuration that compiles, and overwrites nothing unasked."""

import tomllib
from pathlib import Path

import pytest
from scanning import scan_port

from edge_agent.commissioning.scan import ScanResult
from edge_agent.commissioning.site_file import draft_site, write_site
from edge_agent.errors import AgentError
from edge_agent.site.compile import load_site
from protocol.line_config import SerialLine, Transport
from protocol.site_config import SiteConfig
from simulator.devices import make_device
from simulator.links import Gateway, Link, SerialServer
from simulator.register_unit import RegisterUnit
from simulator.server import serve
from simulator.sunspec import SunSpecImage, model_words
from simulator.unit import Unit


def sunspec_unit(unit_id: int, serial: str, model_id: int) -> RegisterUnit:
    values: dict[str, float | str] = {"W": 2770, "Hz": 50, "PhVphA": 230}
    image = SunSpecImage().add_common(manufacturer="Acme", model="Sun", serial=serial)
    return image.add_model(model_id, model_words(model_id, values)).unit(unit_id, meter_id=serial)


def scan(*units: Unit, link: Link | None = None) -> ScanResult:
    with serve(*units, link=link or Gateway(timeout_s=0.01)) as server:
        return scan_port(server.port, unit_ids=(1, 2, 3))


@pytest.fixture(scope="module")
def mixed() -> ScanResult:
    """A gateway with a meter, an ambiguous one and one that is not known."""
    meters = make_device("eastron-sdm630", meter_id="a"), make_device("eastron-sdm120", meter_id="b", unit_id=2)
    return scan(*meters, RegisterUnit(3, holding={5_000: 1}))


def test_written_file_compiles_to_the_meters_that_were_found(mixed: ScanResult, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    draft = draft_site(mixed)
    write_site(draft, path, may_overwrite=False)
    plan = load_site(path)
    [bus] = plan.buses
    assert [(m.config.unit_id, m.config.profile) for m in bus.meters] == [(1, "eastron-sdm630"), (2, "eastron-sdm120")]
    assert [m.config.id for m in bus.meters] == ["eastron-sdm630-1", "eastron-sdm120-2"]
    assert bus.meters[0].config.label == "Eastron SDM630-Modbus V2, unit 1"
    assert (bus.config.host, bus.config.port) == ("127.0.0.1", mixed.lines[0].line.port)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_sure_stands_as_a_question_at_the_head(mixed: ScanResult) -> None:
    text = draft_site(mixed).text
    assert "# To do: unit 2 at 127.0.0.1:" in text
    assert "may as well be eastron-sdm230; look at its type plate" in text
    assert "# To do: unit 3 at 127.0.0.1:" in text


def test_file_that_is_there_is_overwritten_only_when_told_so(mixed: ScanResult, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(AgentError, match="is there already; name another file, or overwrite it with --force"):
        write_site(draft_site(mixed), path, may_overwrite=False)
    assert path.read_text(encoding="utf-8") == "mine"
    write_site(draft_site(mixed), path, may_overwrite=True)
    assert load_site(path).meters


def test_file_that_cannot_be_written_is_named(mixed: ScanResult, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"none/site.toml cannot be written \(No such file"):
        write_site(draft_site(mixed), tmp_path / "none" / "site.toml", may_overwrite=False)


def test_sunspec_devices_bring_profiles_of_their_own(tmp_path: Path) -> None:
    result = scan(sunspec_unit(1, "one", 103), sunspec_unit(2, "two", 103), sunspec_unit(3, "three", 101))
    path = tmp_path / "site.toml"
    draft = draft_site(result)
    write_site(draft, path, may_overwrite=False)
    plan = load_site(path)
    assert [m.config.profile for m in plan.meters] == ["sunspec-acme-sun", "sunspec-acme-sun", "sunspec-acme-sun-2"]
    assert SiteConfig.model_validate(tomllib.loads(draft.text)) == draft.config


def test_framing_of_a_serial_server_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    unit = make_device("eastron-sdm630")
    write_site(draft_site(scan(unit, link=SerialServer())), path, may_overwrite=False)
    assert load_site(path).buses[0].config.transport is Transport.RTU_OVER_TCP


def test_slow_line_gets_a_period_in_which_its_meters_can_be_read(mixed: ScanResult) -> None:
    [line] = mixed.lines
    serial = line.line.model_validate({"id": "scan", "serial": SerialLine(device="/dev/ttyUSB0", baud=1_200)})
    many = tuple(
        type(unit)(unit_id, unit.certainty, unit.ranked) for unit_id in range(1, 31) for unit in line.units[:1]
    )
    draft = draft_site(ScanResult([type(line)(serial, many)]))
    assert {meter.period_s for meter in draft.config.buses[0].meters} == {300.0}
    assert 'serial = {device = "/dev/ttyUSB0", baud = 1200}' in draft.text


def test_nothing_recognised_is_no_configuration() -> None:
    result = scan(RegisterUnit(1, holding={5_000: 1}))
    with pytest.raises(AgentError, match="no device was recognised"):
        draft_site(result)
