"""A signal is as good as its worst known figure; what modems say for "unknown" is not excellent."""

import pytest

from edge_agent.domain.signal import SignalClass, classify_signal


@pytest.mark.parametrize(
    ("rsrp_dbm", "expected"),
    [
        (-70, SignalClass.EXCELLENT),
        (-80, SignalClass.EXCELLENT),
        (-85, SignalClass.GOOD),
        (-90, SignalClass.GOOD),
        (-99, SignalClass.POOR),
        (-100, SignalClass.NONE),
        (-140, SignalClass.NONE),
    ],
)
def test_power_of_lte_has_its_steps(rsrp_dbm: float, expected: SignalClass) -> None:
    assert classify_signal(rsrp_dbm=rsrp_dbm) is expected


@pytest.mark.parametrize(
    ("rssi_dbm", "expected"),
    [(-60, SignalClass.EXCELLENT), (-80, SignalClass.GOOD), (-100, SignalClass.POOR), (-110, SignalClass.NONE)],
)
def test_rssi_speaks_where_nothing_better_is_known(rssi_dbm: float, expected: SignalClass) -> None:
    assert classify_signal(rssi_dbm=rssi_dbm) is expected


def test_worst_figure_decides() -> None:
    assert classify_signal(rsrp_dbm=-75, rsrq_db=-17, sinr_db=25) is SignalClass.POOR
    assert classify_signal(rsrp_dbm=-75, rsrq_db=-9, sinr_db=15) is SignalClass.GOOD
    assert classify_signal(rsrp_dbm=-75, rssi_dbm=-105) is SignalClass.EXCELLENT


@pytest.mark.parametrize("unknown", [None, 0, 99, 255, 32767])
def test_marker_for_unknown_is_no_class(unknown: float | None) -> None:
    assert classify_signal(rssi_dbm=unknown, rsrp_dbm=unknown, rsrq_db=unknown, sinr_db=unknown) is SignalClass.UNKNOWN
    assert classify_signal(rssi_dbm=-80, rsrp_dbm=unknown) is SignalClass.GOOD
