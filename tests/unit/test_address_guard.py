"""Where messages may go: nowhere in the operator's own network, in whatever way that is written."""

import asyncio
from ipaddress import ip_address

import pytest

from hutong.connectors.webhook import AddressGuard, Target
from hutong.kernel.errors import DeliveryRefused, InvalidInput

OWN = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.0.0.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # where clouds keep a machine's credentials
    "100.64.0.1",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fd12::1]",
    "[ff02::1]",
    "[::ffff:10.0.0.3]",
    "[64:ff9b::a00:3]",
    "[2002:a00:3::1]",
]


@pytest.mark.parametrize("host", OWN)
def test_the_own_network_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"points at|points into"):
        AddressGuard().check(f"http://{host}/notify")


@pytest.mark.parametrize("host", ["203.0.114.9", "8.8.8.8", "[2606:4700::1111]", "city.example"])
def test_public_addresses_and_names_are_taken(host: str) -> None:
    AddressGuard().check(f"https://{host}:8443/notify")


def test_the_reason_names_the_address() -> None:
    with pytest.raises(InvalidInput, match=r"it points into this machine's own network: 10\.0\.0\.3"):
        AddressGuard().check("http://10.0.0.3/")
    with pytest.raises(InvalidInput, match=r"it points at this machine itself: 127\.0\.0\.1"):
        AddressGuard().check("http://127.0.0.1/")


def test_what_the_operator_allows_is_taken_and_nothing_beside_it() -> None:
    guard = AddressGuard(["10.1.0.0/16", "192.168.7.7", "Broker.Internal"])
    guard.check("http://10.1.2.3/")
    guard.check("http://192.168.7.7/")
    for other in ("10.2.0.1", "192.168.7.8", "127.0.0.1"):
        with pytest.raises(InvalidInput):
            guard.check(f"http://{other}/")
    assert guard._refused("broker.internal", ip_address("10.9.9.9")) == ""
    AddressGuard(loopback=True).check("http://127.0.0.1:9/")
    with pytest.raises(InvalidInput):
        AddressGuard(loopback=True).check("http://10.0.0.1/")


@pytest.mark.parametrize("wrong", ["10.1.0.0/99", "http://10.0.0.1", ""])
def test_an_allowance_that_is_no_network_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="neither a network nor a host"):
        AddressGuard([wrong])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://city.example/",
        "file:///etc/passwd",
        "city.example",
        "http://",
        "http://user:secret@city.example/",
        "http://city.example:99999/",
        "http://city.example:0/",
        "http://city.example/a b",
        "http://city.example/\r\nHost: other",
        "http://[::1/",
        "http://" + "a" * 64 + ".example/",
        "http://city.example/" + "a" * 2_000,
    ],
)
def test_what_is_no_address_of_a_receiver_is_refused_without_telling_secrets(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Target.of(url)
    assert "secret" not in str(caught.value)


def test_addresses_are_taken_apart() -> None:
    assert Target.of("HTTPS://City.Example/北?q=1") == Target(
        True, "city.example", 443, "city.example", "/%E5%8C%97?q=1"
    )
    assert Target.of("http://[2001:db8::1]:8080") == Target(False, "2001:db8::1", 8080, "[2001:db8::1]:8080", "/")
    assert Target.of("http://bücher.example/").host == "xn--bcher-kva.example"


def test_every_answer_of_a_name_is_looked_at() -> None:
    async def look() -> None:
        async def answers(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(0, 0, 0, "", ("8.8.8.8", 80)), (0, 0, 0, "", ("10.0.0.3", 80))]

        loop = asyncio.get_running_loop()
        loop.getaddrinfo = answers  # type: ignore[assignment,method-assign]  # no test asks a real name server
        with pytest.raises(DeliveryRefused, match=r"city\.example points into this machine's own network: 10\.0\.0\.3"):
            await AddressGuard().resolve(Target.of("http://city.example/"))
        assert await AddressGuard(["city.example"]).resolve(Target.of("http://city.example/")) == [
            "8.8.8.8",
            "10.0.0.3",
        ]

    asyncio.run(look())
