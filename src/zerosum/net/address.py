"""
Who a client is: its address, one text for each however it is written; and how many connections each address has.
"""

from __future__ import annotations

from asyncio import BaseTransport
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, final

TEXT_CHARS_MAX: Final = 64
"""More than an address has. Strangers write what is looked at here, and what is remembered of it must stay small."""


def canonical(text: str) -> str:
    """
    The one way in which an address is written here: ::ffff:10.0.0.1 is 10.0.0.1, and 0:0:0:0:0:0:0:1 is ::1. What is no address stays.

    A socket that listens for both families names clients of the older one in the first of these forms.
    """
    return text if len(text) > TEXT_CHARS_MAX else _canonical(text)


@lru_cache(maxsize=4_096)
def _canonical(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def accountable(address: str) -> str:
    """
    What stands for whoever has an address, in counts of what they do: the address; of IPv6 the network of 64 bits, for who has one address
    there has all of them.
    """
    return address if ":" not in address or len(address) > TEXT_CHARS_MAX else _network_of(address)


@lru_cache(maxsize=4_096)
def _network_of(text: str) -> str:
    try:
        return str(ip_network((text, 64), strict=False))
    except ValueError:
        return text


def addresses(texts: Iterable[str]) -> frozenset[str]:
    """The same of several."""
    return frozenset(canonical(text) for text in texts)


def peer_of(transport: BaseTransport) -> str:
    """The address at the other end of a connection."""
    name = transport.get_extra_info("peername")
    return canonical(name[0]) if name else ""


def client_address(peer: str, forwarded_for: Iterable[str], trusted_proxies: frozenset[str]) -> str:
    """
    The address that a client's limits count by: its own, or what the trusted proxy in front says it is. `trusted_proxies` are canonical.

    `forwarded_for` holds the values of X-Forwarded-For, in order. A client can write there what it likes, and each proxy adds what it saw
    at the end: so the last one that is no proxy of ours is the client.
    """
    peer = canonical(peer)
    if peer not in trusted_proxies:
        return peer
    for hop in reversed([canonical(hop.strip()) for value in forwarded_for for hop in value.split(",")]):
        if hop and hop not in trusted_proxies:
            return hop
    return peer


@final
class AddressCounts:
    """How many connections each address has, up to `most`. Trusted proxies stand for many clients: theirs are not counted."""

    def __init__(self, most: int, trusted_proxies: frozenset[str]) -> None:
        self._most: Final = most
        self._trusted_proxies: Final = trusted_proxies
        self._counts: dict[str, int] = {}
        self.total = 0  # taken and not given back, those of proxies too

    def has_room(self, address: str) -> bool:
        return self._counts.get(address, 0) < self._most

    def take(self, address: str) -> None:
        """One more."""
        self.total += 1
        if address not in self._trusted_proxies:
            self._counts[address] = self._counts.get(address, 0) + 1

    def give_back(self, address: str) -> None:
        """One that was taken has ended."""
        self.total -= 1
        if address in self._trusted_proxies:
            return
        if self._counts[address] > 1:
            self._counts[address] -= 1
        else:
            del self._counts[address]
