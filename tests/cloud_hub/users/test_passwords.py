import pytest

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
