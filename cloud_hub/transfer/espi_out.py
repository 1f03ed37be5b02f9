"""Intervals as Green Button (NAESB ESPI): one Atom feed, a block of intervals per local day, written as it is read.

Per register there is a UsagePoint with its LocalTimeParameters, ReadingType and MeterReading. Values are whole
millionths of the unit (`powerOfTenMultiplier` -6), so that sums stay exact. Missing intervals are left out.
Source: NAESB REQ.21 as public code uses it; codes of units and qualities in the tables below.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import UUID, uuid5
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.model import Direction, IntervalQuality, Method
from cloud_hub.errors import Invalid
from cloud_hub.transfer.clock_rule import clock_rule
from cloud_hub.transfer.ledger_out import Stretch
from cloud_hub.transfer.selection import Chosen

CONTENT_TYPE = "application/atom+xml; charset=utf-8"

_ATOM, _ESPI = "http://www.w3.org/2005/Atom", "http://naesb.org/espi"
_IDS = UUID("6d657465-7268-6175-6c00-000000000000")
"""Ids are made of it and of what they stand for, so that the same thing has the same id in every export."""

_UNITS: Mapping[str, tuple[int, int, int]] = {
    # unit: uom, commodity, kind of service
    "Wh": (72, 1, 0),
    "varh": (73, 1, 0),
    "VAh": (71, 1, 0),
    "m3": (42, 9, 2),
}
_HEAT_COMMODITY, _HEAT_SERVICE = 12, 4
_THERMAL = "thermal_energy"

_NO_ATTRIBUTES = AttributesImpl({})

_DELTA_DATA = 4
_FORWARD, _REVERSE = 1, 19
_MICRO_EXPONENT = -6

_ESTIMATED_BY = {Method.LINEAR: 9, Method.REFERENCE_DAYS: 8, Method.MANUAL: 7}
_QUALITIES = {IntervalQuality.MEASURED: 17, IntervalQuality.EDITED: 7, IntervalQuality.PARTIAL: 10}
_ESTIMATED = 8


def check_units(chosen: Iterable[Chosen], units: Mapping[int, str]) -> None:
    """Make sure that every register can be told in Green Button; `units` are what the ledger counts them in.

    Raises: Invalid naming the first that cannot.
    """
    for one in chosen:
        unit = units[one.point_id]
        if unit not in _UNITS:
            raise Invalid(
                f"point {one.point!r} of meter {one.meter!r} counts {unit!r}, which Green Button has no code for: "
                "choose other points, or csv or parquet"
            )


def write_espi(stretches: Iterable[Stretch], directions: Mapping[int, str], *, updated: datetime) -> Iterator[bytes]:
    """Write a feed, month after month of each register; `directions` says which registers count exports."""
    feed = _Feed(updated)
    feed.begin()
    last = None
    for stretch in stretches:
        if stretch.chosen.point_id != last:
            last = stretch.chosen.point_id
            feed.describe(stretch, directions.get(last, Direction.IMPORT))
        feed.add_days(stretch)
        yield feed.take()
    feed.end()
    yield feed.take()


class _Feed:
    """The feed under way."""

    def __init__(self, updated: datetime) -> None:
        self._text = StringIO()
        self._xml = XMLGenerator(self._text, encoding="utf-8", short_empty_elements=True)
        self._zones: set[str] = set()
        self._updated = updated.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def take(self) -> bytes:
        """Return what was written since the last time."""
        data = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return data

    def begin(self) -> None:
        """Open the feed."""
        self._xml.startDocument()
        self._xml.startElement("feed", AttributesImpl({"xmlns": _ATOM, "xmlns:espi": _ESPI}))
        self._say("id", _urn("feed"))
        self._say("title", "Green Button Usage Feed")
        self._say("updated", self._updated)

    def end(self) -> None:
        """Close the feed."""
        self._xml.endElement("feed")
        self._xml.endDocument()

    def describe(self, stretch: Stretch, direction: str) -> None:
        """Say what a register is, before its intervals."""
        chosen = stretch.chosen
        uom, commodity, service = _UNITS[stretch.unit]
        if chosen.quantity == _THERMAL:
            commodity, service = _HEAT_COMMODITY, _HEAT_SERVICE
        point, title = _path(chosen), f"{chosen.meter_label or chosen.meter}, {chosen.point}"
        related = (f"{point}/MeterReading", f"LocalTimeParameters/{chosen.zone.key}")
        with (
            self._entry(point, title, up="UsagePoint", related=related),
            self._block("espi:UsagePoint"),
            self._block("espi:ServiceCategory"),
        ):
            self._say("espi:kind", service)
        self._describe_clock(stretch)
        reading = f"{point}/MeterReading/1"
        links = (f"{reading}/IntervalBlock", f"ReadingType/{chosen.point_id}")
        with self._entry(reading, title, up=f"{point}/MeterReading", related=links):
            self._xml.startElement("espi:MeterReading", _NO_ATTRIBUTES)
            self._xml.endElement("espi:MeterReading")
        with self._entry(f"ReadingType/{chosen.point_id}", title, up="ReadingType"), self._block("espi:ReadingType"):
            self._say("espi:accumulationBehaviour", _DELTA_DATA)
            self._say("espi:commodity", commodity)
            if direction != Direction.NET:
                self._say("espi:flowDirection", _REVERSE if direction == Direction.EXPORT else _FORWARD)
            self._say("espi:intervalLength", chosen.interval_s)
            self._say("espi:powerOfTenMultiplier", _MICRO_EXPONENT)
            self._say("espi:uom", uom)

    def _describe_clock(self, stretch: Stretch) -> None:
        """Say it once, by the rule of the year in which the zone's first intervals are."""
        zone = stretch.chosen.zone
        if zone.key in self._zones:
            return
        self._zones.add(zone.key)
        rule = clock_rule(zone, [stretch.first.year, stretch.first.year + 1])
        path = f"LocalTimeParameters/{zone.key}"
        with (
            self._entry(path, f"Clock of {zone.key}", up="LocalTimeParameters"),
            self._block("espi:LocalTimeParameters"),
        ):
            self._say("espi:dstEndRule", f"{rule.end_rule:08X}")
            self._say("espi:dstOffset", rule.summer_offset_s)
            self._say("espi:dstStartRule", f"{rule.start_rule:08X}")
            self._say("espi:tzOffset", rule.standard_offset_s)

    def add_days(self, stretch: Stretch) -> None:
        """Write a block per local day."""
        columns = stretch.columns
        starts = np.flatnonzero(np.diff(columns.day, prepend=-1))
        for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(columns)], strict=True):
            self._add_day(stretch, slice(begin, end))

    def _add_day(self, stretch: Stretch, part: slice) -> None:
        columns = stretch.columns
        seconds, ends = columns.start_ms[part] // 1000, columns.end_ms[part] // 1000
        day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(columns.day[part.start]))
        up = f"{_path(stretch.chosen)}/MeterReading/1/IntervalBlock"
        known = columns.qualities[part] != IntervalQuality.MISSING
        codes = _quality_codes(columns.qualities[part], columns.methods[part])
        rows = zip(
            seconds[known].tolist(),
            (ends - seconds)[known].tolist(),
            columns.amounts_micro[part][known].tolist(),
            codes[known].tolist(),
            strict=True,
        )
        with self._entry(f"{up}/{day:%Y%m%d}", f"{day:%Y-%m-%d}", up=up), self._block("espi:IntervalBlock"):
            self._interval("espi:interval", int(seconds[0]), int(ends[-1] - seconds[0]))
            for start, duration, amount, code in rows:
                with self._block("espi:IntervalReading"):
                    with self._block("espi:ReadingQuality"):
                        self._say("espi:quality", code)
                    self._interval("espi:timePeriod", start, duration)
                    self._say("espi:value", amount)

    def _interval(self, name: str, start: int, duration: int) -> None:
        with self._block(name):
            self._say("espi:duration", duration)
            self._say("espi:start", start)

    @contextmanager
    def _entry(self, path: str, title: str, *, up: str, related: Iterable[str] = ()) -> Iterator[None]:
        with self._block("entry"):
            self._say("id", _urn(path))
            for relation, target in (("self", path), ("up", up), *(("related", one) for one in related)):
                self._xml.startElement("link", AttributesImpl({"rel": relation, "href": target}))
                self._xml.endElement("link")
            self._say("title", title)
            with self._block("content"):
                yield
            self._say("published", self._updated)
            self._say("updated", self._updated)

    @contextmanager
    def _block(self, name: str) -> Iterator[None]:
        self._xml.startElement(name, _NO_ATTRIBUTES)
        yield
        self._xml.endElement(name)

    def _say(self, name: str, value: object) -> None:
        self._xml.startElement(name, _NO_ATTRIBUTES)
        self._xml.characters(str(value))
        self._xml.endElement(name)


def _path(chosen: Chosen) -> str:
    return f"UsagePoint/{chosen.point_id}"


def _urn(path: str) -> str:
    return f"urn:uuid:{uuid5(_IDS, path)}"


def _quality_codes(qualities: NDArray[np.int16], methods: NDArray[np.int16]) -> NDArray[np.int16]:
    codes = np.full(len(qualities), _ESTIMATED, dtype=np.int16)
    for method, code in _ESTIMATED_BY.items():
        codes[methods == method] = code
    for quality, code in _QUALITIES.items():
        codes[qualities == quality] = code
    return codes
