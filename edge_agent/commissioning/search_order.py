"""What to try first on a line of which nothing is known: what most devices of the library come with. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

from edge_agent.errors import AgentError
from protocol.line_config import Parity, SerialLine
from protocol.profile import Profile, Table
from protocol.sunspec.walk import CANDIDATE_UNIT_IDS

BAUDS = (9_600, 19_200, 38_400, 115_200, 2_400, 4_800, 57_600, 1_200)
HOSTS_MAX = 1_024
_UNIT_IDS_MIN, _UNIT_IDS_MAX = 1, 255
_UNIT_ID_OF_TCP_DEVICES = 255
_FURTHER_UNIT_IDS = range(1, 33)

QUESTIONS = ((Table.HOLDING_REGISTER, 0, 2), (Table.INPUT_REGISTER, 0, 2))
"""Whoever is there answers one of them, if only with an exception."""


def line_settings(
    device: str,
    library: Iterable[Profile],
    *,
    baud: int | None = None,
    parity: Parity | None = None,
    stop_bits: int | None = None,
) -> tuple[SerialLine, ...]:
    """List the settings of a serial line, the usual first; what is given is not varied.

    A second stop bit comes last: most devices that are set for two hear and are heard with one.
    """
    usual = Counter(
        (profile.modbus.default_baud, Parity(profile.modbus.default_parity or "N"))
        for profile in library
        if profile.modbus is not None and profile.modbus.default_baud is not None
    )
    every = [
        (rate, kind, stops)
        for stops in ((stop_bits,) if stop_bits else (1, 2))
        for rate in ((baud,) if baud else BAUDS)
        for kind in ((parity,) if parity else tuple(Parity))
        if stops == 1 or kind is Parity.NONE or stop_bits
    ]
    every.sort(key=lambda entry: (entry[2], -usual[(entry[0], entry[1])]))
    return tuple(SerialLine(device=device, baud=rate, parity=kind, stop_bits=stops) for rate, kind, stops in every)


def usual_unit_ids(library: Iterable[Profile], *, is_serial: bool) -> tuple[int, ...]:
    """List the unit ids that devices come with, the most frequent first."""
    counts = Counter(
        profile.modbus.default_unit_id
        for profile in library
        if profile.modbus is not None and profile.modbus.default_unit_id is not None
    )
    ids = [unit_id for unit_id, _ in counts.most_common()]
    if not is_serial:
        ids += [*CANDIDATE_UNIT_IDS, _UNIT_ID_OF_TCP_DEVICES]
    return tuple(dict.fromkeys(ids))


def further_unit_ids(usual: Sequence[int]) -> tuple[int, ...]:
    """List the unit ids that installers give, without those that were tried."""
    return tuple(unit_id for unit_id in _FURTHER_UNIT_IDS if unit_id not in usual)


def parse_unit_ids(text: str) -> tuple[int, ...]:
    """Parse what a person writes: `1-32,100`.

    Raises: AgentError.
    """
    ids: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            bounds = int(first), int(last if dash else first)
        except ValueError:
            raise AgentError(f"--units {text!r}: {part.strip()!r} is no unit id; write them as 1-32,100") from None
        if not _UNIT_IDS_MIN <= bounds[0] <= bounds[1] <= _UNIT_IDS_MAX:
            raise AgentError(f"--units {text!r}: unit ids are {_UNIT_IDS_MIN} to {_UNIT_IDS_MAX}, the lower one first")
        ids += range(bounds[0], bounds[1] + 1)
    return tuple(dict.fromkeys(ids))


def parse_hosts(text: str) -> tuple[str, ...]:
    """Parse a range of addresses, such as `192.168.10.0/24`.

    Raises: AgentError.
    """
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise AgentError(f"--range {text!r} is no range of addresses; write one as 192.168.10.0/24") from None
    if network.num_addresses > HOSTS_MAX:
        raise AgentError(
            f"--range {text} has {network.num_addresses:,} addresses, and {HOSTS_MAX:,} is the most; "
            f"name a part of it, such as {IPv4Address(network.network_address)}/24"
        )
    return tuple(str(host) for host in network.hosts())


def parse_host(text: str, port: int) -> tuple[str, int]:
    """Return host and port of `host` or `host:port`; `port` is what holds where none is written.

    Raises: AgentError.
    """
    host, _, own_port = text.rpartition(":")
    if not host or ":" in host:  # none written, or an IPv6 address
        return text, port
    if not own_port.isdecimal() or not 1 <= int(own_port) <= 0xFFFF:
        raise AgentError(f"--host {text!r}: {own_port!r} is no port; write host:502, or leave the port out")
    return host, int(own_port)


def ids_text(unit_ids: Iterable[int]) -> str:
    """Write unit ids as ranges: `1-4, 33`."""
    runs: list[list[int]] = []
    for unit_id in sorted(unit_ids):
        if runs and unit_id == runs[-1][1] + 1:
            runs[-1][1] = unit_id
        else:
            runs.append([unit_id, unit_id])
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)
