"""Differences name what a person would say has changed."""

from typing import Any

import pytest

from cloud_hub.configuration.differences import Difference, differences

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[Difference]]] = {
    "nothing": ({"a": [1, {"id": "x"}]}, {"a": [1, {"id": "x"}]}, []),
    "a value": ({"a": {"b": 1}}, {"a": {"b": 2}}, [Difference("a.b", 1, 2)]),
    "a new key": ({}, {"a": 1}, [Difference("a", None, 1)]),
    "a key that is gone": ({"a": 1}, {}, [Difference("a", 1, None)]),
    "an entry in the middle": (
        {"m": [{"id": "x"}, {"id": "z"}]},
        {"m": [{"id": "x"}, {"id": "y"}, {"id": "z"}]},
        [Difference("m[y]", None, {"id": "y"})],
    ),
    "an entry by its point": (
        {"f": [{"point": "p", "factor": "1"}]},
        {"f": [{"point": "p", "factor": "2"}]},
        [Difference("f[p].factor", "1", "2")],
    ),
    "the order": (
        {"m": [{"id": "x"}, {"id": "y"}]},
        {"m": [{"id": "y"}, {"id": "x"}]},
        [Difference("m (order)", ["x", "y"], ["y", "x"])],
    ),
    "a list without names": ({"p": ["a", "b"]}, {"p": ["a"]}, [Difference("p", ["a", "b"], ["a"])]),
    "names that come twice": (
        {"m": [{"id": "x"}]},
        {"m": [{"id": "x"}, {"id": "x"}]},
        [Difference("m", [{"id": "x"}], [{"id": "x"}, {"id": "x"}])],
    ),
    "a list that was empty": ({"m": []}, {"m": [{"id": "x"}]}, [Difference("m[x]", None, {"id": "x"})]),
}


@pytest.mark.parametrize(("before", "after", "expected"), CASES.values(), ids=CASES)
def test_differences(before: dict[str, Any], after: dict[str, Any], expected: list[Difference]) -> None:
    assert differences(before, after) == expected
