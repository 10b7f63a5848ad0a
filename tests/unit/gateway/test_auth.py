"""Who signed what: known signatures of known requests, and everything that must not pass."""

from __future__ import annotations

import pytest

from zerosum.gateway.auth import check_rest, check_ws, without_signature
from zerosum.gateway.errors import ApiError
from zerosum.gateway.parameters import of_rest, of_ws
from zerosum.identity.keyring import ApiKey
from zerosum.identity.keys import KeyRecord

# Keys and signatures that the API which clients know was documented with.
API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
ORDER = b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
REST = b"quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
TOGETHER = b"c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
APART = b"0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
WS_SIGNATURE = "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a"
WS_PARAMS = (
    b'{"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000", "price": "52000.00",'
    b' "newOrderRespType": "ACK", "recvWindow": 100, "timestamp": 1645423376532, "apiKey": "%b", "signature": "%b"}'
)

KEY = ApiKey(API_KEY, KeyRecord(account_id=16, permissions=("TRADE",), signs_by="HMAC", secret=SECRET))


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (ORDER + b"&" + REST + b"&signature=" + TOGETHER, b""),
        (b"", ORDER + b"&" + REST + b"&signature=" + TOGETHER),
        (ORDER, REST + b"&signature=" + APART),
        (ORDER + b"&signature=" + APART, REST),
        (b"signature=" + TOGETHER + b"&" + ORDER + b"&" + REST, b""),
        (ORDER + b"&signature=" + TOGETHER.upper() + b"&" + REST, b""),
    ],
)
def test_a_rest_signature_is_over_query_and_body_as_sent(query: bytes, body: bytes) -> None:
    check_rest(KEY, of_rest(query, body), query, body)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (REST + b"&" + ORDER + b"&signature=" + TOGETHER, b""),  # another order
        (ORDER + b"&" + REST + b"&signature=" + APART, b""),  # joined with "&"
        (ORDER.replace(b"BUY", b"SELL") + b"&" + REST + b"&signature=" + TOGETHER, b""),
        (ORDER + b"&" + REST.replace(b"price=0.1", b"price=0%2E1") + b"&signature=" + TOGETHER, b""),  # the same value, other bytes
        (ORDER + b"&" + REST + b"&%73ignature=" + TOGETHER, b""),
    ],
)
def test_other_bytes_have_another_signature(query: bytes, body: bytes) -> None:
    with pytest.raises(ApiError, match="Signature for this request is not valid"):
        check_rest(KEY, of_rest(query, body), query, body)


def test_a_websocket_signature_is_over_sorted_parameters() -> None:
    check_ws(KEY, of_ws(WS_PARAMS % (API_KEY.encode(), WS_SIGNATURE.encode())))


@pytest.mark.parametrize(("was", "becomes"), [(b'"52000.00"', b'"52000.0"'), (b"100", b"1e2"), (b"SELL", b"BUY")])
def test_other_websocket_parameters_have_another_signature(was: bytes, becomes: bytes) -> None:
    with pytest.raises(ApiError, match="Signature for this request is not valid"):
        check_ws(KEY, of_ws((WS_PARAMS % (API_KEY.encode(), WS_SIGNATURE.encode())).replace(was, becomes)))


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"", b""),
        (b"a=1", b"a=1"),
        (b"a=1&signature=x", b"a=1"),
        (b"signature=x&a=1", b"a=1"),
        (b"signature=x", b""),
        (b"a=1&signature=x&b=2", b"a=1&b=2"),
        (b"a=1&mysignature=x", b"a=1&mysignature=x"),
        (b"a=signature=x", b"a=signature=x"),
    ],
)
def test_only_the_signature_is_taken_out(raw: bytes, left: bytes) -> None:
    assert without_signature(raw) == left
