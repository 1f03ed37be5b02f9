"""Where the hub may send what somebody else chose: to public addresses, and never inwards.

An address is checked when it is saved, and again at each connection, on the very number that is connected to:
a name may lead elsewhere by then.
"""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from cloud_hub.errors import Invalid
from cloud_hub.webhooks.policy import WebhookPolicy

URL_LENGTH_MAX = 2000
RESOLVE_WITHIN_S = 5.0
_DEFAULT_PORTS = {"https": 443, "http": 80}
_HOST_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")

_FORBIDDEN: Final = tuple(
    ip_network(network)
    for network in (
        # IPv4: IANA's special-purpose registry (RFC 6890 and later), multicast, reserved.
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # A cloud's inner service that answers on a public number (Azure's).
        "168.63.129.16/32",
        # IPv6: protocol assignments with Teredo, documentation, 6to4; what is not global unicast is refused below.
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All else is loopback, link-local, private, multicast, NAT64 or IPv4 in disguise."""

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the numbers that a name stands for. Raises: OSError."""


class RefusedAddress(Invalid):
    """The hub does not send there."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver. Blocks for as long as that takes."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides where the hub may send to."""

    policy: WebhookPolicy = field(default_factory=WebhookPolicy)
    resolve: Resolve = resolve

    def check_url(self, url: str) -> SplitResult:
        """Check what an address says of itself; answers its parts.

        Raises: RefusedAddress.
        """
        try:
            parts = urlsplit(url)
            port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
        except ValueError as error:
            raise RefusedAddress(f"url is no address ({error}): write it as https://example.org/path") from error
        if len(url) > URL_LENGTH_MAX:
            raise RefusedAddress(f"url is longer than {URL_LENGTH_MAX} characters: shorten it")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise RefusedAddress(
                "url has letters that no address has: write it in ASCII, a name such as bücher as xn--bcher-kva"
            )
        schemes = ("https", "http") if self.policy.allows_http else ("https",)
        if parts.scheme not in schemes:
            raise RefusedAddress(f"url begins with {parts.scheme or 'nothing'}:, and must begin with {schemes[0]}://")
        if "@" in parts.netloc:
            raise RefusedAddress("url holds a user name or password: remove it; messages are signed instead")
        if parts.fragment:
            raise RefusedAddress("url holds a '#' part, which is never sent: remove it")
        if not parts.hostname or not (_is_number(parts.hostname) or set(parts.hostname) <= _HOST_LETTERS):
            raise RefusedAddress("url names no host: write it as https://example.org/path")
        if port not in self.policy.ports:
            allowed = ", ".join(map(str, sorted(self.policy.ports)))
            raise RefusedAddress(f"url names the port {port}: the hub sends to the ports {allowed}")
        return parts

    def check_reachable(self, url: str) -> None:
        """Check an address and the numbers that its name stands for now; waits for the resolver, but not for long.

        Raises: RefusedAddress.
        """
        parts = self.check_url(url)
        host = str(parts.hostname)
        pool = ThreadPoolExecutor(1, thread_name_prefix="resolve")
        try:
            pool.submit(self.open_numbers, host, parts.port or _DEFAULT_PORTS[parts.scheme]).result(RESOLVE_WITHIN_S)
        except TimeoutError as error:
            raise RefusedAddress(f"url: nobody says what {host} stands for: check the name, or try again") from error
        finally:
            pool.shutdown(wait=False)

    def open_numbers(self, host: str, port: int) -> Sequence[str]:
        """Return the numbers that a host stands for, if the hub may connect to every one of them.

        One forbidden number condemns all: a name that leads inwards at times is not to be trusted at others.
        Raises: RefusedAddress.
        """
        try:
            numbers = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise RefusedAddress(f"url: the name {host} cannot be found: check how it is written") from error
        if not numbers:
            raise RefusedAddress(f"url: the name {host} stands for no address")
        for number in numbers:
            if not self.may_connect(number):
                raise RefusedAddress(
                    f"url: {host} stands for {number}, which is not a public address: the hub sends to public ones"
                )
        return numbers

    def may_connect(self, number: str) -> bool:
        """Say whether the hub may connect to an IP address."""
        address = ip_address(number.partition("%")[0])
        if any(address in network for network in self.policy.networks if network.version == address.version):
            return True
        return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _FORBIDDEN if network.version == address.version)


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host
