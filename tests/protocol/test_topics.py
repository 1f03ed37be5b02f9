"""Topics are built and parsed by one module, and nothing foreign passes."""

import pytest

from protocol import topics
from protocol.errors import InvalidIdentifier, MalformedMessage
from protocol.topics import Down, Up


@pytest.mark.parametrize("kind", Up)
def test_a_topic_of_an_agent_comes_back(kind: Up) -> None:
    assert topics.parse_up(topics.up("hut-17", kind)) == ("hut-17", kind)


@pytest.mark.parametrize(
    "topic",
    [
        "meterhaul/v1/hut-17/down/ack",
        "meterhaul/v1/hut-17/up/nonsense",
        "meterhaul/v2/hut-17/up/batch",
        "meterhaul/v1/Hut 17/up/batch",
        "meterhaul/v1/hut-17/up/batch/more",
        "",
    ],
)
def test_a_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(MalformedMessage):
        topics.parse_up(topic)


@pytest.mark.parametrize("controller_id", ["", "a/b", "+", "#", "A", "a b", "-a", "a" * 65])
def test_an_id_that_could_escape_its_topic_is_refused(controller_id: str) -> None:
    with pytest.raises(InvalidIdentifier):
        topics.down(controller_id, Down.ACK)
