"""What a person can put right when the simulation does not start. `str(error)` is the sentence to show."""


class SimulatorError(Exception):
    """The simulation cannot run; the message says why and what to do."""

    exit_code = 1


class SiteDescriptionError(SimulatorError):
    """The description of the simulated site, or an option that changes it, is wrong."""

    exit_code = 78
