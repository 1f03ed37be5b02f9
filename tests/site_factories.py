"""Makers of meter profiles and site configurations for tests of the agent."""

from collections.abc import Sequence
from typing import Any

import factories

from protocol.profile import Point, Profile
from protocol.site.compile import compile_site
from protocol.site.plan import SitePlan
from protocol.site_config import SiteConfig


def make_point(name: str = "voltage", **changes: Any) -> Point:
    """Make a voltage point: uint16 in tenths at holding register 0."""
    return factories.make_point(name, **{"scale": "0.1", **changes})


def make_energy_point(name: str = "energy", **changes: Any) -> Point:
    """Make a counter of energy: uint32 at holding registers 10 and 11."""
    fields = {"address": 10, "type": "uint32", "quantity": "active_energy", "scale": "1"}
    return make_point(name, **{**fields, **changes})


def make_profile(points: Sequence[Point] = (), **changes: Any) -> Profile:
    """Make a Modbus profile with two points that fit one request."""
    return factories.make_profile(*(points or (make_point(), make_energy_point())), **changes)


def make_meter_config(meter_id: str = "meter-1", **changes: Any) -> dict[str, Any]:
    """Make one meter of a site configuration."""
    return {"id": meter_id, "profile": "test-meter", "unit_id": 1, "period_s": 0.1, **changes}


def make_site_config(meters: Sequence[dict[str, Any]] = (), profiles: Sequence[Profile] = (), **bus: Any) -> SiteConfig:
    """Make a site of one bus; `bus` changes the bus."""
    return SiteConfig.model_validate(
        {
            "buses": [{"id": "bus-1", "host": "127.0.0.1", "meters": list(meters) or [make_meter_config()], **bus}],
            "profiles": tuple(profiles) or (make_profile(),),
        }
    )


def make_site_plan(meters: Sequence[dict[str, Any]] = (), profiles: Sequence[Profile] = (), **bus: Any) -> SitePlan:
    """Compile a site of one bus."""
    return compile_site(make_site_config(meters, profiles, **bus), "site.toml")
