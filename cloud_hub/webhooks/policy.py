"""What the operator allows webhooks beyond public addresses, HTTPS and the usual ports. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from cloud_hub.errors import SettingsError
from cloud_hub.settings import WEBHOOK_NETWORKS, WEBHOOK_PORTS, WebhookSettings

PORTS = frozenset({443, 80, 8080, 8443})


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """Where webhooks may lead; as it stands, what is right on the internet."""

    allows_http: bool = False
    """For laboratories: without TLS anybody on the way reads the messages."""
    ports: frozenset[int] = PORTS
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that may be sent to though they are not public."""


def read_policy(settings: WebhookSettings) -> WebhookPolicy:
    """Read what the settings say.

    Raises: SettingsError.
    """
    ports = [text.strip() for text in settings.ports.split(",") if text.strip()]
    if not all(port.isdecimal() and 0 < int(port) <= 0xFFFF for port in ports):
        raise SettingsError(f"{WEBHOOK_PORTS} is {settings.ports!r}: set it to ports such as 443,8443")
    try:
        networks = tuple(ip_network(text.strip()) for text in settings.networks.split(",") if text.strip())
    except ValueError as error:
        raise SettingsError(f"{WEBHOOK_NETWORKS} is wrong: {error}; set it to networks such as 10.1.0.0/16") from error
    return WebhookPolicy(settings.allows_http, frozenset(map(int, ports)) or PORTS, networks)
