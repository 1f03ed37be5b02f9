"""Waits grow, are spread, and end."""

from datetime import timedelta

from cloud_hub.webhooks.patience import GIVE_UP_AFTER, REST_MAX, RETRY_AFTER_MAX, next_attempt, rest


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_a_message_is_tried_about_a_dozen_times_in_a_day() -> None:
    waits = [next_attempt(n, middle) for n in range(1, 30)]
    assert waits[:4] == [timedelta(seconds=s) for s in (5, 20, 80, 320)]
    assert waits == sorted(waits)
    assert max(waits) == timedelta(hours=4)
    total, attempts = timedelta(), 1
    while total < GIVE_UP_AFTER:
        total += waits[attempts - 1]
        attempts += 1
    assert 8 <= attempts <= 14


def test_messages_that_failed_together_do_not_come_back_together() -> None:
    assert next_attempt(3, min) == timedelta(seconds=60)
    assert next_attempt(3, max) == timedelta(seconds=100)


def test_a_webhook_rests_longer_each_time_up_to_five_minutes() -> None:
    assert [rest(n, draw=middle) for n in (1, 2, 3)] == [timedelta(seconds=s) for s in (2, 4, 8)]
    assert rest(10_000, draw=middle) == REST_MAX


def test_a_receiver_may_ask_for_a_longer_rest_but_not_for_any() -> None:
    assert rest(1, 600, middle) == timedelta(seconds=600)
    assert rest(1, 10**6, middle) == RETRY_AFTER_MAX
    assert rest(5, 1, middle) == timedelta(seconds=32)
