"""The hub sends to public addresses and to no other, whatever a name or a number is made to look like."""

import socket
from ipaddress import ip_network

import pytest

from cloud_hub.errors import SettingsError
from cloud_hub.settings import WebhookSettings
from cloud_hub.webhooks.addresses import Gate, RefusedAddress
from cloud_hub.webhooks.policy import PORTS, WebhookPolicy, read_policy

FORBIDDEN = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.168.1.1", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.7"),
    *("203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::8.8.8.8", "64:ff9b::7f00:1"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("number", FORBIDDEN)
def test_addresses_that_are_not_public_are_refused(number: str) -> None:
    gate = Gate(resolve=lambda _host, _port: [number])
    assert not gate.may_connect(number)
    with pytest.raises(RefusedAddress, match="not a public address"):
        gate.open_numbers("harmless.example", 443)


@pytest.mark.parametrize("number", PUBLIC)
def test_public_addresses_are_open(number: str) -> None:
    assert Gate(resolve=lambda _host, _port: [number]).open_numbers("example.org", 443) == [number]


def test_one_forbidden_address_condemns_a_name() -> None:
    gate = Gate(resolve=lambda _host, _port: ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(RefusedAddress, match=r"10\.0\.0\.1"):
        gate.open_numbers("example.org", 443)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.org/", "must begin with https://"),
        ("ftp://example.org/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("gopher://example.org:443/", "must begin with https://"),
        ("example.org", "must begin with https://"),
        ("", "must begin with https://"),
        ("https://", "names no host"),
        ("https://user:pass@example.org/", "user name or password"),
        ("https://@example.org/", "user name or password"),
        ("https://example.org@127.0.0.1/", "user name or password"),
        ("https://example.org/#part", "'#' part"),
        ("https://example.org:22/", "the port 22"),
        ("https://example.org:0/", "the port"),
        ("https://example.org:99999/", "no address"),
        ("https://example.org:abc/", "no address"),
        ("https://[::1/", "no address"),
        ("https://exa mple.org/", "letters that no address has"),
        ("https://example.org/\r\nX-Evil: 1", "letters that no address has"),
        ("https://bücher.example/", "letters that no address has"),
        ("https://exam_ple.org/", "names no host"),
        ("https://[fe80::1%25eth0]/", "no host"),
        ("https://example.org/" + "a" * 2000, "longer than"),
    ],
)
def test_addresses_that_are_none_are_refused_in_a_sentence(url: str, said: str) -> None:
    with pytest.raises(RefusedAddress, match=said):
        Gate().check_url(url)


@pytest.mark.parametrize("url", ["https://example.org", "https://example.org:8443/a?b=c", "https://[2606:4700::1111]/"])
def test_addresses_on_the_internet_are_taken(url: str) -> None:
    Gate().check_url(url)


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0"], ids=lambda host: host
)
def test_loopback_is_known_in_every_spelling(host: str) -> None:
    with pytest.raises(RefusedAddress, match="not a public address"):
        Gate().check_reachable(f"https://{host}/")


def test_a_name_that_nobody_knows_is_said_so() -> None:
    def fail(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(RefusedAddress, match=r"nowhere\.example cannot be found"):
        Gate(resolve=fail).check_reachable("https://nowhere.example/")


def test_the_operator_can_open_networks_ports_and_http() -> None:
    policy = read_policy(WebhookSettings(allows_http=True, ports="8080, 9000", networks="10.1.0.0/16,fd12::/32"))
    assert policy == WebhookPolicy(
        allows_http=True,
        ports=frozenset({8080, 9000}),
        networks=(ip_network("10.1.0.0/16"), ip_network("fd12::/32")),
    )
    gate = Gate(policy)
    gate.check_url("http://example.org:9000/")
    assert gate.may_connect("10.1.200.7")
    assert gate.may_connect("fd12::7")
    assert not gate.may_connect("10.2.0.1")
    assert read_policy(WebhookSettings()) == WebhookPolicy(ports=PORTS)


@pytest.mark.parametrize(
    "settings",
    [WebhookSettings(ports="https"), WebhookSettings(ports="70000"), WebhookSettings(networks="10.0.0.1/8")],
    ids=["word", "high", "host bits"],
)
def test_settings_that_make_no_sense_are_refused(settings: WebhookSettings) -> None:
    with pytest.raises(SettingsError, match="METERHAUL_WEBHOOK_"):
        read_policy(settings)
