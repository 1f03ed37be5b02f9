"""The pages about safety say what is so: tests that they name exist, and numbers, routes and words are the code's."""

import ast
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from cloud_hub.access.guard import PUBLIC
from cloud_hub.app import create_app
from cloud_hub.db import create_engine
from cloud_hub.tokens import logins
from cloud_hub.tokens.service import DAYS_DEFAULT, DAYS_MAX, TOKENS_MAX
from cloud_hub.users import attempts, sessions
from cloud_hub.users.passwords import hash_password
from cloud_hub.web.operations import operations_of

ROOT: Final = Path(__file__).parents[2]
RULES: Final = (ROOT / "docs/security/rules.md").read_text(encoding="utf-8")
ASVS: Final = (ROOT / "docs/security/asvs.md").read_text(encoding="utf-8")
REQUIREMENTS: Final = {
    "4.1": (1, 2, 3),
    "4.2": (1,),
    "4.3": (1, 2),
    "4.4": (1, 2, 3, 4),
    "6.1": (1, 2, 3),
    "6.2": range(1, 13),
    "6.3": (1, 2, 3, 4),
    "6.4": (1, 2, 3, 4),
    "6.5": (1, 2, 3, 4, 5),
    "6.6": (1, 2, 3),
    "6.8": (1, 2, 3, 4),
    "7.1": (1, 2, 3),
    "7.2": (1, 2, 3, 4),
    "7.3": (1, 2),
    "7.4": (1, 2, 3, 4, 5),
    "7.5": (1, 2),
    "7.6": (1, 2),
    "8.1": (1, 2),
    "8.2": (1, 2, 3),
    "8.3": (1,),
    "8.4": (1,),
    "9.1": (1, 2, 3),
    "9.2": (1, 2, 3, 4),
    "10.1": (1, 2),
    "10.2": (1, 2),
    "10.3": (1, 2, 3, 4),
    "10.4": range(1, 12),
    "10.5": (1, 2, 3, 4, 5),
    "10.6": (1, 2),
    "10.7": (1, 2, 3),
}
"""The standard's requirements of the levels 1 and 2, by section."""


@dataclass(frozen=True, slots=True)
class Row:
    """A requirement, as the page has it."""

    number: str
    demands: str
    state: str
    here: str
    tests: tuple[str, ...]


def read_rows(page: str) -> list[Row]:
    rows = [line.strip("|").split(" | ") for line in page.splitlines() if re.match(r"\| \d", line)]
    return [
        Row(number.strip(), demands, state, here, tuple(re.findall(r"`([^`]+)`", shown)))
        for number, _level, demands, state, here, shown in rows
    ]


ROWS: Final = read_rows(ASVS)


@cache
def names_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def is_there(named: str) -> bool:
    path, _, name = named.partition("::")
    return path.startswith("tests/") and (ROOT / path).is_file() and name.startswith("test_") and name in names_of(path)


def test_every_requirement_is_answered_once() -> None:
    wanted = [f"{section}.{number}" for section, numbers in REQUIREMENTS.items() for number in numbers]
    assert [row.number for row in ROWS] == wanted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_what_holds_is_shown_by_tests_that_exist_and_the_rest_has_its_reason(row: Row) -> None:
    assert row.state in {"holds", "not applicable", "open"}
    assert row.demands.strip()
    assert row.here.strip()
    assert [named for named in row.tests if not is_there(named)] == []
    assert bool(row.tests) is (row.state == "holds") or row.state == "open"


def test_a_test_that_is_gone_would_show() -> None:
    here = "tests/docs/test_asvs.py::"
    assert is_there(f"{here}test_a_test_that_is_gone_would_show")
    assert not is_there(f"{here}test_that_nobody_wrote")
    assert not is_there("tests/docs/test_nothing.py::test_a_test_that_is_gone_would_show")


def test_the_counts_and_the_list_of_what_is_open_are_right() -> None:
    states = [row.state for row in ROWS]
    still_open = ", ".join(row.number for row in ROWS if row.state == "open")
    assert (
        f"{states.count('holds')} hold, {states.count('not applicable')} are not applicable, "
        f"{states.count('open')} are open: {still_open}."
    ) in ASVS


@pytest.mark.parametrize(("name", "page"), [("rules", RULES), ("asvs", ASVS)])
def test_links_lead_somewhere(name: str, page: str) -> None:
    links = re.findall(r"\]\((?!https:)([^)#]+)(?:#([^)]+))?\)", page)
    assert links, name
    for path, heading in links:
        file = ROOT / "docs/security" / path
        assert file.is_file(), path
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert not heading or heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


def test_the_page_names_every_route_that_needs_no_login() -> None:
    described = create_app(b"k" * 32, create_engine("postgresql://nobody@127.0.0.1:1/none"))
    public = {f"{one.method} {one.rule}" for one in operations_of(described).values() if one.permission == PUBLIC}
    told = re.findall(r"`((?:GET|POST) [^`]+)`", RULES.partition("## Ways in")[2].partition("Beside them")[0])
    assert sorted(told) == sorted(public)


def test_every_word_that_the_page_names_is_refused() -> None:
    words = re.findall(r"`(\w+)`", RULES.partition("These words are")[2].partition("and the account")[0])
    assert len(words) >= 4
    # Beside another word, so few letters are enough.
    assert hash_password("marble qzjx marble marble")
    for word in words:
        with pytest.raises(ValueError, match="tried first"):
            hash_password(f"{word} qzjx {word} {word}")


def test_the_page_tells_the_limits_that_are_in_force() -> None:
    hours = sessions.IDLE_LIMIT // timedelta(hours=1)
    minutes = sessions.SECOND_FACTOR_LIMIT // timedelta(minutes=1)
    for told in (
        f"Free are {attempts.FREE_ATTEMPTS} attempts of an account and {attempts.FREE_ATTEMPTS_OF_ADDRESS} of an address",
        f"from {attempts.FIRST_WAIT_S:.0f} second up to {attempts.LONGEST_WAIT_S:.0f}.",
        f"| in a browser | {hours} hours | {sessions.ABSOLUTE_LIMIT.days} days | any number |",
        f"| of an app | {logins.IDLE.days} days | {logins.ABSOLUTE.days} days | any number |",
        f"| a password that waits for its code | | {minutes} minutes | any number |",
        f"| by API token | | {DAYS_MAX} days; {DAYS_DEFAULT} when nothing is said | {TOKENS_MAX} of one holder;",
    ):
        assert told in RULES
