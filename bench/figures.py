"""How a benchmark reports: one JSON line per figure, after whatever it tells people."""

import json
import operator
from collections.abc import Callable


def report(
    name: str, value: float, unit: str, *, against: str, at_most: float | None = None, at_least: float | None = None
) -> bool:
    """Print one figure and return whether it holds its bar; a figure without a bar always does.

    `against` says what it is compared with, measured in the same run, or which limit it has.
    """
    compare: Callable[[float, float], bool] = operator.le if at_most is not None else operator.ge
    bar = at_most if at_most is not None else at_least
    holds = bar is None or compare(value, bar)
    figure = {"name": name, "value": round(value, 4), "unit": unit, "against": against, "bar": bar, "holds": holds}
    print(json.dumps(figure), flush=True)
    return holds
