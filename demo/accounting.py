"""Compare what the simulated meters served with what the hub and the edge hold, value by value.

The meters' ledger is the witness: it is written outside the system, one frame per visit, and each
frame's serial travels as one of its values. Every frame ends in exactly one class.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from protocol.quality import Quality

SERIAL_POINT = "scan_serial"
_TIMEOUT_MATCH_MS = 15_000
"""An answer that came too late was served this long before the agent gave up, at the most."""
_IN_HAND_MS = 3_000
"""A frame served this long before the agent was killed may not have reached the disk yet."""
_ON_THE_WAY_MS = 250
"""A request that was on its way when the agent died is answered this long after, at the most."""


@dataclass(frozen=True, slots=True)
class Served:
    """One frame that a meter answered with."""

    meter: str
    serial: int
    served_at_ms: int
    values: Mapping[str, float]
    client: str = ""
    """The connection that asked."""


@dataclass(frozen=True, slots=True)
class Held:
    """One scan as the hub's database or the agent's buffer holds it; values are absent where they have none."""

    meter: str
    observed_at_ms: int
    values: Mapping[str, float]
    quality: Mapping[str, int]


@dataclass(slots=True)
class Account:
    """How many frames ended in which class; `silent`, `doubled` and `altered` must be 0."""

    served: int = 0
    committed: int = 0
    on_edge: int = 0
    timed_out: int = 0
    """Served, but the agent had stopped waiting and recorded a time-out instead."""
    lost_before_fsync: int = 0
    """In the agent's hand when it was killed."""
    read_by_others: int = 0
    """Asked for by somebody else than the agent, such as `meterhaul edge read`: a connection that asked once,
    and nothing of it is held."""
    silent: int = 0
    doubled: int = 0
    altered: int = 0
    findings: list[str] = field(default_factory=list)
    """The first few frames that are silent, doubled or altered, for people."""

    @property
    def stored(self) -> int:
        """Frames that the agent has stored on disk."""
        return self.committed + self.on_edge

    @property
    def is_clean(self) -> bool:
        """Whether every frame is accounted for, once, unaltered."""
        return self.silent == self.doubled == self.altered == 0


def account(
    served: Iterable[Served], hub: Sequence[Held], edge: Sequence[Held], *, agent_deaths_ms: Sequence[int] = ()
) -> Account:
    """Put every served frame into its class.

    `agent_deaths_ms` are the UTC times at which the agent was killed.
    """
    result = Account()
    in_hub, on_edge = _by_serial(hub), _by_serial(edge)
    timeouts = _timeouts([*hub, *edge])
    frames = list(served)
    asked = Counter((frame.meter, frame.client) for frame in frames)
    for frame in frames:
        result.served += 1
        key = (frame.meter, frame.serial)
        copies = in_hub.get(key, [])
        if len(copies) > 1:
            result.doubled += 1
            _find(result, "doubled", frame)
        held = copies or on_edge.get(key, [])
        if held and any(_differs(frame, scan) for scan in held):
            result.altered += 1
            _find(result, "altered", frame)
        if copies:
            result.committed += 1
        elif held:
            result.on_edge += 1
        elif _take_timeout(timeouts[frame.meter], frame.served_at_ms):
            result.timed_out += 1
        elif any(-_ON_THE_WAY_MS <= death - frame.served_at_ms <= _IN_HAND_MS for death in agent_deaths_ms):
            result.lost_before_fsync += 1
        elif frame.client and asked[frame.meter, frame.client] == 1:
            result.read_by_others += 1
        else:
            result.silent += 1
            _find(result, "silent", frame)
    return result


def _by_serial(scans: Iterable[Held]) -> dict[tuple[str, int], list[Held]]:
    found: dict[tuple[str, int], list[Held]] = defaultdict(list)
    for scan in scans:
        if SERIAL_POINT in scan.values:
            found[scan.meter, int(scan.values[SERIAL_POINT])].append(scan)
    return found


def _timeouts(scans: Iterable[Held]) -> defaultdict[str, Counter[int]]:
    """Collect the times of scans whose serial timed out; a scan that is in the hub and on the edge counts once."""
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for scan in scans:
        if scan.quality.get(SERIAL_POINT) == Quality.TIMEOUT:
            found[scan.meter][scan.observed_at_ms] = 1
    return found


def _take_timeout(timeouts: Counter[int], served_at_ms: int) -> bool:
    fitting = [at_ms for at_ms in timeouts if 0 <= at_ms - served_at_ms <= _TIMEOUT_MATCH_MS]
    if not fitting:
        return False
    del timeouts[min(fitting)]
    return True


def _differs(frame: Served, scan: Held) -> bool:
    return any(frame.values.get(name) != value for name, value in scan.values.items())


def _find(result: Account, what: str, frame: Served) -> None:
    if len(result.findings) < 10:
        result.findings.append(f"{what}: {frame.meter} frame {frame.serial} served at {frame.served_at_ms}")
