"""From figures to their shapes in the API, in the unit that people read."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

from cloud_hub.analysis.model import Figure, Residual, Scope
from cloud_hub.analysis.results import Compared, DayShape, HoursShare, Money, Peak
from cloud_hub.analysis.schemas import (
    ColumnsOut,
    ComparedOut,
    DayShapeOut,
    FigureOut,
    HoursShareOut,
    MoneyOut,
    PeakOut,
    ResidualOut,
)
from cloud_hub.analysis.units import shown_amount
from cloud_hub.energy.model import COMPLETE

DAY = timedelta(days=1)
_MILLIONTH = Decimal("0.000001")


def money_out(amounts: Sequence[Money]) -> list[MoneyOut]:
    """Shape amounts of money, to a millionth of the currency."""
    return [
        MoneyOut(currency=money.currency, amount=money.amount.quantize(_MILLIONTH, ROUND_HALF_UP)) for money in amounts
    ]


def clock_text(slot: int) -> str:
    """Write minutes since midnight as a clock does."""
    return f"{slot // 60:02}:{slot % 60:02}"


def share_out(thousandths: int | None) -> float | None:
    """Write a completeness as a part of one."""
    return None if thousandths is None else thousandths / COMPLETE


class Shown:
    """Shapes in the unit of one scope."""

    def __init__(self, scope: Scope) -> None:
        self._unit = scope.measure.unit

    def exact(self, micro: int) -> Decimal:
        """Return an amount, or a power, in the shown unit."""
        return shown_amount(micro, self._unit)

    def maybe(self, micro: int | None) -> Decimal | None:
        """Return it, or null where nothing is known."""
        return None if micro is None else self.exact(micro)

    def figure(self, figure: Figure) -> FigureOut:
        """Shape a figure."""
        return FigureOut(
            amount=self.maybe(figure.amount_micro),
            quality=figure.quality,
            completeness=share_out(figure.completeness),
            measured=self.exact(figure.measured_micro),
            estimated=self.exact(figure.estimated_micro),
            edited=self.exact(figure.edited_micro),
            partial=self.exact(figure.partial_micro),
            meters=figure.meters,
            expected_s=figure.expected_ms // 1000,
            missing_s=figure.missing_ms // 1000,
        )

    def columns(self, figures: Sequence[Figure]) -> ColumnsOut:
        """Shape figures as columns."""
        return ColumnsOut(
            amount=[self.maybe(figure.amount_micro) for figure in figures],
            quality=[figure.quality for figure in figures],
            completeness=[share_out(figure.completeness) for figure in figures],
            estimated=[self.exact(figure.estimated_micro) for figure in figures],
            edited=[self.exact(figure.edited_micro) for figure in figures],
            partial=[self.exact(figure.partial_micro) for figure in figures],
            meters=[figure.meters for figure in figures],
            missing_s=[figure.missing_ms // 1000 for figure in figures],
        )

    def residual(self, residual: Residual | None) -> ResidualOut | None:
        """Shape a residual."""
        if residual is None:
            return None
        return ResidualOut(
            amount=self.maybe(residual.amount_micro),
            known_s=residual.known_ms // 1000,
            expected_s=residual.expected_ms // 1000,
        )

    def share(self, share: HoursShare | None) -> HoursShareOut | None:
        """Shape the part inside, or outside, of hours."""
        if share is None:
            return None
        return HoursShareOut(
            figure=self.figure(share.figure), duration_s=share.duration_ms // 1000, cost=money_out(share.cost)
        )

    def peak(self, peak: Peak | None) -> PeakOut | None:
        """Shape a peak."""
        if peak is None:
            return None
        return PeakOut(
            power=self.exact(peak.power_micro_per_h),
            start=peak.start,
            end=peak.end,
            local_start=peak.local_start,
            is_measured=peak.is_measured,
        )

    def shape(self, shape: DayShape) -> DayShapeOut:
        """Shape the course of a day."""
        return DayShapeOut(
            name=shape.name,
            days=shape.days,
            clock=[clock_text(slot) for slot in shape.slots],
            power=[self.maybe(power) for power in shape.power_micro_per_h],
        )

    def compared(self, compared: Compared) -> ComparedOut:
        """Shape one period of a comparison."""
        return ComparedOut(
            start=compared.first,
            end=compared.last + DAY,
            figure=self.figure(compared.figure),
            is_comparable=compared.is_comparable,
            reason=compared.reason,
        )
