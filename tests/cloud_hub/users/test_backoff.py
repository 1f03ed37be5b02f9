from cloud_hub.users.backoff import FIRST_WAIT_S, FREE_ATTEMPTS, LONGEST_WAIT_S, Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(backoff: Backoff, times: int, key: str = "ann") -> None:
    for _ in range(times):
        backoff.failed(key)


def test_a_few_slips_cost_nothing() -> None:
    backoff = Backoff(Clock())
    fail(backoff, FREE_ATTEMPTS - 1)
    assert backoff.wait_s("ann") == 0


def test_each_further_failure_doubles_the_wait() -> None:
    backoff = Backoff(Clock())
    fail(backoff, FREE_ATTEMPTS)
    assert backoff.wait_s("ann") == FIRST_WAIT_S
    fail(backoff, 1)
    assert backoff.wait_s("ann") == 2 * FIRST_WAIT_S
    fail(backoff, 100)
    assert backoff.wait_s("ann") == LONGEST_WAIT_S


def test_waiting_helps() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    fail(backoff, FREE_ATTEMPTS + 1)
    clock.now += 2 * FIRST_WAIT_S
    assert backoff.wait_s("ann") == 0


def test_long_quiet_is_forgiven() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    fail(backoff, 50)
    clock.now += 3 * LONGEST_WAIT_S
    fail(backoff, 1)
    assert backoff.wait_s("ann") == 0


def test_others_do_not_wait_and_success_forgets() -> None:
    backoff = Backoff(Clock())
    fail(backoff, 50)
    assert backoff.wait_s("bob") == 0
    backoff.succeeded("ann")
    assert backoff.wait_s("ann") == 0


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    backoff = Backoff(Clock())
    for number in range(12_000):
        backoff.failed(number)
    assert len(backoff._failures) == 10_000
