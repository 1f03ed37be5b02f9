"""Figures of an energy page as a person reads them: the amount, and beside it how far it may be trusted. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from cloud_hub.analysis.model import Figure, FigureQuality, Flow, Residual
from cloud_hub.analysis.results import Comparison, HoursShare, Peak, Profile
from cloud_hub.dashboard.energy_bars import describe_figure
from cloud_hub.dashboard.energy_meters import MeterLine
from cloud_hub.dashboard.energy_wording import (
    Scale,
    format_amount,
    format_change,
    format_clock,
    format_hours,
    format_money,
    format_number,
    format_per_mille,
)

_FLOWS = {
    Flow.EXPORT: "exported",
    Flow.GENERATION: "generated",
    Flow.CHARGE: "into batteries",
    Flow.DISCHARGE: "out of batteries",
    Flow.NET: "import less export",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """One figure at the top of the page."""

    title: str
    number: str
    """Empty when there is none, and the lines say why."""
    unit: str
    state: str
    """A word of `FigureQuality`: how it is marked."""
    completeness: str
    """In percent; empty where a figure stands on measured intervals only and says so itself."""
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeterRow:
    """One line of the table of meters."""

    point_id: int | None
    """None for what is no meter: the rest that no sub-meter counts."""
    label: str
    about: str
    depth: int
    amount: str
    share: str
    state: str
    words: str
    completeness: str
    notes: tuple[str, ...]


def describe_parts(figure: Figure, scale: Scale) -> tuple[str, ...]:
    """List the parts of an amount that were not simply measured."""
    parts = (
        ("estimated", figure.estimated_micro, figure.estimated_ms),
        ("edited", figure.edited_micro, figure.edited_ms),
        ("known in part only", figure.partial_micro, figure.partial_ms),
    )
    notes = [f"{format_amount(amount, scale)} {word}" for word, amount, span_ms in parts if span_ms]
    if figure.missing_ms:
        notes.append(f"{format_hours(figure.missing_ms)} missing")
    return tuple(notes)


def head_total(title: str, flow: Flow, totals: Mapping[Flow, Figure], scale: Scale) -> Headline:
    """Give the amount of the whole period, and what flows beside it."""
    figure = totals.get(flow, Figure())
    lines = list(describe_parts(figure, scale))
    if figure.quality is FigureQuality.MEASURED:
        lines.append("all of it measured")
    if figure.quality is FigureQuality.PARTIAL:
        lines.append("at least this much")
    lines += [
        f"{format_amount(other.amount_micro, scale)} {_FLOWS[beside]}, {format_per_mille(other.completeness)} complete"
        for beside, other in totals.items()
        if beside in _FLOWS and beside is not flow
    ]
    return _headline(title, figure, scale, lines)


def head_peak(profile: Profile, scale: Scale, zone: ZoneInfo) -> Headline:
    """Give the highest mean power of an interval and when it was."""
    peak, completeness = profile.peak, format_per_mille(profile.total.completeness)
    if peak is None:
        return Headline("Peak demand", "", "", "missing", completeness, ("No interval of this period is known.",))
    lines = [_when(peak, zone)]
    if not peak.is_measured:
        lines.append("not measured: the highest of what is estimated, edited or known in part")
    if profile.higher_unmeasured is not None:
        higher = profile.higher_unmeasured
        amount = format_number(higher.power_micro_per_h, scale)
        lines.append(f"an interval that was not measured is higher: {amount} {scale.power_unit}, {_when(higher, zone)}")
    if profile.load_factor is not None:
        lines.append(f"load factor {format_per_mille(int(profile.load_factor * 1000))}")
    state = "measured" if peak.is_measured else "estimated"
    number = format_number(peak.power_micro_per_h, scale)
    return Headline("Peak demand", number, scale.power_unit, state, completeness, tuple(lines))


def head_base(profile: Profile, scale: Scale) -> Headline:
    """Give the power that always flows."""
    base, completeness = profile.base_load, format_per_mille(profile.total.completeness)
    if base is None:
        return Headline("Base load", "", "", "missing", completeness, ("No interval of this period is measured.",))
    lines = [f"mean of the lowest tenth, {base.intervals} measured intervals"]
    if profile.mean_power_micro_per_h is not None:
        lines.append(f"mean {format_number(profile.mean_power_micro_per_h, scale)} {scale.power_unit}")
    number = format_number(base.power_micro_per_h, scale)
    return Headline("Base load", number, scale.power_unit, "measured", completeness, tuple(lines))


def head_hours(title: str, share: HoursShare, total: Figure, scale: Scale) -> Headline:
    """Give the energy inside, or outside, the operating hours."""
    figure = share.figure
    lines = [f"in {format_hours(share.duration_ms)} of the clock"]
    part = format_share(figure.amount_micro, total.amount_micro)
    if part:
        lines.insert(0, f"{part} of what is known")
    lines += [format_money(money.currency, money.amount) + " for energy" for money in share.cost]
    lines += describe_parts(figure, scale)
    return _headline(title, figure, scale, lines)


def head_comparison(title: str, beside: str, comparison: Comparison, scale: Scale) -> Headline:
    """Give the change against earlier periods, or say why there is none."""
    usable = [reference for reference in comparison.references if reference.is_comparable]
    cut = f"counted up to {comparison.cut_at} of the last day, as this period is not over" if comparison.cut_at else ""
    if comparison.change_per_mille is None or comparison.reference_micro is None:
        reasons = [comparison.period.reason and f"this period: {comparison.period.reason}"]
        reasons += [
            f"{reference.first} to {reference.last}: {reference.reason}"
            for reference in comparison.references[:1]
            if reference.reason
        ]
        lines = ["Not comparable.", *(reason for reason in reasons if reason)]
        return Headline(title, "", "", "missing", format_per_mille(comparison.period.figure.completeness), tuple(lines))
    own = comparison.period.figure
    least = min(reference.figure.completeness or 0 for reference in usable)
    lines = [f"{format_amount(comparison.reference_micro, scale)} {beside}, {format_per_mille(least)} complete"]
    if len(usable) < len(comparison.references):
        lines.append(
            f"{len(comparison.references) - len(usable)} of {len(comparison.references)} left out as incomplete"
        )
    lines += [cut] if cut else []
    number = format_change(comparison.change_per_mille)
    return Headline(title, number, "", own.quality.value, format_per_mille(own.completeness), tuple(lines))


def head_sentence(title: str, sentence: str) -> Headline:
    """Say in place of a figure what is missing for it."""
    return Headline(title, "", "", "not_expected", "", (sentence,))


def format_share(part: int | None, whole: int | None) -> str:
    """Write a part of a whole in percent; empty where either is not known or there is no whole."""
    if part is None or not whole or whole < 0 or part < 0:
        return ""
    return f"{Decimal(100 * part) / whole:.1f} %"


def make_row(line: MeterLine, whole_micro: int | None, scale: Scale) -> MeterRow:
    """Write a meter's line."""
    figure = line.figure
    return MeterRow(
        point_id=line.point_id,
        label=line.label,
        about=line.about,
        depth=line.depth,
        amount=format_amount(figure.amount_micro, scale),
        share=format_share(figure.amount_micro, whole_micro) if line.is_use else "",
        state=figure.quality.value,
        words=describe_figure(figure),
        completeness=format_per_mille(figure.completeness),
        notes=describe_parts(figure, scale),
    )


def make_rest(rest: Residual | None, whole_micro: int | None, scale: Scale) -> MeterRow | None:
    """Write what no sub-meter counts; None where there are no sub-meters."""
    if rest is None:
        return None
    known = rest.known_ms * 1000 // rest.expected_ms if rest.expected_ms else None
    notes = () if known == 1000 else ("only where all of these meters are known in full",)
    if rest.amount_micro is not None and rest.amount_micro < 0:
        notes = (*notes, "sub-meters count more than what is above them: look at their places in the tree")
    state = "missing" if rest.amount_micro is None else "measured" if known == 1000 else "partial"
    return MeterRow(
        point_id=None,
        label="Not sub-metered",
        about="the rest",
        depth=1,
        amount=format_amount(rest.amount_micro, scale),
        share=format_share(rest.amount_micro, whole_micro),
        state=state,
        words={"missing": "missing", "partial": "known in part"}.get(state, "computed"),
        completeness=format_per_mille(known),
        notes=notes,
    )


def _headline(title: str, figure: Figure, scale: Scale, lines: Sequence[str]) -> Headline:
    if figure.quality is FigureQuality.NOT_EXPECTED:
        return Headline(title, "", "", "not_expected", "", ("No reading was due in this period.",))
    if figure.amount_micro is None:
        return Headline(
            title, "", "", "missing", format_per_mille(figure.completeness), ("Nothing is known; it is not zero.",)
        )
    number = format_number(figure.amount_micro, scale)
    return Headline(
        title, number, scale.unit, figure.quality.value, format_per_mille(figure.completeness), tuple(lines)
    )


def _when(peak: Peak, zone: ZoneInfo) -> str:
    minutes = (peak.end - peak.start).total_seconds() // 60
    return f"{format_clock(peak.start, zone)}, {minutes:.0f} minutes"
