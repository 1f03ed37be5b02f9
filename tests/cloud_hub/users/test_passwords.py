import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from cloud_hub.users.passwords import LENGTH_MAX, LENGTH_MIN, hash_password, is_password


def test_a_password_is_known_again_by_its_hash() -> None:
    password_hash = hash_password("a long password")
    assert password_hash.startswith("$argon2id$")
    assert is_password("a long password", password_hash)
    assert not is_password("another password", password_hash)


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password("a long password") != hash_password("a long password")


def test_nobody_has_any_password() -> None:
    assert not is_password("a long password", None)


def test_a_broken_hash_matches_nothing() -> None:
    assert not is_password("a long password", "not a hash")


@pytest.mark.parametrize("length", [0, LENGTH_MIN - 1, LENGTH_MAX + 1])
def test_a_password_of_a_silly_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="characters"):
        hash_password("x" * length)


@pytest.mark.parametrize(
    "password",
    [
        "1234567890",
        "qwertyuiop",
        "Password123!",
        "p4ssw0rd2026",
        "aaaaaaaaaaaa",
        "1q2w3e4r5t6y",
        "Meterhaul-2026",
        "ann@example.org",
        "Ann.Example1",
        "Lovelace1843",
    ],
)
def test_a_password_that_is_tried_first_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="tried first"):
        hash_password(password, ["ann@example.org", "Ann Lovelace"])


def test_of_the_commonest_three_thousand_none_is_taken() -> None:
    commonest = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= LENGTH_MIN]
    assert len(commonest) > 1000  # of 30,000; the shorter ones are refused for their length
    for word in commonest[:3000:20]:
        with pytest.raises(ValueError, match="tried first"):
            hash_password(word)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "ünïcödé wörter zwölf", "x7#Kq!2mZp&v", "p" * 9 + " quartz vex"]
)
def test_no_kind_of_character_is_asked_for(password: str) -> None:
    assert is_password(password, hash_password(password))


def test_a_long_password_is_judged_in_time_and_counts_to_its_last_letter() -> None:
    password = "4@8({369&#!10$5+7%2" * 13 + "end"
    password_hash = hash_password(password)
    assert is_password(password, password_hash)
    assert not is_password(password[:-1] + "D", password_hash)
