"""Bars of a series, as places in percent of a picture: what is known stands, what is missing is shown as missing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cloud_hub.analysis.model import Figure, FigureQuality, Step
from cloud_hub.analysis.results import Bucket
from cloud_hub.dashboard.energy_wording import Scale, format_amount, format_day, format_number, format_per_mille

_TICKS = 4
_BAR_SHARE = Fraction(4, 5)
_CAP_MIN = Fraction(7)
"""Percent of the height: marks that a bar is not the whole, however little is missing."""
_HEADROOM = Fraction(108, 100)


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle, in percent of the picture."""

    css: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One day, or month, of the series."""

    name: str
    axis_label: str
    is_minor: bool
    """True for a label that a narrow screen leaves out."""
    middle: str
    """Percent."""
    blocks: tuple[Block, ...]
    amount: str
    state: str
    """A word of `FigureQuality`."""
    words: str
    """What is known of it, such as `estimated in part`."""
    completeness: str
    tells: str
    """All of it in one line, for a pointer that rests on it."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the picture."""

    y: str
    label: str


@dataclass(frozen=True, slots=True)
class Bars:
    """The whole picture."""

    unit: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def draw_bars(buckets: Sequence[Bucket], figures: Sequence[Figure], step: Step, scale: Scale) -> Bars:
    """Draw one bar for each bucket; amounts below zero hang from the zero line."""
    known = [figure.amount_micro or 0 for figure in figures]
    ladder = list_ticks(min([0, *known]), max([0, *known]))
    low, high = min(ladder[0], 0), max(ladder[-1], *known, 1) if known else 1
    axis = _Axis(low, Fraction(high) * _HEADROOM)
    slot = Fraction(100, max(len(buckets), 1))
    view = _View(step, scale, axis)
    bars = [
        _bar(bucket, figure, n * slot + slot * (1 - _BAR_SHARE) / 2, slot * _BAR_SHARE, view)
        for n, (bucket, figure) in enumerate(zip(buckets, figures, strict=True))
    ]
    ticks = [Tick(_percent(axis.y(tick)), format_tick(tick, ladder, scale)) for tick in ladder]
    return Bars(scale.unit, tuple(bars), tuple(ticks))


def list_ticks(low: int, high: int) -> list[int]:
    """Return round amounts from at or below `low` to at most `high`; zero is one of them."""
    size = max(high - low, 1)
    step = 10 ** max(0, len(str(size // _TICKS)) - 1)
    while size > step * _TICKS:
        step = step * 2 if str(step)[0] in "15" else step * 5 // 2
    return list(range(low // step * step, high + 1, step))


def format_tick(tick: int, ladder: Sequence[int], scale: Scale) -> str:
    """Write an amount beside its line with as many decimals as the ladder's steps need."""
    step = ladder[1] - ladder[0] if len(ladder) > 1 else scale.micro
    decimals = 0
    while decimals < 6 and step * 10**decimals % scale.micro:
        decimals += 1
    return format_number(tick, scale, decimals)


def describe_figure(figure: Figure) -> str:
    """Say how an amount is known, in a few words."""
    match figure.quality:
        case FigureQuality.PARTIAL if not figure.missing_ms:
            return "known in part"
        case FigureQuality.PARTIAL:
            return "missing in part"
        case FigureQuality.NOT_EXPECTED:
            return "not due"
        case FigureQuality.ESTIMATED if figure.estimated_ms < figure.expected_ms:
            return "estimated in part"
        case FigureQuality.EDITED if figure.edited_ms < figure.expected_ms:
            return "edited in part"
        case quality:
            return quality.value


@dataclass(frozen=True, slots=True)
class _Axis:
    low: int
    high: Fraction

    def y(self, amount: int) -> Fraction:
        return 100 * (self.high - amount) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class _View:
    step: Step
    scale: Scale
    axis: _Axis


def _bar(bucket: Bucket, figure: Figure, left: Fraction, width: Fraction, view: _View) -> Bar:
    day = bucket.first_day
    is_day = view.step is Step.DAY
    name = format_day(day) if is_day else f"{day:%B %Y}"
    amount = format_amount(figure.amount_micro, view.scale)
    words, completeness = describe_figure(figure), format_per_mille(figure.completeness)
    known = "" if figure.amount_micro is None else f"{amount}, "
    complete = "" if figure.completeness is None else f", {completeness} complete"
    return Bar(
        name=name,
        axis_label=str(day.day) if is_day else f"{day:%b}",
        is_minor=day.day not in {1, 8, 15, 22, 29} if is_day else day.month % 3 != 1,
        middle=_percent(left + width / 2),
        blocks=tuple(_blocks(figure, left, width, view.axis)),
        amount=amount,
        state=figure.quality.value,
        words=words,
        completeness=completeness,
        tells=f"{name}: {known}{words}{complete}",
    )


def _blocks(figure: Figure, left: Fraction, width: Fraction, axis: _Axis) -> list[Block]:
    x, wide = _percent(left), _percent(width)
    if figure.quality is FigureQuality.NOT_EXPECTED:
        return []
    if figure.amount_micro is None:
        return [Block("missing", x, "0%", wide, "100%")]
    parts = (
        ("measured", figure.measured_micro),
        ("edited", figure.edited_micro),
        ("estimated", figure.estimated_micro),
        ("partial", figure.partial_micro),
    )
    blocks, reached = [], 0
    for css, amount in parts:
        if amount:
            top, bottom = sorted((axis.y(reached), axis.y(reached + amount)))
            blocks.append(Block(css, x, _percent(top), wide, _percent(bottom - top)))
            reached += amount
    if figure.missing_ms or figure.partial_ms:
        top = axis.y(max(reached, 0))
        # What lies above is not known: of the room there, as much is marked as of the time is missing.
        lacking = Fraction(figure.missing_ms + figure.partial_ms, figure.expected_ms)
        cap = min(max(_CAP_MIN, top * lacking), top)
        blocks.append(Block("missing", x, _percent(top - cap), wide, _percent(cap)))
    return blocks


def _percent(share: Fraction) -> str:
    return f"{float(share):.2f}%"
