"""What a month of a site will cost on the line, by its parts, before anything is sent. Pure.

Sizes are those of IP packets, headers of IPv4, TCP (with timestamps), TLS 1.3 and MQTT 5 included. They
were counted on the wire; `bench/cellular.py` compares the sum with a month put together from measurements.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

DAYS = 30.4
"""Of a mean month."""
_DAY_S = 86_400.0

_SEGMENT = 52
_RECORD = 22
_TOPIC = 22
"""`meterhaul/v1//up/batch`, or another of that length, without the controller's name."""

_ENVELOPE = 52
_GROUP = 10
_FIRST_READING, _NEXT_READING = 2.4, 0.5
"""A point's first value in a batch, and each that follows as a difference, both compressed. Measured: 0.33
for simulated loads, 0.8 for a recorded house; meters whose floats flicker in the last digit need 2.4."""

_HELLO, _HELLO_STREAMS = 70, 3
_HELLO_STREAM = 34
_ACK, _ACK_STREAM = 6, 30
_HEALTH, _HEALTH_METER = 400, 45
_CONNECT = 420
"""CONNECT with the Last Will, CONNACK, SUBSCRIBE, SUBACK and the status, without headers of TCP and TLS."""
_HANDSHAKE, _CONNECT_SEGMENTS, _CONNECT_RECORDS = 4_300, 26, 6
"""TLS 1.3 with a P-256 certificate on each side; TCP segments and TLS records of a whole connect."""


@dataclass(frozen=True, slots=True)
class ScanFlow:
    """Scans of one layout: how wide, and how often."""

    points: int
    per_day: float


@dataclass(frozen=True, slots=True)
class TrafficEstimate:
    """Bytes per month, by what they are spent on."""

    readings: float
    """Values, times and qualities, compressed."""
    envelopes: float
    """What a batch says of itself, and its name."""
    acks: float
    """What the hub says it has committed."""
    hellos: float
    health: float
    keepalive: float
    """Signs of life while nothing else is said."""
    reconnects: float
    headers: float
    """TCP/IP and TLS around batches and acks, and the broker's own acknowledgements."""

    @property
    def total(self) -> int:
        """Return all of it."""
        parts: list[float] = [getattr(self, part.name) for part in fields(self)]
        return round(sum(parts))


def estimate_month_bytes(
    flows: Iterable[ScanFlow],
    *,
    send_interval_s: float,
    keepalive_s: float,
    hello_every_s: float,
    health_every_s: float,
    meters: int,
    controller_id: str = "hut-0001",
    reconnects_per_day: float = 1.0,
    is_encrypted: bool = True,
) -> TrafficEstimate:
    """Estimate what a month costs when all goes well, but for so many reconnects.

    `send_interval_s` 0 = each scan at once. Readings are taken for good ones; live mode, outages and
    configurations are left out.
    """
    flows = [flow for flow in flows if flow.per_day > 0]
    topic = _TOPIC + len(controller_id)
    packet = _SEGMENT + (_RECORD if is_encrypted else 0)
    batches = _batches_per_day(flows, send_interval_s)
    # What we say, the broker's PUBACK, and the TCP ACK for that; what the hub says only has the TCP ACK.
    said, heard = 2 * packet + 4 + _SEGMENT, packet + _SEGMENT
    hello = _HELLO + _HELLO_STREAMS * _HELLO_STREAM + topic + 7
    hello_ack = _ACK + _HELLO_STREAMS * _ACK_STREAM + topic + 7
    hellos, healths = _DAY_S / hello_every_s, _DAY_S / health_every_s
    connect = _CONNECT + 3 * topic + hello + hello_ack
    connect += _CONNECT_SEGMENTS * _SEGMENT + (_HANDSHAKE + _CONNECT_RECORDS * _RECORD if is_encrypted else 0)
    return TrafficEstimate(
        readings=DAYS * sum(_readings_per_day(flow, batches) for flow in flows),
        envelopes=DAYS * batches * (_ENVELOPE + 11),
        acks=DAYS * batches * (_ACK + _ACK_STREAM + topic + 7),
        hellos=DAYS * hellos * (hello + hello_ack + said + heard),
        health=DAYS * healths * (_HEALTH + _HEALTH_METER * meters + topic + 7 + said),
        keepalive=DAYS * _pings_per_day(batches, keepalive_s) * (2 * (packet + 2) + _SEGMENT),
        reconnects=DAYS * reconnects_per_day * connect,
        headers=DAYS * batches * (said + heard),
    )


def _batches_per_day(flows: list[ScanFlow], send_interval_s: float) -> float:
    """Meters are polled on one grid, so the fastest of them sets the pace of what is sent at once."""
    fastest = max((flow.per_day for flow in flows), default=0.0)
    return min(_DAY_S / send_interval_s, fastest) if send_interval_s else fastest


def _readings_per_day(flow: ScanFlow, batches: float) -> float:
    firsts = min(batches, flow.per_day)
    nexts = flow.per_day - firsts
    return firsts * (_GROUP + flow.points * _FIRST_READING) + nexts * flow.points * _NEXT_READING


def _pings_per_day(batches: float, keepalive_s: float) -> float:
    pause_s = _DAY_S / batches if batches else _DAY_S
    return (pause_s // keepalive_s) * (_DAY_S / pause_s)
