"""What the hub tells subscribers travels there and back."""

from datetime import UTC, datetime

import pytest

from protocol import topics
from protocol.errors import InvalidIdentifier, MalformedMessage
from protocol.live import LiveEvent, LiveMeter, LiveValue, decode_event, decode_live, encode_live
from protocol.topics import LiveTopic

AT = datetime(2026, 1, 31, 12, 1, tzinfo=UTC)


def test_meter_is_small_json_and_comes_back_as_it_was() -> None:
    message = LiveMeter(
        observed_at=AT,
        values={"power": LiveValue(value=1.5, unit="W"), "voltage": LiveValue(value=None, unit="V", quality="timeout")},
    )
    payload = encode_live(message)
    assert payload == (
        b'{"observed_at":"2026-01-31T12:01:00Z","values":{"power":{"value":1.5,"unit":"W"},'
        b'"voltage":{"value":null,"unit":"V","quality":"timeout"}}}'
    )
    assert decode_live(payload) == message


def test_event_comes_back_as_it_was() -> None:
    event = LiveEvent(id=7, at=AT, kind="meter.commissioned", subject="meter:7", site="hut", data={"by": "ann"})
    assert decode_event(encode_live(event)) == event


def test_keys_of_later_releases_are_left_out() -> None:
    payload = b'{"observed_at":"2026-01-31T12:01:00Z","new":1,"values":{"power":{"value":1,"unit":"W","also":2}}}'
    assert decode_live(payload).values["power"].value == 1.0


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"observed_at":"2026-01-31T12:01:00","values":{"p":{"value":1,"unit":"W"}}}']
)
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_live(payload)
    with pytest.raises(MalformedMessage):
        decode_event(payload)


@pytest.mark.parametrize("meter", ["heater", topics.second_meter("heater", "hut-2")])
def test_live_topics_are_built_and_taken_apart(meter: str) -> None:
    place = LiveTopic("acme", "hut", meter)
    assert topics.parse_live(topics.live(place)) == place


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "$SYS", "A", "a b", "a~b~c"])
def test_names_that_would_lead_elsewhere_make_no_topic(name: str) -> None:
    with pytest.raises(InvalidIdentifier):
        topics.live(LiveTopic("acme", "hut", name))
    with pytest.raises(InvalidIdentifier):
        topics.live_of(name)
    with pytest.raises(InvalidIdentifier):
        topics.event("acme", name)


@pytest.mark.parametrize("topic", ["meterhaul/live/v1/a/b", "meterhaul/live/v1/a/b/c/d", "meterhaul/v1/a/up/batch", ""])
def test_other_topics_are_no_meters(topic: str) -> None:
    with pytest.raises(MalformedMessage):
        topics.parse_live(topic)
