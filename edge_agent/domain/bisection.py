"""Which points of a refused request are to blame: halves are asked, and halves of those. Pure.

A device that refuses one address refuses the whole request (Modbus exception 2). A point is never split;
what lies between two points is asked only while both are asked together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from protocol.profile import ModbusSettings, Point
from protocol.site.read_plan import ReadRequest, plan_requests, request_for

Run = tuple[Point, ...]
"""Points of one table and unit id, ascending by address."""


@dataclass(slots=True)
class Bisection:
    """What is known of the points of one refused request, and what is to be asked next."""

    refused: ReadRequest
    pending: list[Run] = field(init=False)
    """To be asked, the last one first."""
    proven: list[Run] = field(default_factory=list)
    """Asked as they are, and answered."""
    bad: list[Point] = field(default_factory=list)
    """Refused when asked alone."""

    def __post_init__(self) -> None:
        run = tuple(planned.point for planned in self.refused.points)
        self.pending = []
        self._refuse(run)

    @property
    def next_request(self) -> ReadRequest | None:
        """Return what to ask next; None when all is known."""
        return self.request_of(self.pending[-1]) if self.pending else None

    def answered(self) -> None:
        """Note that the next request was answered."""
        self.proven.append(self.pending.pop())

    def was_refused(self) -> None:
        """Note that the next request was refused as well."""
        self._refuse(self.pending.pop())

    def reconsider(self, lost: Collection[str]) -> None:
        """Ask again for the bad points, and for the runs that hold a point of `lost`, refused since they were proven."""
        again = [run for run in self.proven if any(point.name in lost for point in run)]
        self.proven = [run for run in self.proven if run not in again]
        self.pending = [*((point,) for point in self.bad), *again]
        self.bad = []

    def proven_requests(self) -> tuple[ReadRequest, ...]:
        """Return requests that the device has answered as they are."""
        return tuple(self.request_of(run) for run in sorted(self.proven, key=lambda run: run[0].address))

    def fewest_requests(self, settings: ModbusSettings) -> tuple[ReadRequest, ...]:
        """Return the fewest requests for all points but the bad ones, in the hope that they are answered.

        They go around bad points. Where no point is bad, what lies between the points is, and they go
        around that.
        """
        around = tuple((point.address, point.address + point.words - 1) for point in self.bad)
        changes = {"forbidden_ranges": settings.forbidden_ranges + around} if self.bad else {"max_hole": 0}
        good = [point for run in self.proven for point in run]
        return plan_requests(good, settings.model_copy(update=changes), self.refused.unit_id)

    def _refuse(self, run: Run) -> None:
        if len(run) == 1:
            self.bad.append(run[0])
            return
        middle = len(run) // 2
        self.pending += [run[middle:], run[:middle]]

    def request_of(self, run: Sequence[Point]) -> ReadRequest:
        """Build the request that asks for these points and nothing else."""
        return request_for(self.refused.unit_id, self.refused.table, run)
