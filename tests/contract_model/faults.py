"""Every fault of the contract's table that concerns delivery, as something done to the world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from contract_model.agent import Box
from contract_model.broker import Weather
from contract_model.database import EMPTY
from contract_model.disk import Disk
from contract_model.messages import StreamKey
from contract_model.world import World

Fault = Callable[[World, Random], Callable[[World], None] | None]
"""What happens, and how it ends when it lasts."""

POISONS = ("malformed", "database_refused", "killed_process")


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault, the step at which it begins, and for how many steps it lasts."""

    step: int
    name: str
    lasts: int
    seed: int


def _box(world: World, rng: Random) -> Box:
    return rng.choice(world.running)


def _kill(box: Box, *, power_cut: bool) -> None:
    if box.agent:
        box.agent.die(power_cut=power_cut)


# The line and the broker


def bad_line(world: World, rng: Random) -> Callable[[World], None]:
    """Lose and repeat messages in both directions, hellos and acks among them."""
    world.broker.weather = Weather(lost=rng.choice([0.3, 0.6]), repeated=rng.choice([0.2, 0.5]))
    return lambda world: setattr(world.broker, "weather", world.usual_weather)


def session_cut(world: World, rng: Random) -> None:
    """Cut one controller's connection."""
    box = _box(world, rng)
    if box.agent:
        world.broker.disconnect(box.controller, box.agent)


def broker_crashes(world: World, _rng: Random) -> Callable[[World], None]:
    """Kill the broker with all its queues."""
    world.broker.crash()
    return lambda world: setattr(world.broker, "is_down", False)


def broker_wiped(world: World, _rng: Random) -> Callable[[World], None]:
    """Kill the broker and lose its disk."""
    world.broker.wipe()
    return lambda world: setattr(world.broker, "is_down", False)


def queue_overflows(world: World, rng: Random) -> None:
    """Let the broker drop most of what waits for the hub."""
    rng.shuffle(world.broker.up)
    del world.broker.up[: len(world.broker.up) * 2 // 3]


def acl_refuses(world: World, rng: Random) -> Callable[[World], None]:
    """Let the broker refuse one controller's publishing."""
    controller = _box(world, rng).controller
    world.broker.refuses.add(controller)
    return lambda world: world.broker.refuses.discard(controller)


# The hub


def hub_killed(world: World, rng: Random) -> None:
    """Kill a hub process wherever it is: with messages in hand, judged, or committed and not acknowledged."""
    world.kill_hub(rng.choice(world.hubs))


def hub_away(world: World, _rng: Random) -> Callable[[World], None]:
    """Stop all hub processes."""
    world.hubs_away = True
    return lambda world: setattr(world, "hubs_away", False)


def database_down(world: World, _rng: Random) -> Callable[[World], None]:
    """Make the database refuse every transaction, as when its disk is full."""
    world.database.down = True
    for hub in world.hubs:
        hub.abort()
    return lambda world: setattr(world.database, "down", False)


def restored(world: World, _rng: Random) -> None:
    """Restore the newest verified backup."""
    if world.backups.newest_verified:
        world.restore(world.backups.newest_verified)


def restored_from_any(world: World, rng: Random) -> None:
    """Restore any dump: older than what is safe, of before an earlier restore, or of an abandoned history."""
    dumps = [dump for dump in world.backups.dumps if dump.good]
    if dumps:
        world.restore(rng.choice(dumps))


def batch_poisoned(world: World, rng: Random) -> None:
    """Make the next scan one that does not decode, that the database refuses, or that kills who parses it."""
    world.poison_next = rng.choice(POISONS)


def content_forged(world: World, rng: Random) -> None:
    """Send other content for a range that is committed."""
    first = [batch for batch in world.database.digests.values() if not batch.forged]
    if first and not world.broker.is_down:
        batch = rng.choice(first)
        contents = tuple(-int(content) for content in batch.contents)
        world.broker.up.append(replace(batch, contents=contents, forged=True))


# The controller


def agent_killed(world: World, rng: Random) -> None:
    """Kill an agent; what it wrote stays in the page cache."""
    _kill(_box(world, rng), power_cut=False)


def power_cut(world: World, rng: Random) -> None:
    """Cut a controller's power."""
    _kill(_box(world, rng), power_cut=True)


def time_unknown(world: World, rng: Random) -> Callable[[World], None]:
    """Cut a controller's power, after which it does not know the time for a while."""
    box = _box(world, rng)
    _kill(box, power_cut=True)
    box.knows_time = False
    return lambda _world: setattr(box, "knows_time", True)


def reconfigured(world: World, rng: Random) -> None:
    """Restart an agent with other meters, and so with a manifest that the hub does not know."""
    box = _box(world, rng)
    _kill(box, power_cut=False)
    box.manifest = world.draw_manifest()


def reimaged(world: World, rng: Random) -> None:
    """Put an empty card into a controller; the old one is gone."""
    box = _box(world, rng)
    _kill(box, power_cut=True)
    box.disk = Disk()


def card_copied(world: World, rng: Random) -> None:
    """Keep a copy of a card."""
    box = _box(world, rng)
    box.copies.append(box.disk.copy())


def older_copy_put_back(world: World, rng: Random) -> None:
    """Put an older copy of the card into the controller; the newer one is gone."""
    box = _box(world, rng)
    if box.copies:
        _kill(box, power_cut=True)
        box.disk = rng.choice(box.copies).copy()


def card_cloned(world: World, rng: Random) -> None:
    """Start a second controller with a copy of the card, and so with the same identity."""
    if len(world.boxes) < 4:
        box = _box(world, rng)
        world.add_box(box.controller, box.disk.copy())


def switched_off(world: World, rng: Random) -> None:
    """Take one of several controllers out of service, its card in it."""
    if len(world.running) > 1:
        box = _box(world, rng)
        _kill(box, power_cut=True)
        box.shelved = True


def rows_damaged(world: World, rng: Random) -> None:
    """Make some rows of a card unreadable, and sometimes what was written down of the hub."""
    box = _box(world, rng)
    _kill(box, power_cut=True)
    forget_belief = rng.random() < 0.3
    for stream_id, stream in box.disk.streams.items():
        damaged = {number for number in stream.scan_numbers if rng.random() < 0.3}
        stream.damaged |= damaged
        world.note_unreadable(StreamKey(box.controller, stream_id), damaged)
        if forget_belief:
            stream.committed = stream.safe = EMPTY
    if forget_belief:
        box.disk.incarnation = 0


def disk_full(world: World, rng: Random) -> Callable[[World], None]:
    """Let a card take nothing for a while."""
    disk = _box(world, rng).disk
    disk.full = True
    return lambda _world: setattr(disk, "full", False)


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        bad_line,
        session_cut,
        broker_crashes,
        broker_wiped,
        queue_overflows,
        acl_refuses,
        hub_killed,
        hub_away,
        database_down,
        restored,
        restored_from_any,
        batch_poisoned,
        content_forged,
        agent_killed,
        power_cut,
        time_unknown,
        reconfigured,
        reimaged,
        card_copied,
        older_copy_put_back,
        card_cloned,
        switched_off,
        rows_damaged,
        disk_full,
    )
}


def plan(seed: int, steps: int, focus: Sequence[str] = ()) -> list[Planned]:
    """Draw the faults of a run, in the order in which they begin; two thirds of them from `focus`, if given."""
    rng = Random(f"{seed}:plan")
    names = sorted(FAULTS)
    faults = [
        Planned(
            step=rng.randrange(steps),
            name=rng.choice(focus if focus and rng.random() < 0.67 else names),
            lasts=rng.randint(10, steps // 4),
            seed=rng.getrandbits(32),
        )
        for _ in range(rng.randint(0, 16))
    ]
    return sorted(faults, key=lambda fault: fault.step)
