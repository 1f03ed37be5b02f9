"""Replayed rows are the recorded ones, and counters add them up without a loss."""

import pytest

from simulator.replay import ROW_MS, AtEnd, Circuit, Pace, ReplaySource, load_rows

STARTED_MS = 1_790_000_000_000


def make_source(circuit: Circuit = Circuit.MAINS, **changes: object) -> ReplaySource:
    settings = {"pace": Pace.FRAME, "at_end": AtEnd.STOP, "started_ms": STARTED_MS, **changes}
    return ReplaySource(load_rows(circuit), **settings)  # type: ignore[arg-type] # tests vary what they name


# Check sums of the README beside the data.
@pytest.mark.parametrize(
    ("circuit", "energy_kwh"),
    [
        (Circuit.MAINS, 79.197),
        (Circuit.KITCHEN, 2.033),
        (Circuit.LAUNDRY, 4.836),
        (Circuit.WATER_HEATER, 19.020),
    ],
)
def test_counters_reach_the_check_sums(circuit: Circuit, energy_kwh: float) -> None:
    rows = load_rows(circuit)
    assert len(rows) == 2_203
    last = make_source(circuit).values(len(rows), 0)
    assert last is not None
    assert last["energy_active_import_total"] / 1_000 == pytest.approx(energy_kwh, abs=0.0005)


def test_first_frame_is_the_first_minute() -> None:
    values = make_source().values(1, 0)
    assert values is not None
    assert values["active_power_total"] == pytest.approx(4_216)
    assert values["reactive_power_total"] == pytest.approx(418)
    assert (values["voltage_l1_n"], values["current_l1"]) == (234.84, 18.4)
    assert "frequency" not in values


def test_each_frame_is_the_next_row_whatever_the_time() -> None:
    source = make_source()
    powers = [values["active_power_total"] for serial in (1, 2, 3) if (values := source.values(serial, STARTED_MS))]
    assert powers == pytest.approx([4_216, 5_360, 5_374])


@pytest.mark.parametrize("speed", [1, 600])
def test_rows_pass_with_time(speed: float) -> None:
    source = make_source(pace=Pace.TIME, speed=speed)
    second = source.values(99, STARTED_MS + round(ROW_MS / speed))
    assert second is not None
    assert second["active_power_total"] == pytest.approx(5_360)


def test_data_that_ended_has_no_values() -> None:
    assert make_source().values(2_203, 0) is not None
    assert make_source().values(2_204, 0) is None


def test_looped_data_counts_on() -> None:
    source = make_source(at_end=AtEnd.LOOP)
    last, first_again = source.values(2_203, 0), source.values(2_204, 0)
    assert last is not None
    assert first_again is not None
    assert first_again["active_power_total"] == pytest.approx(4_216)
    assert first_again["energy_active_import_total"] == pytest.approx(last["energy_active_import_total"] + 4_216 / 60)
