"""Which kinds of events are wanted, in Python and in SQL alike."""

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Engine, text

from cloud_hub.events.kinds import IS_WANTED_SQL, KindPattern, is_wanted

CASES = [
    ("meter.commissioned", ["*"], True),
    ("meter.commissioned", ["meter.commissioned"], True),
    ("meter.commissioned", ["meter.*"], True),
    ("meter.commissioned", ["site.*", "meter.retired"], False),
    ("meterish.made", ["meter.*"], False),
    ("meter", ["meter.*"], False),
    ("command.state.done", ["command.*"], True),
    ("command.state.done", ["command.state.*"], True),
    ("command.done", ["command"], False),
    ("command.done", [], False),
]


@pytest.mark.parametrize(("kind", "patterns", "expected"), CASES)
def test_patterns_name_kinds_or_their_beginnings(kind: str, patterns: list[str], expected: bool) -> None:  # noqa: FBT001 - a case's result
    assert is_wanted(kind, patterns) is expected


def test_the_database_judges_kinds_as_python_does(engine: Engine) -> None:
    query = text("SELECT " + IS_WANTED_SQL.format(patterns="CAST(:patterns AS text[])", kind=":kind"))
    with engine.connect() as connection:
        judged = [connection.scalar(query, {"kind": kind, "patterns": patterns}) for kind, patterns, _ in CASES]
    assert judged == [expected for *_, expected in CASES]


@pytest.mark.parametrize("pattern", ["", "Meter.*", "meter*", "meter.", "*.made", "meter.*.made", "a b", "m" * 81])
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(KindPattern).validate_python(pattern)
