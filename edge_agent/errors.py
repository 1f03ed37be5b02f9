"""What can go wrong on a controller, grouped by who can act on it. The message says what, where and the remedy."""

from typing import ClassVar


class AgentError(Exception):
    """The root of all faults of the agent that a person may see."""

    exit_code: ClassVar[int] = 1
    """What the command ends with when nobody below it could act."""


class SettingsError(AgentError):
    """A person has to change a file or a setting; a restart alone cannot help."""

    exit_code: ClassVar[int] = 78


class AlreadyRunning(AgentError):
    """Another agent works on the same data directory."""


class MeterUnreachable(AgentError):
    """A meter or its gateway gave no answer in time: time may help, back off."""


class BusUnreachable(MeterUnreachable):
    """Nobody accepts a connection at the address of the bus: all its meters are silent for one reason."""


class MeterGarbled(AgentError):
    """Something answered, but not properly: a wrong check, function, length or frame. The meter may well be there."""


class MeterRefused(AgentError):
    """A meter answered with a Modbus exception."""

    def __init__(self, message: str, *, exception_code: int) -> None:
        super().__init__(message)
        self.exception_code = exception_code
        """1..255, as the meter sent it."""


class BrokerUnreachable(AgentError):
    """No connection to the broker: time may help, back off."""


class BrokerRefused(AgentError):
    """The broker will not have us: its credentials, certificates or access rules need a person."""


class StorageUnavailable(AgentError):
    """The buffer cannot take scans now; keep them in memory and try again."""


class BufferFull(StorageUnavailable):
    """The disk, or the room given to the buffer, is used up."""


class BufferCorrupt(AgentError):
    """The buffer's file is damaged beyond what salvage could put right."""
