"""Set up the agent's log: readable lines on a terminal, one JSON object per line elsewhere, on standard error."""

import logging
import sys
from typing import TextIO

import structlog

from edge_agent.settings import LogSettings


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
            structlog.dev.ConsoleRenderer(colors=out.isatty()) if as_text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    # The Modbus library logs each fault that `edge_agent.modbus` raises; either log or raise, not both.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
