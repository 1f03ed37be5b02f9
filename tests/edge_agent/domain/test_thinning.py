from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.thinning import Held, Thinned, thin
from protocol.ranges import RangeSet
from protocol.scans import Gap, GapReason

MINUTE_MS = 60_000
HALF_HOUR_MS = 30 * MINUTE_MS


def scan(sequence: int, minute: int, layout: int = 0) -> Held:
    return Held(sequence, layout, minute * MINUTE_MS)


def gap(sequence: int, count: int, reason: GapReason = GapReason.THINNED) -> Held:
    return Held(sequence, None, 0, Gap(count, reason, 0, 0))


@st.composite
def spans(draw: st.DrawFn) -> list[Held]:
    span: list[Held] = []
    sequence, minute = draw(st.integers(1, 1000)), draw(st.integers(0, 100))
    for _ in range(draw(st.integers(0, 60))):
        minute += draw(st.integers(0, 9))
        if draw(st.integers(0, 3)):
            span.append(scan(sequence, minute, draw(st.integers(0, 2))))
            sequence += 1
        else:
            count = draw(st.integers(1, 5))
            span.append(gap(sequence, count, draw(st.sampled_from(GapReason))))
            sequence += count
        sequence += draw(st.integers(0, 1)) * draw(st.integers(0, 3))
    return span


def numbers(held: Held) -> tuple[int, int]:
    return held.sequence, held.last_sequence


@given(span=spans(), keep=st.booleans())
def test_every_number_stays_accounted_for(*, span: list[Held], keep: bool) -> None:
    thinned = thin(span, keep_boundaries=keep)
    staying = [held for held in span if held.sequence not in thinned.removed]
    after = [numbers(held) for held in staying] + [(entry.sequence, entry.last_sequence) for entry in thinned.gaps]
    assert RangeSet(after) == RangeSet(numbers(held) for held in span)
    assert sum(last - first + 1 for first, last in after) == sum(
        held.last_sequence - held.sequence + 1 for held in span
    )


@given(spans())
def test_the_first_scan_of_a_meter_in_a_half_hour_stays(span: list[Held]) -> None:
    removed = thin(span).removed
    seen: dict[int, int] = {}
    for held in span:
        if held.layout is not None and seen.get(held.layout) != held.observed_at_ms // HALF_HOUR_MS:
            seen[held.layout] = held.observed_at_ms // HALF_HOUR_MS
            assert held.sequence not in removed


@given(spans())
def test_gap_records_of_other_reasons_are_left_alone(span: list[Held]) -> None:
    removed = thin(span).removed
    others = [held for held in span if held.gap and held.gap.reason is not GapReason.THINNED]
    assert not {held.sequence for held in others} & set(removed)


@given(spans())
def test_thinning_again_and_again_comes_to_an_end(span: list[Held]) -> None:
    rounds = 0
    while (thinned := thin(span, keep_boundaries=False)).scans:
        span = _apply(span, thinned)
        rounds += 1
        assert rounds < 20
    assert len({held.layout for held in span if held.layout is not None}) == sum(
        held.layout is not None for held in span
    )


def test_neighbours_that_go_become_one_record_that_says_when() -> None:
    span = [scan(1, 0, 0), scan(2, 0, 1), scan(3, 1, 0), scan(4, 1, 1), scan(5, 2, 0), scan(6, 2, 1)]
    thinned = thin(span)
    assert thinned.removed == (3, 4)
    assert [(entry.sequence, entry.content) for entry in thinned.gaps] == [
        (3, Gap(2, GapReason.THINNED, MINUTE_MS, MINUTE_MS))
    ]


def _apply(span: list[Held], thinned: Thinned) -> list[Held]:
    staying = [held for held in span if held.sequence not in thinned.removed]
    new = [Held(e.sequence, None, 0, e.content) for e in thinned.gaps if isinstance(e.content, Gap)]
    return sorted([*staying, *new])
