"""Who a client is, however its address is written, and how many connections it has."""

import pytest

from zerosum.net.address import AddressCounts, addresses, canonical, client_address


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::FFFF:0a00:0001", "10.0.0.1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("10.0.0.01", "10.0.0.01"),  # no address: whether that is octal is anybody's guess
        ("", ""),
    ],
)
def test_an_address_is_written_in_one_way(text: str, written: str) -> None:
    assert canonical(text) == written


def test_a_trusted_proxy_is_known_however_it_is_written() -> None:
    assert addresses(["::ffff:10.0.0.1", "0:0:0:0:0:0:0:1"]) == {"10.0.0.1", "::1"}


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("9.9.9.9", [], "9.9.9.9"),
        ("9.9.9.9", ["1.1.1.1"], "9.9.9.9"),  # anybody can write that
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),  # the client wrote the first
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", [" , "], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["1.1.1.1, ::ffff:10.0.0.2"], "1.1.1.1"),  # a proxy, as a socket for both families names it
        ("10.0.0.1", ["2001:DB8:0:0:0:0:0:1"], "2001:db8::1"),
        ("10.0.0.1", ["unknown"], "unknown"),
        ("10.0.0.1", ["x" * 1000], "x" * 1000),
    ],
)
def test_a_proxy_is_believed_only_where_it_is_trusted(peer: str, forwarded_for: list[str], client: str) -> None:
    assert client_address(peer, forwarded_for, frozenset({"10.0.0.1", "10.0.0.2"})) == client


def test_an_address_has_room_until_it_has_its_most() -> None:
    counts = AddressCounts(2, frozenset({"10.0.0.1"}))
    for _ in range(2):
        assert counts.has_room("1.1.1.1")
        counts.take("1.1.1.1")
    assert not counts.has_room("1.1.1.1")
    assert counts.has_room("2.2.2.2")
    counts.give_back("1.1.1.1")
    assert counts.has_room("1.1.1.1")


def test_a_trusted_proxy_always_has_room() -> None:
    counts = AddressCounts(1, frozenset({"10.0.0.1"}))
    for _ in range(5):
        counts.take("10.0.0.1")
        assert counts.has_room("10.0.0.1")
    counts.give_back("10.0.0.1")
