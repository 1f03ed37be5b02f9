"""Set up the agent's log: readable lines on a terminal, one JSON object per line elsewhere, on standard error."""

import logging
import sys
from collections import deque
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from edge_agent.settings import LogSettings

_LINES_KEPT, _LINE_CHARACTERS = 100, 600

_as_json = structlog.processors.JSONRenderer()
_kept: deque[str] = deque(maxlen=_LINES_KEPT)


def last_lines() -> list[str]:
    """Return the newest log lines as JSON, oldest first, each cut to a bearable length."""
    return list(_kept)


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send log events to `stream`, standard error unless given. Each line is written at once."""
    out = sys.stderr if stream is None else stream
    as_text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _keep,
            structlog.dev.ConsoleRenderer(colors=out.isatty()) if as_text else _as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    # The Modbus library logs each fault that `edge_agent.bus` raises; either log or raise, not both.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


def _keep(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Keep a line for whoever asks what happened here."""
    _kept.append(str(_as_json(logger, name, dict(event)))[:_LINE_CHARACTERS])
    return event
