"""From figures to the API's shapes."""

from decimal import Decimal
from typing import Any

from cloud_hub.analysis.comparison import Reference
from cloud_hub.analysis.figure_shapes import DAY, Shown, clock_text, money_out
from cloud_hub.analysis.model import Flow, Scope
from cloud_hub.analysis.results import (
    Comparison,
    Cost,
    Emissions,
    Emitted,
    HeatMap,
    Profile,
    Series,
    SiteCost,
)
from cloud_hub.analysis.schemas import (
    BaseLoadOut,
    ComparisonOut,
    CostOut,
    EmissionsOut,
    EmittedOut,
    EnergyOut,
    HeatColumnOut,
    HeatMapOut,
    LineOut,
    MeasureOut,
    ProfileOut,
    ScopeOut,
    SiteCostOut,
)
from cloud_hub.analysis.units import plain, shown_power_unit, shown_unit
from cloud_hub.calendar.days import Grid, instant_of_ms
from cloud_hub.energy.model import COMPLETE
from cloud_hub.tariffs.bill import Line
from cloud_hub.tariffs.emission_series import Basis, FactorKind


def scope_out(scope: Scope) -> ScopeOut:
    """Say what an answer is about."""
    return ScopeOut(
        kind=scope.kind,
        key=scope.key,
        name=scope.name,
        quantity=scope.measure.quantity,
        unit=shown_unit(scope.measure.unit),
        power_unit=shown_power_unit(scope.measure.unit),
        measures=[MeasureOut(quantity=each.quantity, unit=shown_unit(each.unit)) for each in scope.measures],
        sites=[part.slug for part in scope.parts],
    )


def energy_out(series: Series) -> EnergyOut:
    """Shape a series."""
    shown = Shown(series.scope)
    return EnergyOut(
        scope=scope_out(series.scope),
        start=series.first,
        end=series.last + DAY,
        step=series.step,
        day=[bucket.first_day for bucket in series.buckets],
        bucket_start=[bucket.start for bucket in series.buckets],
        bucket_end=[bucket.end for bucket in series.buckets],
        flows={flow: shown.columns(figures) for flow, figures in series.flows.items()},
        totals={flow: shown.figure(figure) for flow, figure in series.totals.items()},
        residuals=[shown.maybe(rest.amount_micro) for rest in series.residuals],
        residual=shown.residual(series.residual),
    )


def profile_out(profile: Profile, flow: Flow) -> ProfileOut:
    """Shape a usage profile."""
    shown = Shown(profile.scope)
    base = profile.base_load
    return ProfileOut(
        scope=scope_out(profile.scope),
        start=profile.first,
        end=profile.last + DAY,
        flow=flow,
        total=shown.figure(profile.total),
        inside=shown.share(profile.inside),
        outside=shown.share(profile.outside),
        peak=shown.peak(profile.peak),
        higher_unmeasured=shown.peak(profile.higher_unmeasured),
        base_load=None
        if base is None
        else BaseLoadOut(power=shown.exact(base.power_micro_per_h), intervals=base.intervals),
        mean_power=shown.maybe(profile.mean_power_micro_per_h),
        load_factor=profile.load_factor,
        shapes=[shown.shape(shape) for shape in profile.shapes],
    )


def heat_map_out(heat: HeatMap, flow: Flow, ranged: dict[str, Any]) -> HeatMapOut:
    """Shape a heat map; `ranged` holds its first day and the one after its last."""
    shown = Shown(heat.scope)
    return HeatMapOut(
        scope=scope_out(heat.scope),
        flow=flow,
        day=list(heat.days),
        columns=[HeatColumnOut(clock=clock_text(each.slot), is_repeated=each.is_repeated) for each in heat.columns],
        power=[[shown.maybe(power) for power in row] for row in heat.power_micro_per_h],
        quality=[list(row) for row in heat.qualities],
        **ranged,
    )


def comparison_out(comparison: Comparison, reference: Reference) -> ComparisonOut:
    """Shape a comparison."""
    shown = Shown(comparison.scope)
    per_mille = comparison.change_per_mille
    return ComparisonOut(
        scope=scope_out(comparison.scope),
        flow=comparison.flow,
        reference=reference,
        period=shown.compared(comparison.period),
        references=[shown.compared(each) for each in comparison.references],
        reference_amount=shown.maybe(comparison.reference_micro),
        change=shown.maybe(comparison.change_micro),
        change_percent=None if per_mille is None else Decimal(per_mille).scaleb(-1),
        cut_at=comparison.cut_at,
    )


def cost_out(cost: Cost, *, is_traced: bool) -> CostOut:
    """Shape a cost; traced, every line names its intervals."""
    shown = Shown(cost.scope)
    return CostOut(
        scope=scope_out(cost.scope),
        start=cost.first,
        end=cost.last + DAY,
        imported=shown.figure(cost.imported),
        exported=shown.figure(cost.exported),
        has_all_components=cost.has_all_components,
        notes=list(cost.notes),
        totals=money_out(cost.totals),
        sites=[_site_cost_out(site, is_traced=is_traced) for site in cost.sites],
    )


def emissions_out(emissions: Emissions) -> EmissionsOut:
    """Shape emissions."""
    shown = Shown(emissions.scope)
    return EmissionsOut(
        scope=scope_out(emissions.scope),
        start=emissions.first,
        end=emissions.last + DAY,
        imported=shown.figure(emissions.imported),
        exported=shown.figure(emissions.exported),
        by_series=[_emitted_out(emitted) for emitted in emissions.by_series],
    )


def _emitted_out(emitted: Emitted) -> EmittedOut:
    series = emitted.series
    return EmittedOut(
        series_id=series.id,
        slug=series.slug,
        name=series.name,
        region=series.region,
        publisher=series.publisher,
        year=series.year,
        basis=Basis(series.basis),
        kind=FactorKind(series.kind),
        life_cycle=series.life_cycle,
        with_losses=series.with_losses,
        emitted_g=plain(emitted.emitted_g),
        avoided_g=plain(emitted.avoided_g),
        without_factor_s=emitted.without_factor_ms // 1000,
    )


def _site_cost_out(site: SiteCost, *, is_traced: bool) -> SiteCostOut:
    bill = site.bill
    return SiteCostOut(
        site=site.part.slug,
        currency=bill.currency,
        net=bill.net,
        tax=bill.tax,
        total=bill.total,
        completeness=bill.completeness / COMPLETE,
        unpriced_intervals=len(bill.unpriced),
        notes=list(bill.notes),
        lines=[_line_out(line, site.grid, is_traced=is_traced) for line in bill.lines],
    )


def _line_out(line: Line, grid: Grid, *, is_traced: bool) -> LineOut:
    return LineOut(
        name=line.name,
        component=line.component,
        kind=line.kind,
        flow=line.flow,
        month=line.month,
        start=instant_of_ms(line.from_ms),
        end=instant_of_ms(line.to_ms),
        version_id=line.version_id,
        quantity=plain(line.quantity),
        unit=line.unit,
        rate=line.rate,
        share=str(line.share),
        exact=plain(line.exact),
        amount=line.amount,
        completeness=line.completeness / COMPLETE,
        intervals=len(line.intervals),
        interval_start=grid.bounds_ms[list(line.intervals)].tolist() if is_traced else None,
        lines=list(line.lines),
    )
