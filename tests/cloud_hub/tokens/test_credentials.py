"""The texts of tokens."""

import pytest

from cloud_hub.tokens import credentials


def test_an_api_token_is_found_by_its_first_part_and_proved_by_the_rest() -> None:
    text, secret_hash = credentials.draw_api_token("0123456789ab")
    presented = credentials.parse_api_token(text)
    assert presented is not None
    assert presented.public_id == "0123456789ab"
    assert presented.matches(secret_hash)
    assert not presented.matches(None)
    assert not presented.matches(credentials.draw_api_token("0123456789ab")[1])


def test_every_api_token_that_is_drawn_can_be_taken_apart() -> None:
    # Secrets may hold the underscore that stands between the parts.
    drawn = [credentials.draw_api_token(credentials.draw_public_id())[0] for _ in range(300)]
    assert all(credentials.parse_api_token(text) for text in drawn)
    assert len(set(drawn)) == len(drawn)


def test_a_hash_tells_nothing_of_its_secret() -> None:
    text, secret_hash = credentials.draw_refresh_token()
    assert len(secret_hash) == 32
    assert secret_hash not in text.encode()


@pytest.mark.parametrize(
    "text", ["", "mh_", "mh_0123456789ab", "mh_0123456789ab_short", "mhr_" + "a" * 43, "MH_0123456789ab_" + "a" * 43]
)
def test_other_texts_are_no_api_tokens(text: str) -> None:
    assert credentials.parse_api_token(text) is None


def test_a_token_is_seen_wherever_it_stands() -> None:
    assert credentials.holds_token("x" + credentials.draw_api_token("0123456789ab")[0] + "y")
    assert credentials.holds_token(credentials.draw_refresh_token()[0])
    assert not credentials.holds_token("mh_north")
