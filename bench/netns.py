"""A network of two machines on one: a namespace behind a wire of its own, whose bytes are counted.

Needs root. Counted are IP packets: what the wire counts, less 14 bytes of Ethernet for each. Packets leave
as they would on a modem, one segment each: segmentation is not left to a network card that is not there.
"""

import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_ETHERNET = 14


class NotPermitted(Exception):
    """This machine does not let us make a network namespace."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Bytes and packets that passed, from the namespace (`up`) and into it."""

    up: int
    down: int
    packets_up: int
    packets_down: int

    def __sub__(self, other: "Passed") -> "Passed":
        return Passed(
            self.up - other.up,
            self.down - other.down,
            self.packets_up - other.packets_up,
            self.packets_down - other.packets_down,
        )

    @property
    def total(self) -> int:
        """Return the bytes both ways."""
        return self.up + self.down


class Namespace:
    """One namespace and the wire to it. Use as a context manager: whatever happens, it is taken away again."""

    def __init__(self) -> None:
        """Choose names; nothing is made yet."""
        tag = secrets.token_hex(3)
        self.name = f"meterhaul-{tag}"
        self._here, self._there = f"mh{tag}a", f"mh{tag}b"
        third = secrets.randbelow(200) + 20
        self.host = f"10.213.{third}.1"
        """The address of this side, for the broker."""
        self._address = f"10.213.{third}.2"

    def argv(self, *command: str | Path) -> list[str]:
        """Return the command that runs another one inside; it becomes that one, so its process id stays."""
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def passed(self) -> Passed:
        """Read the counters."""
        shown = json.loads(_ip("-n", self.name, "-s", "-j", "link", "show", "dev", self._there))
        up, down = shown[0]["stats64"]["tx"], shown[0]["stats64"]["rx"]
        return Passed(
            up["bytes"] - _ETHERNET * up["packets"],
            down["bytes"] - _ETHERNET * down["packets"],
            up["packets"],
            down["packets"],
        )

    def break_connections(self) -> None:
        """End every TCP connection over the wire, as a modem that loses its address does."""
        subprocess.run(self.argv("ss", "-K", "dst", self.host), check=True, capture_output=True)

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise NotPermitted("a network namespace needs root: run this benchmark as root")
        try:
            self._make()
        except (OSError, subprocess.CalledProcessError) as error:
            self._take_away()
            said = getattr(error, "stderr", None) or error
            raise NotPermitted(f"this machine does not let us make a network namespace ({said})") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_away()

    def _make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.name)
        for inside, device, address in (((), self._here, self.host), (("-n", self.name), self._there, self._address)):
            _ip(*inside, "link", "set", "dev", device, "gso_max_segs", "1")
            # Nothing but what the agent says: no IPv6 that looks for neighbours.
            _ip(*inside, "link", "set", "dev", device, "addrgenmode", "none")
            _ip(*inside, "address", "add", f"{address}/30", "dev", device)
            _ip(*inside, "link", "set", "dev", device, "up")
        _ip("-n", self.name, "link", "set", "dev", "lo", "up")
        self._know_each_other()

    def _know_each_other(self) -> None:
        """Write down who has which address: a modem does not ask for that."""
        here = _mac(_ip("-j", "link", "show", "dev", self._here))
        there = _mac(_ip("-n", self.name, "-j", "link", "show", "dev", self._there))
        _ip("neigh", "replace", self._address, "lladdr", there, "dev", self._here, "nud", "permanent")
        _ip("-n", self.name, "neigh", "replace", self.host, "lladdr", here, "dev", self._there, "nud", "permanent")

    def _take_away(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def _mac(shown: str) -> str:
    return str(json.loads(shown)[0]["address"])
