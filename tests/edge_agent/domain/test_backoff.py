from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.backoff import backoff_s

ATTEMPTS = st.integers(1, 10_000)
CHANCE = st.floats(0, 1)


def test_nothing_failed_means_no_wait() -> None:
    assert backoff_s(0, 1.0, first_s=5, cap_s=60) == 0


@given(ATTEMPTS, CHANCE)
def test_waits_lie_in_the_upper_half_of_a_doubling_bound(attempt: int, jitter: float) -> None:
    bound = min(60.0, 2.0 * 2.0 ** min(attempt - 1, 30))
    assert bound / 2 <= backoff_s(attempt, jitter, first_s=2, cap_s=60) <= bound


@given(ATTEMPTS, CHANCE)
def test_a_further_failure_never_shortens_the_wait(attempt: int, jitter: float) -> None:
    shorter = backoff_s(attempt, jitter, first_s=2, cap_s=60)
    assert backoff_s(attempt + 1, jitter, first_s=2, cap_s=60) >= shorter
