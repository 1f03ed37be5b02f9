import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.delivery import AckEffect, Belief, Delivery, Policy
from protocol import limits
from protocol.messages import Ack, StreamState
from protocol.ranges import Range, RangeSet

LIVE, OLD = b"live".ljust(16), b"old".ljust(16)
POLICY = Policy(window=3, scans_per_batch=10, ack_timeout_s=10)
NOTHING = RangeSet()


def make_delivery(*, old: int = 0, live: int = 0, incarnation: int = 1) -> Delivery:
    """Make a delivery that holds so many scans of an earlier run and of this one."""
    delivery = Delivery(POLICY, incarnation=incarnation)
    if old:
        delivery.add_stream(OLD, Belief(old + 1))
    delivery.add_stream(LIVE, Belief(1), live=True)
    delivery.stored(LIVE, live)
    return delivery


def make_ack(*states: tuple[bytes, RangeSet], incarnation: int = 1, nonce: int = 0, safe: RangeSet = NOTHING) -> Ack:
    return Ack(incarnation, tuple(StreamState(name, held, safe, NOTHING) for name, held in states), nonce)


def numbers(*ranges: tuple[int, int]) -> RangeSet:
    return RangeSet(ranges)


def send(delivery: Delivery, now_s: float = 0.0) -> tuple[bytes, Range] | None:
    chosen = delivery.next_live() or delivery.next_backlog()
    if chosen:
        delivery.sent(*chosen, now_s, 0.0)
    return chosen


def test_live_scans_go_before_backlog() -> None:
    delivery = make_delivery(old=5, live=3)
    assert send(delivery) == (LIVE, Range(1, 3))
    assert send(delivery) == (OLD, Range(1, 5))


def test_after_a_connection_the_newest_batch_is_live() -> None:
    delivery = make_delivery(live=35)
    delivery.connected()
    assert send(delivery) == (LIVE, Range(26, 35))
    assert send(delivery) == (LIVE, Range(1, 10))


def test_one_place_of_the_window_is_kept_for_live_scans() -> None:
    delivery = make_delivery(old=100)
    assert send(delivery) is not None
    assert send(delivery) is not None
    assert send(delivery) is None
    delivery.stored(LIVE, 1)
    assert send(delivery) == (LIVE, Range(1, 1))


def test_what_is_overdue_is_sent_again() -> None:
    delivery = make_delivery(live=5)
    send(delivery)
    assert delivery.expire(9.9) == []
    assert len(delivery.expire(10.0)) == 1
    assert send(delivery, 10.0) == (LIVE, Range(1, 5))


def test_waits_grow_while_nothing_is_acknowledged_and_end_with_the_answer_to_a_hello() -> None:
    delivery = make_delivery(live=5)
    now_s, waits = 0.0, []
    for _ in range(5):
        send(delivery, now_s)
        deadline_s = delivery.in_flight[0].deadline_s
        waits.append(deadline_s - now_s)
        now_s = deadline_s
        delivery.expire(now_s)
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]
    send(delivery, now_s)
    delivery.on_ack(make_ack((LIVE, NOTHING), nonce=7), now_s)
    assert delivery.in_flight[0].deadline_s == now_s + POLICY.ack_timeout_s


def test_a_refused_batch_is_due_again() -> None:
    delivery = make_delivery(live=5)
    send(delivery)
    delivery.failed(LIVE, Range(1, 5))
    assert send(delivery) == (LIVE, Range(1, 5))


def test_quarantined_ranges_are_not_sent_again() -> None:
    delivery = make_delivery(live=5)
    delivery.on_ack(Ack(1, (StreamState(LIVE, NOTHING, NOTHING, numbers((1, 5))),)), 0)
    assert delivery.outstanding() == 0


def test_an_ack_of_an_older_incarnation_is_ignored() -> None:
    delivery = make_delivery(live=5, incarnation=3)
    assert delivery.on_ack(make_ack((LIVE, numbers((1, 5))), incarnation=2), 0) is AckEffect.IGNORED
    assert delivery.outstanding() == 5


def test_acks_of_unknown_streams_are_ignored() -> None:
    delivery = make_delivery(live=5)
    assert delivery.on_ack(make_ack((OLD, numbers((1, 5)))), 0) is AckEffect.UPDATED
    assert delivery.outstanding() == 5


def test_a_rewind_drops_belief_and_nothing_is_sent_before_a_hello_is_answered() -> None:
    delivery = make_delivery(old=10, live=5)
    delivery.on_ack(make_ack((OLD, numbers((1, 10))), (LIVE, numbers((1, 5)))), 0)
    assert delivery.outstanding() == 0
    assert delivery.on_ack(make_ack((LIVE, numbers((4, 5))), incarnation=2), 0) is AckEffect.REWOUND
    assert send(delivery) is None
    delivery.on_ack(make_ack((OLD, numbers((1, 4))), (LIVE, numbers((4, 5))), incarnation=2, nonce=1), 0)
    assert not delivery.is_in_doubt
    sent = [send(delivery), send(delivery)]
    assert sent == [(LIVE, Range(1, 3)), (OLD, Range(5, 10))]


def test_the_answer_that_reveals_a_rewind_is_not_yet_trusted_with_what_was_forgotten() -> None:
    """Its hello spoke of the lowest number that was held then; what lies below it is left out."""
    delivery = make_delivery(live=30)
    delivery.on_ack(make_ack((LIVE, numbers((1, 30)))), 0)
    revealing = make_ack((LIVE, numbers((21, 25))), incarnation=2, nonce=1)
    assert delivery.on_ack(revealing, 0) is AckEffect.REWOUND
    assert send(delivery) is None
    delivery.on_ack(make_ack((LIVE, numbers((1, 25))), incarnation=2, nonce=2), 0)
    assert send(delivery) == (LIVE, Range(26, 30))


def test_the_first_contact_needs_no_second_hello() -> None:
    delivery = make_delivery(live=5, incarnation=0)
    assert delivery.on_ack(make_ack((LIVE, NOTHING), incarnation=4, nonce=1), 0) is AckEffect.UPDATED
    assert send(delivery) == (LIVE, Range(1, 5))


def test_an_ordinary_hello_names_unfinished_streams_the_live_one_and_the_one_with_the_newest_news() -> None:
    delivery = Delivery(POLICY, incarnation=1)
    done = numbers((1, 9))
    for n in range(100):
        delivery.add_stream(bytes([n]) * 16, Belief(10, done))
    delivery.add_stream(OLD, Belief(10))
    delivery.add_stream(LIVE, Belief(1), live=True)
    delivery.on_ack(make_ack((OLD, numbers((1, 9)))), 0)
    named = delivery.streams_to_name(everything=False)
    assert {LIVE, OLD} <= set(named)
    assert len(named) < 20
    assert set(delivery.streams_to_name(everything=True)) == set(delivery.streams)


def test_settled_streams_take_turns_in_ordinary_hellos() -> None:
    delivery = make_delivery(live=1)
    for n in range(50):
        delivery.add_stream(bytes([n]) * 16, Belief(10, numbers((1, 9))))
    named: set[bytes] = set()
    for _ in range(30):
        named.update(delivery.streams_to_name(everything=False))
    assert named == set(delivery.streams)


def test_a_hello_names_no_more_streams_than_it_may_and_those_in_doubt_first() -> None:
    delivery = Delivery(POLICY, incarnation=1)
    for n in range(limits.STREAMS_PER_HELLO_MAX + 50):
        delivery.add_stream(n.to_bytes(16, "big"), Belief(10, numbers((1, 9))))
    delivery.on_ack(make_ack(incarnation=2), 0)
    while delivery.is_in_doubt:
        named = delivery.streams_to_name(everything=True)
        assert len(named) <= limits.STREAMS_PER_HELLO_MAX
        delivery.on_ack(make_ack(*((name, numbers((1, 9))) for name in named), incarnation=2, nonce=1), 0)
    assert delivery.outstanding() == 0


@dataclass
class Hub:
    """Commits what arrives, some of it, whenever it likes."""

    incarnation: int = 1
    held: dict[bytes, RangeSet] = field(default_factory=dict)

    def commit(self, stream_id: bytes, sent: Range) -> None:
        self.held[stream_id] = self.held.get(stream_id, NOTHING) | RangeSet([sent])

    def ack(self, nonce: int = 0) -> Ack:
        return make_ack(
            *((name, self.held.get(name, NOTHING)) for name in (OLD, LIVE)), incarnation=self.incarnation, nonce=nonce
        )


def _act(rng: random.Random, delivery: Delivery, hub: Hub, now_s: float) -> None:
    """Do something that may happen, and check what must hold whatever happens."""
    match rng.randrange(7):
        case 0:
            delivery.stored(LIVE, delivery.streams[LIVE].next - 1 + rng.randint(1, 15))
        case 1 | 2:
            _send_and_check(rng, delivery, hub, now_s)
        case 3:
            delivery.on_ack(hub.ack(), now_s)
        case 4:
            delivery.expire(now_s)
        case 5:
            delivery.connected()
        case _:
            if rng.random() < 0.1:
                hub.incarnation += 1
                hub.held = {name: held & RangeSet([(1, rng.randint(1, 20))]) for name, held in hub.held.items()}
            delivery.on_ack(hub.ack(nonce=1), now_s)


def _send_and_check(rng: random.Random, delivery: Delivery, hub: Hub, now_s: float) -> None:
    live, backlog = delivery.next_live(), delivery.next_backlog()
    chosen = live or backlog
    if chosen is None:
        return
    stream_id, wanted = chosen
    belief = delivery.streams[stream_id]
    assert not belief.committed & RangeSet([wanted]), "what is known to be committed is sent again"
    assert wanted.size <= POLICY.scans_per_batch
    assert wanted.last < belief.next
    under_way = RangeSet([flight.range for flight in delivery.in_flight if flight.stream_id == stream_id])
    assert not under_way & RangeSet([wanted]), "what is under way is sent again"
    delivery.sent(stream_id, wanted, now_s, rng.random())
    assert len(delivery.in_flight) <= POLICY.window
    if rng.random() < 0.7:
        hub.commit(stream_id, wanted)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_happens_everything_is_committed_in_the_end(seed: int) -> None:
    rng = random.Random(seed)
    delivery, hub, now_s = make_delivery(old=rng.randint(0, 40) or 1, live=rng.randint(0, 40)), Hub(), 0.0
    for _ in range(80):
        now_s += rng.random() * 10
        _act(rng, delivery, hub, now_s)
    for _ in range(200):
        delivery.on_ack(hub.ack(nonce=1), now_s)
        while chosen := send(delivery, now_s):
            hub.commit(*chosen)
        delivery.on_ack(hub.ack(), now_s)
        if not delivery.outstanding():
            break
        now_s += 1000
        delivery.expire(now_s)
    assert delivery.outstanding() == 0
    for stream_id, belief in delivery.streams.items():
        assert hub.held.get(stream_id, NOTHING).covers(RangeSet([(1, belief.next - 1)] if belief.next > 1 else []))


def test_what_is_withheld_is_not_sent_and_goes_out_as_soon_as_it_may() -> None:
    delivery = make_delivery(old=10, live=10)
    delivery.withheld = {OLD: RangeSet([(1, 10)]), LIVE: RangeSet([(1, 4)])}
    assert delivery.next_backlog() is None
    assert (delivery.next_live(), delivery.live_waiting()) == ((LIVE, Range(5, 10)), 6)
    assert delivery.outstanding() == 20
    delivery.withheld = {}
    assert delivery.next_backlog() == (OLD, Range(1, 10))
    assert delivery.live_waiting() == 10


def test_of_many_that_come_at_once_only_the_newest_count_as_live() -> None:
    delivery = make_delivery(live=0)
    delivery.stored(LIVE, 1000)
    delivery.caught_up()
    assert delivery.live_waiting() == delivery.policy.scans_per_batch
    assert delivery.next_backlog() == (LIVE, Range(1, delivery.policy.scans_per_batch))


@pytest.mark.parametrize("window", [1, 2])
def test_a_small_window_still_delivers_both(window: int) -> None:
    delivery = Delivery(Policy(window=window, scans_per_batch=10), incarnation=1)
    delivery.add_stream(OLD, Belief(21))
    delivery.add_stream(LIVE, Belief(1), live=True)
    delivery.stored(LIVE, 5)
    hub = Hub()
    for _ in range(10):
        if chosen := send(delivery):
            hub.commit(*chosen)
        delivery.on_ack(hub.ack(), 0)
    assert delivery.outstanding() == 0


def test_backlog_under_way_never_keeps_live_scans_waiting_however_small_the_window() -> None:
    delivery = Delivery(Policy(window=1, scans_per_batch=10), incarnation=1)
    delivery.add_stream(OLD, Belief(21))
    delivery.add_stream(LIVE, Belief(1), live=True)
    assert send(delivery) == (OLD, Range(1, 10))
    assert send(delivery) is None
    delivery.stored(LIVE, 5)
    assert send(delivery) == (LIVE, Range(1, 5))
    delivery.stored(LIVE, 6)
    assert send(delivery) is None


def test_what_is_doubted_is_sent_again_unless_the_hub_names_it_meanwhile() -> None:
    delivery = make_delivery(old=30, live=5)
    delivery.on_ack(make_ack((OLD, numbers((1, 30))), (LIVE, numbers((1, 5)))), 0)
    delivery.doubt(OLD, Range(11, 15))
    assert delivery.outstanding() == 5
    assert send(delivery) == (OLD, Range(11, 15))
    delivery.on_ack(make_ack((OLD, numbers((1, 30)))), 0)
    assert delivery.outstanding() == 0
    with pytest.raises(KeyError):
        delivery.doubt(b"another".ljust(16), Range(1, 1))


def test_an_ack_that_begins_right_above_something_confirmed_is_a_reason_to_ask_once() -> None:
    delivery = make_delivery(live=20)
    delivery.named(LIVE, 1)
    delivery.on_ack(make_ack((LIVE, numbers((1, 10)))), 0)
    assert delivery.on_ack(make_ack((LIVE, numbers((11, 20)))), 0) is AckEffect.DOUBTFUL
    assert delivery.on_ack(make_ack((LIVE, numbers((11, 25)))), 0) is AckEffect.UPDATED


def test_an_ack_that_leaves_out_what_is_not_held_any_more_is_no_reason_to_ask() -> None:
    delivery = make_delivery(live=20)
    delivery.named(LIVE, 11)
    delivery.on_ack(make_ack((LIVE, numbers((1, 10)))), 0)
    assert delivery.on_ack(make_ack((LIVE, numbers((11, 20)))), 0) is AckEffect.UPDATED


def test_an_ack_of_a_stream_that_no_hello_named_yet_is_no_reason_to_ask() -> None:
    delivery = make_delivery(live=20)
    delivery.on_ack(make_ack((LIVE, numbers((1, 10)))), 0)
    assert delivery.on_ack(make_ack((LIVE, numbers((11, 20)))), 0) is AckEffect.UPDATED
