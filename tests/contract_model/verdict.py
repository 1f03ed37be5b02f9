"""What became of every scan that a meter served."""

from collections import Counter, defaultdict
from enum import StrEnum, auto

from contract_model.agent import Box, has_scan
from contract_model.ledger import Served
from contract_model.messages import Place
from contract_model.world import World

from protocol.scans import GapReason


class Fate(StrEnum):
    """The end of a scan. All but the last three are allowed."""

    STORED = auto()
    ON_EDGE = auto()
    """On the card of a controller that was switched off."""
    GAP = auto()
    QUARANTINED = auto()
    """Raw at the hub, for a manifest that no controller has any more."""
    LOST_IN_HAND = auto()
    DESTROYED = auto()
    """Its card was destroyed before the hub, as it stands now, had heard of it."""
    AWAITED = auto()
    """Its card was destroyed, and no controller of that name has spoken since: the hub still waits for it."""
    SILENT = auto()
    DOUBLED = auto()
    FALSE_GAP = auto()


BAD = (Fate.SILENT, Fate.DOUBLED, Fate.FALSE_GAP)


def classify(world: World) -> dict[Fate, int]:
    """Count the fates of all scans, and add what is not allowed to the world's violations."""
    stored = Counter(abs(identity) for rows in world.database.scans.values() for identity in rows)
    raw: defaultdict[int, set[bytes]] = defaultdict(set)
    for item in world.database.quarantine.values():
        if item.reason != "conflict":
            for identity in item.batch.scans:
                raw[identity].add(item.batch.manifest)
    fates: Counter[Fate] = Counter()
    for scan in world.ledger.scans:
        fate = _fate(world, scan, stored[scan.identity], raw.get(scan.identity, set()))
        fates[fate] += 1
        if fate in BAD:
            world.violations.append(f"{_describe(world, scan)}: {fate}")
    _judge_tables(world)
    return dict(fates)


def _describe(world: World, scan: Served) -> str:
    """Say where a scan was stored and what stands there."""
    if scan.place is None:
        return f"scan {scan.identity} of {scan.serial}, never stored"
    place = f"{scan.place.sequence} of stream {scan.place.key.stream_id.hex()[:6]}"
    stands = [
        *world.database.scans.get(scan.place, ()),
        *(r.name for r in world.database.gap_records.get(scan.place, ())),
    ]
    return f"scan {scan.identity} of {scan.serial}, number {place}, where the hub has {stands}"


def _fate(world: World, scan: Served, copies: int, manifests: set[bytes]) -> Fate:
    reasons = world.database.gap_records.get(scan.place, ()) if scan.place else ()
    if copies > 1 or len(reasons) > 1:
        return Fate.DOUBLED
    if copies:
        return Fate.FALSE_GAP if reasons else Fate.STORED
    if reasons:
        return Fate.GAP if _fits(world, scan, reasons[0]) else Fate.FALSE_GAP
    if manifests:
        return Fate.SILENT if _has_manifest(world, manifests) else Fate.QUARANTINED
    return _fate_off_the_hub(world, scan)


def _fate_off_the_hub(world: World, scan: Served) -> Fate:
    """Say where a scan is that the hub does not have. A running agent should have delivered it by now."""
    place = scan.place
    if place is None or scan.in_hand_when_cut:
        return Fate.LOST_IN_HAND if scan.in_hand_when_cut and not scan.seen else Fate.SILENT
    holders = [box for box in world.boxes if box.controller == place.key.controller and _accounts_for(box, place)]
    if any(not box.shelved for box in holders):
        return Fate.SILENT
    if holders:
        return Fate.ON_EDGE
    if not _is_known(world, place):
        return Fate.DESTROYED
    speaks = any(box.controller == place.key.controller for box in world.running)
    return Fate.SILENT if speaks else Fate.AWAITED


def _is_known(world: World, place: Place) -> bool:
    """Say whether the hub ever heard of a number: by a hello, or because it stored a higher one.

    The envelope of a batch in quarantine proves nothing.
    """
    row = world.database.row(place.key)
    return place.sequence < row.announced_next or any(place.sequence < stored.last for stored in row.settled)


def _holds(box: Box, scan: Served, place: Place) -> bool:
    return box.controller == place.key.controller and has_scan(box.disk, place, scan.identity)


def _accounts_for(box: Box, place: Place) -> bool:
    stream = box.disk.streams.get(place.key.stream_id)
    return stream is not None and place.sequence < stream.next


def _has_manifest(world: World, manifests: set[bytes]) -> bool:
    return any(stream.manifest in manifests for box in world.running for stream in box.disk.streams.values())


def _fits(world: World, scan: Served, reason: GapReason) -> bool:
    """Say whether a gap record tells the truth about a scan."""
    match reason:
        case GapReason.THINNED:
            return scan.thinned
        case GapReason.UNREADABLE:
            return scan.unreadable
        case GapReason.NOT_STORED:
            return scan.not_stored
        case GapReason.FORGOTTEN:
            excused = scan.forgotten_when_full or (scan.forgotten_as_safe and scan.lost_by_old_restore)
            return excused and scan.held_once
        case GapReason.NEVER_ARRIVED:
            place = scan.place
            return place is not None and not any(_holds(box, scan, place) for box in world.running)


def _judge_tables(world: World) -> None:
    """Check what no single scan shows: content that nobody served, or that stands at the wrong number."""
    database = world.database
    for place, identities in database.scans.items():
        for identity in identities:
            if identity < 0 or place != world.ledger[identity].place:
                world.violations.append(f"{place} was altered: it holds scan {identity}")
    kept = {item.batch for item in database.quarantine.values() if item.reason == "conflict"}
    for batch in database.forged_judged - kept:
        world.violations.append(f"other content for {batch.range} of {batch.key} was dropped without a word")
    served = {scan.place for scan in world.ledger.scans}
    for place in database.gap_records:
        if place not in served:
            world.violations.append(f"there is a gap record at {place}, where no scan was ever stored")
