"""Which addresses a URL that somebody else chose may lead to: public ones, and those that the operator allows. Resolves nothing.

Source: the special-purpose registries of IANA for IPv4 and IPv6. They are written out because Python's own view of them
(`is_global`) differs between its releases.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network

#: Private, shared (carriers' NAT), loopback, link-local, documentation, benchmarks, multicast, reserved, broadcast.
_NOT_PUBLIC: Final = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
#: Of IPv6 only this is given out, and of it these are not for hosts: protocols and Teredo, documentation, 6to4.
_UNICAST: Final = IPv6Network("2000::/3")
_NOT_HOSTS: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
#: An IPv4 address as a network without IPv4 writes it: https://www.rfc-editor.org/rfc/rfc6052
_NAT64: Final = IPv6Network("64:ff9b::/96")


#: Where clouds give a machine its credentials: AWS, Google and most others; ECS and EKS; Alibaba; Oracle; Azure's host agent,
#: which is at a public address; and those of AWS and Google in IPv6.
_METADATA: Final = tuple(
    map(
        ip_address,
        (
            *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
            *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        ),
    )
)


def permitted(address: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether it may be connected to. What is no address is not permitted.

    An IPv4 address inside an IPv6 one counts as what it is. A cloud's metadata is allowed by its own address only, not by a
    network around it.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    inner = _inner(found)
    if inner in _METADATA:
        return any(network.num_addresses == 1 and inner in network for network in allowed)
    return any(one in network for one in (found, inner) for network in allowed) or _public(inner)


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def _public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    return address in _UNICAST and not any(address in network for network in _NOT_HOSTS)
