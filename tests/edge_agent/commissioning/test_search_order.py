"""What a technician types where to look is understood, or told from what is not."""

import pytest

from edge_agent.commissioning.search_order import parse_host
from edge_agent.errors import AgentError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.168.10.20", ("192.168.10.20", 502)),
        ("gateway.example", ("gateway.example", 502)),
        ("192.168.10.20:1502", ("192.168.10.20", 1502)),
        ("2001:db8::7", ("2001:db8::7", 502)),
    ],
)
def test_a_port_may_stand_behind_the_host(text: str, address: tuple[str, int]) -> None:
    assert parse_host(text, 502) == address


@pytest.mark.parametrize("text", ["meter:first", "meter:0", "meter:70000", "meter:"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(AgentError, match="is no port; write host:502"):
        parse_host(text, 502)
