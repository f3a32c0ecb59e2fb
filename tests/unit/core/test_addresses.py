"""Where a webhook may be."""

from ipaddress import ip_network

import pytest

from worker.core.addresses import permitted

FORBIDDEN = {
    "loopback": "127.0.0.1",
    "all of loopback": "127.8.9.10",
    "this host": "0.0.0.0",
    "private, class A": "10.1.2.3",
    "private, class B": "172.31.255.255",
    "private, class C": "192.168.0.1",
    "carriers' NAT": "100.64.0.1",
    "link-local, a cloud's metadata": "169.254.169.254",
    "protocol assignments": "192.0.0.8",
    "documentation": "203.0.113.7",
    "benchmarks": "198.19.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "v6 loopback": "::1",
    "v6 unspecified": "::",
    "v6 link-local": "fe80::1",
    "v6 link-local with a zone": "fe80::1%eth0",
    "v6 unique local": "fd12:3456::1",
    "v6 site-local": "fec0::1",
    "v6 multicast": "ff02::1",
    "v6 documentation": "2001:db8::1",
    "v6 discard": "100::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "6to4 of a private address": "2002:a00:1::",
    "IPv4 mapped": "::ffff:10.0.0.1",
    "IPv4 mapped loopback": "::ffff:7f00:1",
    "IPv4 compatible": "::127.0.0.1",
    "NAT64 of a private address": "64:ff9b::a00:1",
    "NAT64 of another network": "64:ff9b:1::1",
    "Azure's host agent, at a public address": "168.63.129.16",
    "the same, mapped": "::ffff:168.63.129.16",
    "AWS's metadata in IPv6": "fd00:ec2::254",
    "no address": "localhost",
    "an address as a number": "2130706433",
    "nothing": "",
}
PUBLIC = {
    "v4": "93.184.215.14",
    "below carriers' NAT": "100.63.255.255",
    "above class B": "172.32.0.1",
    "v6": "2606:4700:4700::1111",
    "mapped": "::ffff:93.184.215.14",
    "NAT64": "64:ff9b::5db8:d70e",
}


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_is_not_public_is_forbidden(address):
    assert not permitted(address)


@pytest.mark.parametrize("address", PUBLIC.values(), ids=PUBLIC)
def test_what_is_public_is_permitted(address):
    assert permitted(address)


@pytest.mark.parametrize(
    ("address", "well"),
    [
        pytest.param("10.20.1.1", True, id="inside"),
        pytest.param("::ffff:10.20.1.1", True, id="inside, mapped"),
        pytest.param("10.21.0.1", False, id="beside"),
        pytest.param("fd00::7", True, id="inside, v6"),
        pytest.param("127.0.0.1", False, id="elsewhere"),
    ],
)
def test_an_allowed_network_is_permitted_and_nothing_beside_it(address, well):
    assert permitted(address, (ip_network("10.20.0.0/16"), ip_network("fd00::/8"))) == well


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_a_cloud_s_metadata_is_not_allowed_by_a_network_around_it(address):
    assert not permitted(address, (ip_network("0.0.0.0/0"), ip_network("::/0")))


def test_a_cloud_s_metadata_is_allowed_by_its_own_address():
    assert permitted("169.254.169.254", (ip_network("169.254.169.254/32"),))
