"""Says the newest readings of meters on their topics, beside whoever commits them and never in their way."""

import threading
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cloud_hub.settings import BrokerAddress
from cloud_hub.subscribers import tree
from cloud_hub.subscribers.link import IN_FLIGHT, Link, LinkLost, Saying

_PAUSE_S = 0.25
"""At least so long between two rounds: what a meter reads meanwhile is said once."""
_IDLE_SHARE = 4
"""A round is followed by a rest of so many times its length: at most a fifth of a core, whatever comes in."""
_RETRY_S = 2.0
_JOIN_S = 5.0

log = structlog.get_logger(__name__)


def say_meters(engine: Engine, link: Link, meter_ids: Sequence[int]) -> int:
    """Say the newest readings of these meters, as they are committed; return how many have any.

    Raises: LinkLost; the database's error.
    """
    with engine.begin() as connection:
        # Committed before anything is said, so that what stands at the broker is always known.
        tree.take_places(connection, meter_ids)
    with Session(engine) as session, session.begin():
        tree.take_turn(session.connection())
        messages = tree.load_messages(session, meter_ids)
        held = tree.list_held(session.connection(), meter_ids)
        link.say([Saying(one.topic, messages[one.meter_id]) for one in held if one.meter_id in messages])
    return len(messages)


class LivePublisher:
    """A thread that says meters after they were noted. It holds a number per meter, however much comes in."""

    def __init__(self, engine: Engine, address: BrokerAddress, name: str = "live") -> None:
        """Describe the thread; it runs in the `with` block."""
        self._engine = engine
        self._link = Link(address, name)
        self._waiting: dict[int, None] = {}
        """Meters to say, those that waited longest first."""
        self._guard = threading.Lock()
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name=f"publish {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._something.set()
        self._thread.join(timeout=_JOIN_S)

    def note(self, meter_ids: Iterable[int]) -> None:
        """Note meters of which something newer is committed. Returns at once."""
        with self._guard:
            self._waiting.update(dict.fromkeys(meter_ids))
            if self._waiting:
                self._something.set()

    def _run(self) -> None:
        while True:
            self._something.wait()
            if self._stopping.is_set():
                break
            started = time.monotonic()
            rest = self._round()
            self._stopping.wait(max(rest, _IDLE_SHARE * (time.monotonic() - started)))
        self._link.close()

    def _round(self) -> float:
        """Say some of the meters that wait; return how long to rest at least."""
        some = self._take()
        try:
            say_meters(self._engine, self._link, some)
        except (LinkLost, SQLAlchemyError) as error:
            self._report(error)
        except Exception:
            log.exception("live_topics_failed", meters=len(some))
        else:
            self._report(None)
            return _PAUSE_S
        self.note(some)
        return _RETRY_S

    def _take(self) -> list[int]:
        with self._guard:
            some = list(islice(self._waiting, IN_FLIGHT))
            for meter_id in some:
                del self._waiting[meter_id]
            if not self._waiting:
                self._something.clear()
        return some

    def _report(self, error: Exception | None) -> None:
        if error is not None and not self._is_failing:
            log.warning("live_topics_wait", error=str(error).splitlines()[0])
        elif error is None and self._is_failing:
            log.info("live_topics_again")
        self._is_failing = error is not None
