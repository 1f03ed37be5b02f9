"""Find the group that was asked for and hand over. No group's libraries are imported before."""

import importlib
import sys

_GROUPS = {
    "demo": ("demo.cli", "demo", "run the whole system on this machine"),
    "edge": ("edge_agent.cli", "edge", "the agent on a site controller"),
    "hub": ("cloud_hub.cli", "hub", "the hub: web, ingest, work"),
    "provision": ("provisioning.cli", "edge", "files for controllers and brokers"),
    "simulate": ("simulator.cli", "edge", "simulated meters"),
}
_OUR_PACKAGES = frozenset({"protocol", "edge_agent", "cloud_hub", "provisioning", "simulator", "demo", "meterhaul"})


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_help())
        return 0 if arguments else 2
    group = arguments[0]
    if group not in _GROUPS:
        print(f"meterhaul: there is no command {group!r}.\n\n{_help()}", file=sys.stderr)
        return 2
    module_name, extra, _ = _GROUPS[group]
    try:
        return int(importlib.import_module(module_name).main(arguments[1:]))
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if not library or library in _OUR_PACKAGES:
            raise
        print(
            f"meterhaul {group}: the library {library!r} is not installed; "
            f"install it with: pip install 'meterhaul[{extra}]'",
            file=sys.stderr,
        )
        return 1


def _help() -> str:
    lines = ["usage: meterhaul <command> ...", "", "Remote energy monitoring for many small sites.", ""]
    lines += [f"  {name:<10} {what}" for name, (_, _, what) in _GROUPS.items()]
    lines += ["", "Each command tells more with --help."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
