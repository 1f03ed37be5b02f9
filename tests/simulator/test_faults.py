"""Scripts of faults are understood, or refused with what is wrong."""

import pytest

from simulator.faults import Fault, FaultKind, ScheduledFault, parse_fault


def test_script_names_meter_kind_and_time() -> None:
    fault = parse_fault("meter=heater,kind=dead,after=10,for=5")
    assert fault == ScheduledFault(meter="heater", kind=FaultKind.DEAD, after_s=10, for_s=5)
    assert fault.fault == Fault(FaultKind.DEAD)


def test_script_names_what_the_kind_needs() -> None:
    assert parse_fault("meter=pv,kind=exception,code=4,requests=2").fault == Fault(
        FaultKind.EXCEPTION, exception_code=4, requests=2
    )
    assert parse_fault("meter=pv,kind=slow,delay=0.5").fault == Fault(FaultKind.SLOW, delay_s=0.5)


def test_script_names_the_addresses_that_are_met() -> None:
    fault = parse_fault("meter=pv,kind=exception,code=2,addresses=10-12").fault
    assert fault.addresses == ((10, 12),)
    assert parse_fault("meter=pv,kind=exception,addresses=7").fault.addresses == ((7, 7),)
    asked = [(8, 2), (8, 3), (12, 1), (13, 4), (0, 100)]
    assert [at for at in asked if fault.meets(*at)] == [(8, 3), (12, 1), (0, 100)]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("dead", "write it as meter=ID"),
        ("meter=heater,kind=sleepy", "kind"),
        ("meter=heater,kind=dead,after=soon", "after_s"),
        ("meter=heater,kind=dead,colour=red", "colour"),
        ("kind=dead", "meter"),
        ("meter=heater,kind=refused,requests=3", "does not fit 'refused'"),
        ("meter=heater,kind=refused,addresses=3", "does not fit 'refused'"),
        ("meter=heater,kind=dead,addresses=some", "addresses"),
    ],
)
def test_wrong_script_is_refused(script: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_fault(script)
