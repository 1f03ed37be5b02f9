"""The command `meterhaul`: one name for the edge, the hub, provisioning, the simulator and the demo."""

from importlib.metadata import version

__version__ = version("meterhaul")
