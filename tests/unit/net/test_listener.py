"""A socket to listen on."""

import socket

import pytest

from zerosum.net.listener import ListenFailed, bind


def test_an_address_in_use_is_named_with_its_setting() -> None:
    with bind("127.0.0.1", 0, setting="rest") as held:
        port = held.getsockname()[1]
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0, "nobody serves it yet: a client is not kept waiting"
        held.listen()
        with pytest.raises(ListenFailed, match=rf"127.0.0.1:{port} .*in use.*\n.*rest.port"):
            bind("127.0.0.1", port, setting="rest")
    with pytest.raises(ListenFailed, match="cannot be listened on"):
        bind("a" * 300, 0, setting="rest")
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.1", port)) != 0
