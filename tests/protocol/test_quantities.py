import pytest

from protocol.errors import UnknownQuantity
from protocol.manifest import ManifestPoint, PointKind
from protocol.quantities import NOT_MEASURED, QUANTITIES, get_quantity


def test_each_quantity_is_found_by_its_own_name() -> None:
    assert all(get_quantity(name).name == name for name in QUANTITIES)


def test_unknown_quantity_is_named_in_the_error() -> None:
    with pytest.raises(UnknownQuantity, match="'voltage_rms' is unknown"):
        get_quantity("voltage_rms")


def test_every_quantity_fits_a_manifest() -> None:
    for quantity in QUANTITIES.values():
        ManifestPoint(name="point", quantity=quantity.name, unit=quantity.unit, kind=quantity.kind)


def test_units_carry_no_prefix_so_that_readings_of_all_meters_compare() -> None:
    assert {get_quantity(name).unit for name in ("active_power", "active_energy", "reactive_energy")} == {
        "W",
        "Wh",
        "varh",
    }
    assert not any(quantity.unit.startswith("k") and quantity.unit != "km/h" for quantity in QUANTITIES.values())


def test_limits_are_in_order() -> None:
    for quantity in QUANTITIES.values():
        if quantity.lowest is not None and quantity.highest is not None:
            assert quantity.lowest < quantity.highest


def test_what_is_not_measured_never_counts() -> None:
    assert set(QUANTITIES) >= NOT_MEASURED
    assert all(get_quantity(name).kind is PointKind.STATE for name in NOT_MEASURED)
