"""
Place a limit order on a running `zerosum up`, look at it, and cancel it: the standard library only.

    python3 examples/place_order.py [DATA_DIRECTORY [BASE_URL]]
"""

import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

BASE_URL = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8700"


def call(method: str, path: str, key: dict[str, str] | None = None, **params: str | int) -> Any:
    """A request, signed with a key: HMAC-SHA256 over the query as it is sent. Ends with the exchange's own words if it refuses."""
    query = urllib.parse.urlencode({**params, "timestamp": int(time.time() * 1000)} if key else params)
    headers = {}
    if key:
        query += "&signature=" + hmac.new(key["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        headers["X-MBX-APIKEY"] = key["api_key"]
    try:
        request = urllib.request.Request(f"{BASE_URL}{path}?{query}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path} was refused: {said(error.read())}")
    except (OSError, ValueError) as error:
        sys.exit(f"{BASE_URL} does not answer: {error}. Start it with `zerosum up`, or name its address after the data directory.")


def said(body: bytes) -> str:
    """An error's code and text."""
    try:
        answer = json.loads(body)
        return f"{answer['code']}: {answer['msg']}"
    except (ValueError, KeyError, TypeError):
        return repr(body[:200])


def demo_key(data: Path) -> dict[str, str]:
    try:
        key: dict[str, str] = json.loads((data / "demo.json").read_text())["demo"]
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{data}/demo.json has no key: {error}. Name the data directory of an exchange with a demo market.")
    return key


def main() -> None:
    key = demo_key(Path(sys.argv[1] if len(sys.argv) > 1 else "zerosum-data"))
    depth = call("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5)
    if not depth["bids"]:
        sys.exit("There is no bid for BTCUSDT yet: try again in a moment.")
    price = f"{float(depth['bids'][0][0]) * 0.99:.2f}"
    order = call("POST", "/api/v3/order", key, symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price=price, quantity="0.001")
    print(f"order {order['orderId']}: buy 0.001 BTC at {price}: {order['status']}")
    open_orders = call("GET", "/api/v3/openOrders", key, symbol="BTCUSDT")
    print(f"open orders: {len(open_orders)}")
    canceled = call("DELETE", "/api/v3/order", key, symbol="BTCUSDT", orderId=str(order["orderId"]))
    print(f"order {canceled['orderId']}: {canceled['status']}")


if __name__ == "__main__":
    main()
