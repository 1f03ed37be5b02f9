"""`meterhaul hub import | export | archive`: files in and out, for operators."""

from typing import Any

from cloud_hub.transfer.archive_command import add_archive
from cloud_hub.transfer.export_command import add_export
from cloud_hub.transfer.import_command import add_import


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`; what they need is loaded when they run."""
    add_import(commands)
    add_export(commands)
    add_archive(commands)
