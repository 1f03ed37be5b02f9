"""Why a batch is kept in quarantine: a closed list, so that alerts and screens can count on it."""

from enum import StrEnum


class QuarantineReason(StrEnum):
    """One word per cause."""

    MALFORMED = "malformed"
    UNSUPPORTED_VERSION = "unsupported_version"
    LIMIT_EXCEEDED = "limit_exceeded"
    UNKNOWN_MANIFEST = "unknown_manifest"
    UNKNOWN_CONTROLLER = "unknown_controller"
    CONFLICT = "conflict"
    DATABASE_REFUSED = "database_refused"
    KILLED_PROCESS = "killed_process"


WAITING = (QuarantineReason.UNKNOWN_MANIFEST, QuarantineReason.UNKNOWN_CONTROLLER)
"""What ends by itself, once somebody registers the controller or its manifest comes."""
