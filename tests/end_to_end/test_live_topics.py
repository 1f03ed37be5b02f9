"""From a real agent to a subscriber: one's own readings, as they are committed, and nobody else's."""

from collections.abc import Callable

from live_factories import Listener, add_login, add_metered_site, add_organisation
from sqlalchemy import select, text

from cloud_hub.organisations.models import Organisation
from demo.processes import wait_until
from demo.stack import SITE, Pace, Stack
from protocol import topics
from protocol.live import LiveMeter, decode_live
from protocol.mosquitto import SUBSCRIBER_PASSWORDS
from protocol.topics import LiveTopic

_WAIT_S = 60
_PACE = Pace(period_s=0.5, send_every_s=0.5, hello_every_s=2.0, ack_timeout_s=2.0)


def test_subscribers_hear_what_is_committed_for_them_and_a_killed_ingest_leaves_nothing_wrong(
    start_stack: Callable[..., Stack],
) -> None:
    stack = start_stack(pace=_PACE)
    with stack.session() as session:
        ours = session.scalars(select(Organisation).where(Organisation.id == 1)).one()
        theirs = add_organisation(session, "theirs")
        add_metered_site(session, theirs, "shop", meters=("secret",))
        logins = {one.slug: add_login(session, one) for one in (add_organisation(session, "sibling"), theirs, ours)}
        slug = ours.slug
    known = stack.broker.files / SUBSCRIBER_PASSWORDS
    wait_until(lambda: known.read_text().count("scada@") == len(logins), _WAIT_S, "the broker to know the subscribers")

    def connect(name: str) -> Listener:
        made = logins[name]

        def is_let_in() -> bool:
            # The files are written before the broker has read them.
            with Listener(stack.broker.subscriber_port, made.login.username, made.password) as probe:
                return probe.reason == "Success"

        wait_until(is_let_in, _WAIT_S, f"{name} to be let in")
        return Listener(stack.broker.subscriber_port, made.login.username, made.password)

    with connect("theirs") as other, connect("sibling") as sibling, connect(slug) as own:
        for listener in (other, sibling, own):
            listener.subscribe("#")
        prefix = topics.live(LiveTopic(slug, SITE, "x")).removesuffix("x")
        heard = _hear(own, prefix)
        for ingest in stack.ingest:
            ingest.kill()
        for ingest in stack.ingest:
            ingest.start()
        # Until newer readings of the same meter come than those of before the kill.
        topic, before = heard
        while True:
            later_topic, later = _hear(own, prefix)
            if later_topic == topic and later.observed_at > before.observed_at:
                break
        assert {one.topic for one in other.heard.queue} <= {topics.live(LiveTopic("theirs", "shop", "secret"))}
        assert sibling.heard.empty()
    stack.stop_edge()
    _assert_standing_equals_the_database(stack, connect(slug), prefix)


def _hear(listener: Listener, prefix: str) -> tuple[str, LiveMeter]:
    """Wait for a meter of the agent's site."""
    while True:
        one = listener.heard.get(timeout=_WAIT_S)
        if one.topic.startswith(prefix) and one.payload:
            return one.topic, decode_live(one.payload)


def _assert_standing_equals_the_database(stack: Stack, listener: Listener, prefix: str) -> None:
    """Wait until the last commit has been said; then what stands is what is stored, value by value."""
    with stack.session() as session:
        rows = session.execute(
            text(
                "SELECT m.slug, p.name, l.value FROM point_latest l JOIN points p ON p.id = l.point_id "
                "JOIN meters m ON m.id = l.meter_id JOIN sites s ON s.id = m.site_id WHERE s.slug = :site"
            ),
            {"site": SITE},
        ).all()
    stored = {(prefix + slug, name): value for slug, name, value in rows}
    standing: dict[tuple[str, str], float | None] = {}
    with listener:
        listener.subscribe("#")

        def is_equal() -> bool:
            while not listener.heard.empty():
                one = listener.heard.get()
                if one.topic.startswith(prefix):
                    message = decode_live(one.payload)
                    standing.update({(one.topic, name): point.value for name, point in message.values.items()})
            return standing == stored

        wait_until(is_equal, _WAIT_S, "what stands at the broker to equal the database")
    assert stored
