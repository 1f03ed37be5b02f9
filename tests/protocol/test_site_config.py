"""A site configuration refuses what could not be told apart later."""

import pytest
from pydantic import ValidationError

from protocol.site_config import SiteConfig

METER = {"id": "heater", "profile": "eastron-sdm120"}
BUS = {"id": "tcp-1", "host": "192.0.2.1", "meters": [METER]}


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
            {"buses": [BUS, BUS | {"id": "tcp-2", "meters": [METER | {"id": "m2"}]}]}, "address of bus", id="address"
        ),
        pytest.param({"buses": [BUS | {"meters": [METER | {"id": "Bad Id"}]}]}, "not a valid id", id="meter id"),
        pytest.param({"buses": [BUS | {"meters": [METER | {"period_s": 0}]}]}, "greater than", id="period"),
    ],
)
def test_an_impossible_configuration_is_refused(config: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SiteConfig.model_validate(config)
