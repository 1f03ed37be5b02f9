"""The columns of a group's scans, as the manifest tells them to the hub. Pure."""

from collections.abc import Iterator, Sequence

from protocol.errors import InvalidSite
from protocol.identifiers import IDENTIFIER_LENGTH_MAX
from protocol.manifest import Layout, ManifestPoint, PointKind
from protocol.profile import Point
from protocol.report_policy import Policy
from protocol.site.grouping import GroupKey
from protocol.site_config import MeterConfig

_SAMPLES = "samples"
_POINTS_MAX = 1_000
_LAYOUTS_MAX = 20_000


class LayoutBook:
    """Takes the layouts of a site one after another and gives each its number."""

    def __init__(self) -> None:
        self.layouts: list[Layout] = []

    def add(self, layout: Layout, place: str) -> int:
        """Take a layout and return its index.

        Raises: InvalidSite when there are more than a manifest holds.
        """
        if len(self.layouts) >= _LAYOUTS_MAX:
            raise InvalidSite(f"{place}: the site has more than {_LAYOUTS_MAX} layouts; spread it over two agents")
        self.layouts.append(layout)
        return len(self.layouts) - 1


def report_layout(
    meter: MeterConfig, key: GroupKey, points: Sequence[Point], place: str, *, aggregates_before: int
) -> Layout:
    """Describe what a group reports; the `aggregates_before` of its meter make the name of its count differ.

    Raises: InvalidSite.
    """
    columns = [_column(point) for point in points]
    if key.report.policy is Policy.AGGREGATE:
        columns = list(_aggregate_columns(key, points))
        name = f"{_SAMPLES}_{aggregates_before + 1}" if aggregates_before else _SAMPLES
        columns.append(ManifestPoint(name=name, quantity="count", unit="", kind=PointKind.GAUGE))
    _check(columns, place)
    return Layout(
        meter=meter.id,
        label=meter.label,
        profile=meter.profile,
        period_s=_longest_silence_s(key),
        policy=key.report.policy,
        points=tuple(columns),
    )


def live_layout(meter: MeterConfig, key: GroupKey, points: Sequence[Point]) -> Layout:
    """Describe the raw samples of a group that are reported while somebody looks."""
    return Layout(
        meter=meter.id,
        label=meter.label,
        profile=meter.profile,
        period_s=key.period_ms / 1000,
        on_demand=True,
        points=tuple(_column(point) for point in points),
    )


def _longest_silence_s(key: GroupKey) -> float:
    period_s = key.period_ms / 1000
    match key.report.policy:
        case Policy.EVERY:
            return period_s
        case Policy.ON_CHANGE:
            return max(period_s, key.report.heartbeat_s)
        case Policy.AGGREGATE:
            return key.report.every_s


def _column(point: Point) -> ManifestPoint:
    return ManifestPoint(name=point.name, quantity=point.quantity, unit=point.unit, kind=point.kind)


def _aggregate_columns(key: GroupKey, points: Sequence[Point]) -> Iterator[ManifestPoint]:
    for point in points:
        column = _column(point)
        if point.kind is not PointKind.GAUGE:
            yield column
            continue
        for statistic in key.report.statistics:
            # Its length is checked with the others', in a sentence for people.
            yield column.model_copy(update={"name": f"{point.name}_{statistic.value}", "statistic": statistic})


def _check(columns: Sequence[ManifestPoint], place: str) -> None:
    names = [column.name for column in columns]
    too_long = next((name for name in names if len(name) > IDENTIFIER_LENGTH_MAX), None)
    if too_long is not None:
        raise InvalidSite(
            f"{place}: the column {too_long!r} would have a name of more than {IDENTIFIER_LENGTH_MAX} characters; "
            "report that point with another policy"
        )
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InvalidSite(f"{place}: the column {repeated!r} would stand twice; put one of the two into another group")
    if len(names) > _POINTS_MAX:
        raise InvalidSite(
            f"{place}: a scan would have {len(names)} values, and {_POINTS_MAX} is the most; "
            "choose fewer points or statistics, or put some into another group"
        )
