"""Sparkplug B payloads: bytes, and what they say. Pure.

Source: Eclipse Sparkplug specification 3.0, chapter 6.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from google.protobuf.message import DecodeError

from cloud_hub.subscribers.sparkplug.sparkplug_pb2 import Metric, Payload, PropertyValue

REBIRTH = "Node Control/Rebirth"
SEQUENCE_NUMBERS = 256
_BD_SEQ = "bdSeq"
_UNIT = "engUnit"
_QUALITY = "Quality"


class DataType(IntEnum):
    """Numbers of the specification's data types, as far as we say any."""

    INT32 = 3
    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


class SparkplugQuality(IntEnum):
    """The three words that Sparkplug has for quality."""

    BAD = 0
    GOOD = 192
    STALE = 500


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric of a device as it is now."""

    name: str
    alias: int
    at_ms: int
    value: float | None
    unit: str
    quality: SparkplugQuality


@dataclass(slots=True)
class Aliases:
    """Short numbers for the metrics of one edge node: each is given once, and kept while the process lives."""

    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, device: str, metric: str) -> int:
        """Return a metric's number, from 1."""
        return self._numbers.setdefault((device, metric), len(self._numbers) + 1)


def node_birth(bd_seq: int, at_ms: int) -> bytes:
    """Write an edge node's birth: its sequence begins at 0, and it can be asked to be born again."""
    payload = Payload(timestamp=at_ms, seq=0)
    payload.metrics.append(_bd_seq(bd_seq, at_ms))
    payload.metrics.append(Metric(name=REBIRTH, timestamp=at_ms, datatype=DataType.BOOLEAN, boolean_value=False))
    return payload.SerializeToString()


def node_death(bd_seq: int, at_ms: int) -> bytes:
    """Write an edge node's death; it carries the number of the birth that it ends, and no sequence number."""
    return Payload(timestamp=at_ms, metrics=[_bd_seq(bd_seq, at_ms)]).SerializeToString()


def device_birth(metrics: Iterable[MetricValue], seq: int, at_ms: int) -> bytes:
    """Write a device's birth: names, units and values of all that it measures."""
    return _device(metrics, seq, at_ms, is_birth=True)


def device_data(metrics: Iterable[MetricValue], seq: int, at_ms: int) -> bytes:
    """Write what a device measures now; metrics go by their aliases."""
    return _device(metrics, seq, at_ms, is_birth=False)


def device_death(seq: int, at_ms: int) -> bytes:
    """Write a device's death."""
    return Payload(timestamp=at_ms, seq=seq).SerializeToString()


def asks_for_rebirth(payload: bytes) -> bool:
    """Say whether a command asks an edge node to be born again; one that cannot be read asks for nothing."""
    try:
        command = Payload.FromString(payload)
    except DecodeError:
        return False
    return any(metric.name == REBIRTH and metric.boolean_value for metric in command.metrics)


def _device(metrics: Iterable[MetricValue], seq: int, at_ms: int, *, is_birth: bool) -> bytes:
    payload = Payload(timestamp=at_ms, seq=seq)
    for one in metrics:
        metric = payload.metrics.add(alias=one.alias, timestamp=one.at_ms, datatype=DataType.DOUBLE)
        if one.value is None:
            metric.is_null = True
        else:
            metric.double_value = one.value
        _add_property(metric, _QUALITY, PropertyValue(type=DataType.INT32, int_value=one.quality))
        if is_birth:
            metric.name = one.name
            _add_property(metric, _UNIT, PropertyValue(type=DataType.STRING, string_value=one.unit))
    return payload.SerializeToString()


def _bd_seq(bd_seq: int, at_ms: int) -> Metric:
    return Metric(name=_BD_SEQ, timestamp=at_ms, datatype=DataType.INT64, long_value=bd_seq)


def _add_property(metric: Metric, name: str, value: PropertyValue) -> None:
    metric.properties.keys.append(name)
    metric.properties.values.append(value)
