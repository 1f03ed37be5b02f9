"""What can go wrong in the hub, grouped by who can act. Knows neither Flask nor the database.

A message is one sentence for a person: what, where, and the remedy.
"""

from collections.abc import Sequence

EX_FAILURE = 1
EX_CONFIG = 78
"""The service manager does not restart a process that ends so (sysexits.h)."""


class HubError(Exception):
    """Root of the hub's errors; a command that ends by one prints it and exits with `exit_code`."""

    exit_code = EX_FAILURE


class NotFound(HubError):
    """There is no such thing."""


class Conflict(HubError):
    """It contradicts what is there already."""


class Invalid(HubError):
    """The input breaks a rule.

    `errors` names each place at fault, as a JSON pointer or a parameter's name, and what is wrong there.
    """

    def __init__(self, message: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class Forbidden(HubError):
    """This user may not."""


class SettingsError(HubError):
    """A setting is missing or wrong: a person must act."""

    exit_code = EX_CONFIG


class DatabaseUnreachable(HubError):
    """The database does not answer: time may help."""


class DatabaseRefused(HubError):
    """The database answers and refuses the login or the database's name: a person must act."""

    exit_code = EX_CONFIG


class NotMigrated(HubError):
    """The database's tables are not those of this release."""

    exit_code = EX_CONFIG


class BrokerRefused(HubError):
    """The broker answers and refuses the login: a person must act."""

    exit_code = EX_CONFIG
