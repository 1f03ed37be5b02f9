"""What can be permitted, and the roles that everybody has: each a set of permissions. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """One thing that somebody may do. The words are stable: custom roles and tokens name them."""

    ORGANISATIONS_READ = "organisations.read"
    ORGANISATIONS_WRITE = "organisations.write"
    PEOPLE_READ = "people.read"
    PEOPLE_WRITE = "people.write"
    """Invite, change roles, remove; never beyond one's own permissions."""
    ROLES_WRITE = "roles.write"
    SERVICES_WRITE = "services.write"
    """Service accounts, their tokens and broker logins."""
    AUDIT_READ = "audit.read"
    SITES_READ = "sites.read"
    """Sites, controllers, buses, meters, points, groups: what there is."""
    SITES_WRITE = "sites.write"
    METERS_WRITE = "meters.write"
    """Meters, buses, groups, life cycle, exchanges of meters."""
    CONTROLLERS_WRITE = "controllers.write"
    READINGS_READ = "readings.read"
    ENERGY_READ = "energy.read"
    """The ledger, profiles, costs, emissions."""
    ENERGY_WRITE = "energy.write"
    """Edit the ledger, correct registers, judge suspects."""
    EXPORT = "export"
    TARIFFS_READ = "tariffs.read"
    TARIFFS_WRITE = "tariffs.write"
    PROFILES_READ = "profiles.read"
    PROFILES_WRITE = "profiles.write"
    CONFIGURATION_READ = "configuration.read"
    CONFIGURATION_WRITE = "configuration.write"
    """Draft and validate site configurations."""
    CONFIGURATION_PUBLISH = "configuration.publish"
    COMMANDS_READ = "commands.read"
    COMMANDS_SEND = "commands.send"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_WRITE = "webhooks.write"
    EVENTS_READ = "events.read"
    """Live values, lifecycle events, the state of commands as they happen."""


class Role(StrEnum):
    """What somebody is in an organisation."""

    ADMIN = "admin"
    MANAGER = "manager"
    TECHNICIAN = "technician"
    VIEWER = "viewer"
    INSTALLER = "installer"
    """Always limited to sites."""
    CUSTOM = "custom"
    """A set of permissions that an organisation put together."""


P = Permission
_VIEWER = frozenset(
    {P.SITES_READ, P.READINGS_READ, P.ENERGY_READ, P.EXPORT, P.TARIFFS_READ, P.PROFILES_READ, P.EVENTS_READ}
)
_INSTALLER = frozenset(
    {
        P.SITES_READ,
        P.METERS_WRITE,
        P.CONTROLLERS_WRITE,
        P.READINGS_READ,
        P.PROFILES_READ,
        P.CONFIGURATION_READ,
        P.CONFIGURATION_WRITE,
        P.COMMANDS_READ,
        P.COMMANDS_SEND,
        P.EVENTS_READ,
    }
)
_TECHNICIAN = _VIEWER | _INSTALLER | {P.SITES_WRITE, P.ENERGY_WRITE, P.PROFILES_WRITE, P.CONFIGURATION_PUBLISH}
_MANAGER = _TECHNICIAN | {
    P.ORGANISATIONS_READ,
    P.PEOPLE_READ,
    P.PEOPLE_WRITE,
    P.SERVICES_WRITE,
    P.AUDIT_READ,
    P.TARIFFS_WRITE,
    P.WEBHOOKS_READ,
    P.WEBHOOKS_WRITE,
}

PERMISSIONS_OF: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.ADMIN: frozenset(Permission),
    Role.MANAGER: _MANAGER,
    Role.TECHNICIAN: _TECHNICIAN,
    Role.VIEWER: _VIEWER,
    Role.INSTALLER: _INSTALLER,
}
