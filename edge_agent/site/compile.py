"""From the site configuration to the plan of what the agent does; what the protocol refuses is a person's to mend."""

from pathlib import Path

from pydantic import ValidationError

from edge_agent.config_files import explain, read_json, read_toml
from edge_agent.errors import SettingsError
from protocol.errors import InvalidSite
from protocol.site import compile as compiler
from protocol.site.plan import BusPlan, MeterPlan, SitePlan
from protocol.site_config import SiteConfig
from protocol.wording import did_you_mean

_REMEDY = "write the site configuration there, or name it by 'site' in agent.toml"


def load_site(path: Path) -> SitePlan:
    """Read a site configuration (TOML, or JSON by its suffix) and compile it.

    Raises: SettingsError naming file, key, value and remedy.
    """
    read = read_json if path.suffix == ".json" else read_toml
    try:
        config = SiteConfig.model_validate(read(path, remedy=_REMEDY))
    except ValidationError as error:
        raise SettingsError(explain(path, error)) from None
    return compile_site(config, str(path))


def compile_site(config: SiteConfig, where: str) -> SitePlan:
    """Compile a site configuration; `where` names its file in messages.

    Raises: SettingsError.
    """
    try:
        return compiler.compile_site(config, where)
    except InvalidSite as error:
        raise SettingsError(str(error)) from None


def find_meter(plan: SitePlan, meter_id: str) -> tuple[BusPlan, MeterPlan]:
    """Return a meter and its bus.

    Raises: SettingsError naming the meters that look alike.
    """
    for bus in plan.buses:
        for meter in bus.meters:
            if meter.config.id == meter_id:
                return bus, meter
    known = [meter.config.id for meter in plan.meters]
    raise SettingsError(f"meter {meter_id!r} is not in the site configuration{did_you_mean(meter_id, known)}")
