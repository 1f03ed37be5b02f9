"""The life of a buffer, recorded deed by deed, with what it had promised after each step."""

from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field

from crash_points.account import Account, account_of
from crash_points.disk_deeds import Deed, Kind
from crash_points.power_cut import Contents, PowerCut

from edge_agent.buffer.buffer import Buffer

_SHARED_MEMORY = "-shm"


@dataclass(frozen=True, slots=True)
class Promise:
    """What the buffer had said to hold after so many deeds."""

    deeds: int
    account: Account
    is_atomic: bool
    """Whether the step that led here happens whole or not at all."""


@dataclass(slots=True)
class Recording:
    """An observer that refuses nothing."""

    initial: Contents = field(default_factory=dict)
    """What was on disk, for certain, when the recording began."""
    deeds: list[Deed] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=lambda: [Promise(0, Account({}, 0), is_atomic=True)])

    def refuses(self, _deed: Deed) -> None:
        """Let everything be done."""

    def done(self, deed: Deed) -> None:
        """Record it."""
        if deed.kind not in (Kind.OPEN, Kind.MAP_SHARED) and not deed.path.name.endswith(_SHARED_MEMORY):
            self.deeds.append(deed)

    async def step(self, buffer: Buffer, doing: Awaitable[object], *, is_atomic: bool = True) -> None:
        """Do one step to its end and take down what the buffer holds then."""
        await doing
        deeds = len(self.deeds)
        self.promises.append(Promise(deeds, await account_of(buffer), is_atomic))

    def cuts(self) -> Iterator[tuple[int, PowerCut, Promise, Promise]]:
        """Yield each point at which the power may go: with the promises kept before it, and the one in hand."""
        cut = PowerCut(self.initial)
        before = 0
        for done in range(len(self.deeds) + 1):
            if done:
                cut.do(self.deeds[done - 1])
            while before + 1 < len(self.promises) and self.promises[before + 1].deeds <= done:
                before += 1
            yield done, cut, self.promises[before], self.promises[min(before + 1, len(self.promises) - 1)]
