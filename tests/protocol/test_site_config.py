"""A site configuration refuses what could not be told apart later."""

import pytest
from pydantic import ValidationError

from protocol.line_config import SerialLine, Transport
from protocol.site_config import SiteConfig

METER = {"id": "heater", "profile": "eastron-sdm120"}
BUS = {"id": "tcp-1", "host": "192.0.2.1", "meters": [METER]}
SERIAL = {"device": "/dev/ttyUSB0"}


def meter(**changes: object) -> dict[str, object]:
    return {"buses": [BUS | {"meters": [METER | changes]}]}


def test_defaults_fill_a_short_configuration() -> None:
    config = SiteConfig.model_validate({"buses": [BUS]})
    bus = config.buses[0]
    assert (bus.port, bus.timeout_s) == (502, 1.0)
    assert (bus.meters[0].unit_id, bus.meters[0].period_s, bus.meters[0].points) == (1, 60, None)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        pytest.param({"buses": []}, "at least 1", id="no bus"),
        pytest.param({"buses": [BUS], "speed": 1}, "Extra inputs", id="unknown key"),
        pytest.param({"buses": [BUS, BUS]}, "bus id 'tcp-1' is used twice", id="bus twice"),
        pytest.param(
            {"buses": [BUS, BUS | {"id": "tcp-2", "host": "192.0.2.2"}]}, "meter id 'heater' is used twice", id="meter"
        ),
        pytest.param(
            {"buses": [BUS, BUS | {"id": "tcp-2", "meters": [METER | {"id": "m2"}]}]},
            "is used by the buses 'tcp-1' and 'tcp-2'; put their meters on one",
            id="address",
        ),
        pytest.param(
            {"buses": [BUS, BUS | {"id": "b", "transport": "rtu_over_tcp", "meters": [METER | {"id": "m2"}]}]},
            "is used as tcp by bus 'tcp-1' and as rtu_over_tcp by bus 'b'",
            id="two framings",
        ),
        pytest.param({"buses": [BUS | {"transport": "rtu"}]}, "needs a serial line", id="serial without a line"),
        pytest.param({"buses": [BUS | {"serial": SERIAL}]}, "has no host", id="serial with a host"),
        pytest.param({"buses": [{"id": "b", "meters": [METER]}]}, "needs a 'host'", id="no host"),
        pytest.param({"buses": [BUS | {"tls": {}}]}, "has no encryption", id="TLS files without TLS"),
        pytest.param(
            meter(report={"policy": "every", "every_s": 60}), "belongs to the policy 'aggregate'", id="policy"
        ),
        pytest.param(
            meter(groups=[{"points": ["power"]}, {"points": ["power"]}]), "point 'power' is used twice", id="group"
        ),
        pytest.param(meter(writable=[{"point": "p", "lowest": 2, "highest": 1}]), "is below 'lowest' 2", id="limits"),
        pytest.param({"buses": [BUS | {"meters": [METER | {"id": "Bad Id"}]}]}, "not a valid id", id="meter id"),
        pytest.param({"buses": [BUS | {"meters": [METER | {"period_s": 0}]}]}, "greater than", id="period"),
    ],
)
def test_an_impossible_configuration_is_refused(config: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SiteConfig.model_validate(config)


def test_a_serial_line_needs_no_transport() -> None:
    bus = SiteConfig.model_validate({"buses": [{"id": "rs485", "serial": SERIAL, "meters": [METER]}]}).buses[0]
    assert (bus.transport, bus.address) == (Transport.RTU, "/dev/ttyUSB0")


def test_encrypted_modbus_has_a_port_of_its_own() -> None:
    bus = SiteConfig.model_validate({"buses": [BUS | {"transport": "tls"}]}).buses[0]
    assert bus.address == "192.0.2.1:802"


@pytest.mark.parametrize(
    ("line", "character_us", "silence_us"),
    [
        ({"baud": 9600, "parity": "N", "stop_bits": 1}, 1042, 3646),
        ({"baud": 19200, "parity": "E", "stop_bits": 1}, 573, 2005),
        ({"baud": 115200, "parity": "N", "stop_bits": 2}, 95, 1750),
        ({"baud": 9600, "inter_frame_delay_ms": 20}, 1042, 20000),
    ],
)
def test_the_silence_between_frames_is_as_the_standard_says(
    line: dict[str, object], character_us: int, silence_us: int
) -> None:
    serial = SerialLine.model_validate(SERIAL | line)
    assert round(serial.character_s * 1e6) == character_us
    assert round(serial.silence_s * 1e6) == silence_us
