"""What can be asked of the analysis: the parameters of its routes."""

from typing import Annotated, ClassVar

from pydantic import Field

from cloud_hub.access.permissions import Permission
from cloud_hub.access.references import Id
from cloud_hub.access.subjects import Names
from cloud_hub.analysis.comparison import COMPARABLE_FROM, Reference
from cloud_hub.analysis.emissions import SERIES_MAX
from cloud_hub.analysis.limits import DAYS_MAX
from cloud_hub.analysis.model import Flow, Step
from cloud_hub.web.ranges import DayRange, InstantIn

HEAT_DAYS_MAX = 800


class Question(DayRange):
    """What every question says: local days by the site's own calendar, and what is counted."""

    longest_days: ClassVar[int] = DAYS_MAX

    quantity: Annotated[str, Field(max_length=100)] | None = None
    """Left out: electricity where there is any, else the first that is counted there."""
    as_known_at: InstantIn | None = None
    """As the ledger knew it at that instant; now, when left out."""


class EnergyQuestion(Question):
    """What flows, by steps of the calendar."""

    step: Step = Step.DAY


class ProfileQuestion(Question):
    """How energy is used."""

    flow: Flow = Flow.IMPORT


class HeatMapQuestion(Question):
    """Mean power by day and clock."""

    longest_days: ClassVar[int] = HEAT_DAYS_MAX

    flow: Flow = Flow.IMPORT


class ComparisonQuestion(Question):
    """The range beside earlier ones."""

    reference: Reference = Reference.PREVIOUS
    flow: Flow = Flow.IMPORT
    periods: Annotated[int, Field(ge=1, le=53)] = 4
    """How many earlier ones, for `same_weekdays`."""
    threshold: Annotated[int, Field(ge=1, le=100)] = COMPARABLE_FROM // 10
    """So complete, in percent, must be what is compared."""


class CostQuestion(Question):
    """What it costs."""

    trace: bool = False
    """Whether every line names its intervals."""


class EmissionsQuestion(Question):
    """What it emits."""

    series: (
        Annotated[
            list[Annotated[Id, Names("emission_series", Permission.TARIFFS_READ)]],
            Field(min_length=1, max_length=SERIES_MAX),
        ]
        | None
    ) = None
    """By which series of factors, each by its id; all of the organisation's, when left out."""
