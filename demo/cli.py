"""`meterhaul demo`: the whole system on this machine."""

import argparse
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """Run the demo and return its exit code."""
    arguments = _parser().parse_args(argv)
    # The libraries of both halves are needed from here on only.
    import structlog  # noqa: PLC0415

    from demo.errors import DemoError  # noqa: PLC0415
    from demo.run import Demo  # noqa: PLC0415

    # Standard output is for the result alone.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    demo = Demo(
        arguments.data_dir.absolute(), seconds=arguments.seconds, as_json=arguments.json, web_port=arguments.port
    )
    try:
        return demo.run(fresh=arguments.fresh)
    except DemoError as error:
        print(f"meterhaul demo: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meterhaul demo",
        description="Run simulated meters, an agent, a broker, the hub and its page on this machine.",
    )
    parser.add_argument("--seconds", type=float, help="end by itself after this long; left out: at Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line on standard output")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs first")
    parser.add_argument("--port", type=int, help="of the page; left out: a free one")
    parser.add_argument("--data-dir", type=Path, default=Path(".demo"), help="where all data lives (default: .demo)")
    return parser
