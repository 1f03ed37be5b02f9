"""What a site's energy cost over the page's period, and the lines of its bill."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from cloud_hub.analysis.costs import PRICED, read_cost
from cloud_hub.analysis.model import Figure, Scope
from cloud_hub.analysis.results import Cost
from cloud_hub.dashboard.energy_figures import Headline, describe_parts, head_sentence
from cloud_hub.dashboard.energy_wording import format_money, format_per_mille, scale_of
from cloud_hub.errors import Invalid
from cloud_hub.tariffs.bill import Bill, Line


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of the bill."""

    name: str
    month: str
    quantity: str
    rate: str
    amount: str
    completeness: str


@dataclass(frozen=True, slots=True)
class CostView:
    """The headline, and the lines that it is the sum of."""

    headlines: tuple[Headline, ...]
    lines: tuple[BillLine, ...] = ()
    total: str = ""
    notes: tuple[str, ...] = ()


def view_cost(session: Session, scope: Scope, first: date, last: date, *, now: datetime) -> CostView:
    """Compose what a site's electricity costs; nothing for other measures, one sentence where no tariff is assigned."""
    if scope.measure != PRICED:
        return CostView(())
    try:
        cost = read_cost(session, scope, first, last, now=now)
    except Invalid as error:
        return CostView((head_sentence("Cost", f"Not computed: {error}."),))
    bills = [site.bill for site in cost.sites if site.bill.currency is not None]
    if not bills:
        sentence = (
            "No tariff is assigned to this site: send one to "
            f"/api/v1/sites/{scope.parts[0].slug}/tariffs to see what its energy costs."
        )
        return CostView((head_sentence("Cost", sentence),))
    bill = bills[0]
    lines = tuple(_line(each) for each in bill.lines)
    total = format_money(bill.currency or "", bill.total)
    return CostView((_headline(cost, bill),), lines, total, (*bill.notes, *cost.notes))


def _headline(cost: Cost, bill: Bill) -> Headline:
    figure = cost.imported
    lines = [f"{format_money(bill.currency or '', bill.net)} and {format_money(bill.currency or '', bill.tax)} tax"]
    if bill.unpriced:
        lines.append(f"{len(bill.unpriced)} intervals have no price and are not in it")
    lines += _doubts(figure)
    number, _, currency = format_money(bill.currency or "", bill.total).rpartition(" ")
    return Headline("Cost", number, currency, figure.quality.value, format_per_mille(bill.completeness), tuple(lines))


def _doubts(figure: Figure) -> Sequence[str]:
    """Say what the cost does not know; a part that was estimated is priced as it is estimated."""
    parts = describe_parts(figure, scale_of(PRICED.unit))
    return [f"of energy, {', '.join(parts)}"] if parts else []


def _line(line: Line) -> BillLine:
    return BillLine(
        name=line.name,
        month=f"{line.month:%b %Y}",
        quantity=f"{_number(line.quantity)} {_plural(line)}",
        rate="" if line.rate is None else _rate(line, line.rate),
        amount=f"{line.amount:,.2f}".replace("-", "\N{MINUS SIGN}", 1),
        completeness=format_per_mille(line.completeness),
    )


def _rate(line: Line, rate: Decimal) -> str:
    return f"{_number(rate * 100)} %" if line.kind == "tax" else f"{_number(rate)} per {line.unit}"


def _plural(line: Line) -> str:
    return f"{line.unit}s" if line.unit in {"day", "month"} and line.quantity != 1 else line.unit


def _number(value: Decimal) -> str:
    return f"{value.quantize(Decimal('0.000001')).normalize():,f}".replace("-", "\N{MINUS SIGN}", 1)
