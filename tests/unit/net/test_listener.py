"""A socket to listen on."""

import socket

import pytest

from zerosum.net.listener import ListenFailed, listen


def test_an_address_in_use_is_named_with_its_setting() -> None:
    with listen("127.0.0.1", 0, setting="rest") as held:
        port = held.getsockname()[1]
        with pytest.raises(ListenFailed, match=rf"127.0.0.1:{port} .*in use.*\n.*rest.port"):
            listen("127.0.0.1", port, setting="rest")
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.1", port)) != 0
