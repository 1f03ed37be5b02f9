import pytest

from cloud_hub.errors import Invalid
from cloud_hub.web.pagination import LIMIT_DEFAULT, LIMIT_MAX, Window, cut, encode_cursor, parse_window


def test_without_arguments_a_list_begins_at_its_beginning() -> None:
    assert parse_window({}) == Window(LIMIT_DEFAULT, None)


def test_a_cursor_comes_back_as_the_key_it_wraps() -> None:
    cursor = encode_cursor("büro-7")
    assert cursor is not None
    assert parse_window({"cursor": cursor, "limit": "3"}) == Window(3, "büro-7")


def test_the_last_page_has_no_next() -> None:
    assert cut([1, 2, 3], Window(limit=3), lambda item: item).next_key is None
    page = cut([1, 2, 3, 4], Window(limit=3), lambda item: item)
    assert (list(page.items), page.next_key) == ([1, 2, 3], "3")


@pytest.mark.parametrize("limit", ["0", "-1", "many", "", str(LIMIT_MAX + 1), "²", "9" * 5_000])
def test_a_limit_out_of_bounds_is_refused(limit: str) -> None:
    with pytest.raises(Invalid, match="whole number"):
        parse_window({"limit": limit})


@pytest.mark.parametrize("cursor", ["!", "a", "_w", "é"])
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        parse_window({"cursor": cursor})


@pytest.mark.parametrize("key", ["x", "-1", "9" * 19, "1.5"])
def test_a_cursor_of_another_list_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        _ = Window(after=key).after_id
