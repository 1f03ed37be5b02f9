"""What the meters served and what truly became of each scan: the judge's knowledge, outside the system."""

from collections import defaultdict
from dataclasses import dataclass, field

from contract_model.messages import Place, StreamKey

from protocol.ranges import RangeSet


@dataclass(slots=True)
class Served:
    """One scan that a meter served."""

    identity: int
    serial: str
    """Which physical controller read it."""
    place: Place | None = None
    """Where the agent stored it."""
    in_hand_when_cut: bool = False
    """The power or the process went while it was not on the disk."""
    seen: bool = False
    """It was sent or announced: something else than its agent knows of it."""
    held_once: bool = False
    """The hub's database had it, as a row or raw."""
    thinned: bool = False
    unreadable: bool = False
    not_stored: bool = False
    forgotten_when_full: bool = False
    forgotten_as_safe: bool = False
    lost_by_old_restore: bool = False
    """The database was restored from a dump older than a verified one that had it."""


@dataclass(slots=True)
class Ledger:
    """All scans, in the order in which they were served."""

    scans: list[Served] = field(default_factory=list)
    at: dict[Place, list[Served]] = field(default_factory=lambda: defaultdict(list))
    """Who was stored where. More than one at a place is what a stream per start prevents."""

    def serve(self, serial: str) -> Served:
        """Serve one more scan to a controller; identities begin at 1."""
        scan = Served(identity=len(self.scans) + 1, serial=serial)
        self.scans.append(scan)
        return scan

    def __getitem__(self, identity: int) -> Served:
        return self.scans[identity - 1]

    def put(self, scan: Served, place: Place) -> None:
        """Note where a scan was stored."""
        scan.place = place
        self.at[place].append(scan)

    def note_held(self, key: StreamKey, numbers: RangeSet) -> None:
        """Note what the hub's database holds now."""
        for place in places(key, numbers):
            for scan in self.at.get(place, ()):
                scan.held_once = True


def places(key: StreamKey, numbers: RangeSet) -> list[Place]:
    """List the places that a set of numbers names in a stream."""
    return [Place(key, number) for first, last in numbers for number in range(first, last + 1)]
