"""What a person can put right when the demo does not start. `str(error)` is the sentence to show."""


class DemoError(Exception):
    """A part of the demo cannot run; the message says why and what to do."""

    exit_code = 1


class MissingProgram(DemoError):
    """A program that must be installed is not; the message names the command that installs it."""

    exit_code = 78


class NotReady(DemoError):
    """A part did not do what was waited for before its deadline, or it ended early."""
