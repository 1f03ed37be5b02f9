"""An MQTT broker that promises nothing: it may lose, repeat, reorder, delay, refuse and forget."""

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random

from contract_model.messages import AckTo, Up

DOWN_DELAY_MAX = 60
"""Ticks after which an ack that is still under way is gone."""


@dataclass(slots=True)
class Weather:
    """How bad the network is, as probabilities."""

    lost: float = 0.0
    repeated: float = 0.0


@dataclass(slots=True)
class Broker:
    """Queues up to the hub (a shared subscription) and down to one session per controller."""

    rng: Random
    retains_acks: bool = False
    """Only ever with a rule taken away."""
    weather: Weather = field(default_factory=Weather)
    up: list[Up] = field(default_factory=list)
    down: defaultdict[str, list[tuple[int, AckTo]]] = field(default_factory=lambda: defaultdict(list))
    sessions: dict[str, object] = field(default_factory=dict)
    retained: dict[str, AckTo] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    """Controllers whose publishing the ACL denies."""
    is_down: bool = False

    def connect(self, controller: str, client: object, now: int) -> bool:
        """Open a session; another one of the same controller ends, and what waited for it is gone."""
        if self.is_down:
            return False
        self.sessions[controller] = client
        self.down[controller] = []
        if controller in self.retained:
            self.down[controller].append((now, self.retained[controller]))
        return True

    def is_connected(self, controller: str, client: object) -> bool:
        """Say whether the session is this client's."""
        return self.sessions.get(controller) is client

    def disconnect(self, controller: str, client: object) -> None:
        """Close a session."""
        if self.is_connected(controller, client):
            del self.sessions[controller]
            self.down[controller] = []

    def publish_up(self, controller: str, message: Up) -> bool:
        """Take a message from an agent; False when the ACL refuses it. True promises nothing."""
        if controller in self.refuses:
            return False
        if self.rng.random() >= self.weather.lost:
            self.up.append(message)
        return True

    def receive(self) -> Up | None:
        """Hand a message to a hub process: any of those waiting, and perhaps not for the last time."""
        if self.is_down or not self.up:
            return None
        index = self.rng.randrange(len(self.up))
        return self.up[index] if self.rng.random() < self.weather.repeated else self.up.pop(index)

    def publish_down(self, message: AckTo, now: int) -> None:
        """Take an ack from the hub; it goes to the session of the moment, if there is one."""
        if self.is_down:
            return
        if self.retains_acks:
            self.retained[message.controller] = message
        if message.controller in self.sessions and self.rng.random() >= self.weather.lost:
            self.down[message.controller].append((now, message))

    def deliver_down(self, controller: str, now: int) -> AckTo | None:
        """Hand an ack to the connected agent: any of those waiting, none that is older than can be."""
        queue = self.down[controller] = [item for item in self.down[controller] if now - item[0] <= DOWN_DELAY_MAX]
        if not queue:
            return None
        index = self.rng.randrange(len(queue))
        return queue[index][1] if self.rng.random() < self.weather.repeated else queue.pop(index)[1]

    def crash(self) -> None:
        """Go down and forget all that was not retained."""
        self.is_down = True
        self.up.clear()
        self.down.clear()
        self.sessions.clear()

    def wipe(self) -> None:
        """Lose the disk as well."""
        self.crash()
        self.retained.clear()
