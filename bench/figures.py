"""How a benchmark reports: one JSON line per figure, after whatever it tells people."""

import json


def report(
    name: str, value: float, unit: str, *, against: str, at_most: float | None = None, at_least: float | None = None
) -> bool:
    """Print one figure and return whether it holds its bar; a figure without a bar always does.

    `against` says what it is compared with, measured in the same run, or which limit it has.
    """
    holds = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    bars = [bar for bar in (at_least, at_most) if bar is not None]
    bar = bars if len(bars) > 1 else bars[0] if bars else None
    figure = {"name": name, "value": round(value, 4), "unit": unit, "against": against, "bar": bar, "holds": holds}
    print(json.dumps(figure), flush=True)
    return holds
