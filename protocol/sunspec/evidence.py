"""What the words of a discovery prove: which points a device has, and how it means its power factor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from protocol.profile import Point
from protocol.registers import Value, apply_exponents, decode
from protocol.sunspec.points import DevicePoint, ModelPoints

_PERCENT, _RATIO = Decimal("0.01"), Decimal(1)
_POWER_FACTOR_TOLERANCE = 0.05
_POWER_FACTOR_MIN = 0.2
"""Below it a hundredth part fits as well."""


def is_awake(models: Iterable[ModelPoints]) -> bool:
    """Say whether what is missing now is missing for good: an inverter at night answers with "not implemented"."""
    return all(_is_producing(model) for model in models if model.family.role == "inverter")


def without_missing_points(model: ModelPoints) -> ModelPoints:
    """Leave out the points that an awake device says it does not have.

    A counter at 0 may be one that never counted yet: it stays when it is mandatory, or when another
    counter of its quantity runs.
    """
    values = _values(model)
    running = {
        item.point.quantity
        for item in model.points
        if item.definition.type.is_accumulator and values[item.point.name] is not None
    }
    kept = tuple(item for item in model.points if _is_there(item, values[item.point.name], running))
    needed = {item.point.exponent_point for item in kept}
    exponents = tuple(exponent for exponent in model.exponents if exponent.name in needed)
    return replace(model, points=kept, exponents=exponents)


def with_power_factor_settled(model: ModelPoints) -> ModelPoints:
    """Find out from active and apparent power whether power factors are percentages or ratios.

    Where the powers do not tell, the points keep their `verify`.
    """
    scale = _power_factor_scale(model)
    if scale is None:
        return model
    points = tuple(
        item._replace(point=item.point.model_copy(update={"scale": scale, "verify": None}))
        if item.point.quantity == "power_factor"
        else item
        for item in model.points
    )
    return replace(model, points=points)


def _is_producing(model: ModelPoints) -> bool:
    producing = model.family.producing
    if producing is None or model.words is None:
        return False
    values = _values(model)
    return any(
        item.definition.name == producing.point and values[item.point.name] in producing.codes for item in model.points
    )


def _is_there(item: DevicePoint, value: Value, running: set[str]) -> bool:
    if item.definition.type.is_accumulator:
        return value is not None or item.definition.mandatory or item.point.quantity in running
    return value is not None and value != ""


def _power_factor_scale(model: ModelPoints) -> Decimal | None:
    values = _values(model)
    factors = [item.point for item in model.points if item.point.quantity == "power_factor" and item.point.verify]
    for factor in factors:
        reported = _number(values, factor)
        active = _number(values, _sibling(model, factor, "active_power"))
        apparent = _number(values, _sibling(model, factor, "apparent_power"))
        if reported is None or active is None or not apparent or abs(active / apparent) < _POWER_FACTOR_MIN:
            continue
        unscaled = abs(reported) / float(factor.scale)
        fitting = [
            scale
            for scale in (_PERCENT, _RATIO)
            if abs(unscaled * float(scale) - abs(active / apparent)) < _POWER_FACTOR_TOLERANCE
        ]
        return fitting[0] if len(fitting) == 1 else None
    return None


def _sibling(model: ModelPoints, factor: Point, quantity: str) -> Point | None:
    """Find the point that says of the same phase, or of all of them, what `quantity` it has."""
    name = factor.name.replace("power_factor", quantity)
    return next((item.point for item in model.points if item.point.name == name), None)


def _number(values: Mapping[str, Value], point: Point | None) -> float | None:
    value = None if point is None else values[point.name]
    return value if isinstance(value, float) else None


def _values(model: ModelPoints) -> Mapping[str, Value]:
    """Decode what a model held.

    Raises: ValueError for a model that was not read.
    """
    points = (*(item.point for item in model.points), *model.exponents)
    decoded = {point.name: decode(point, _words_of(model, point)) for point in points}
    return apply_exponents(points, decoded)


def _words_of(model: ModelPoints, point: Point) -> Sequence[int]:
    start = point.address - model.found.address
    return (model.words or ())[start : start + point.words]
