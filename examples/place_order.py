"""
Place a limit order on a running `zerosum up`, look at it, and cancel it: the standard library only.

    python examples/place_order.py [DATA_DIRECTORY [BASE_URL]]
"""

import hashlib
import hmac
import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

BASE_URL = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8700"


def call(method: str, path: str, key: dict[str, str], **params: str | int) -> dict[str, object]:
    """A signed request: HMAC-SHA256 over the query as it is sent."""
    query = urllib.parse.urlencode({**params, "timestamp": int(time.time() * 1000)})
    signature = hmac.new(key["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"{BASE_URL}{path}?{query}&signature={signature}", method=method, headers={"X-MBX-APIKEY": key["api_key"]}
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "zerosum-data")
    key = json.loads((data / "demo.json").read_text())["demo"]
    with urllib.request.urlopen(f"{BASE_URL}/api/v3/depth?symbol=BTCUSDT&limit=5", timeout=5) as response:
        depth = json.load(response)
    price = f"{float(depth['bids'][0][0]) * 0.99:.2f}"
    order = call("POST", "/api/v3/order", key, symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price=price, quantity="0.001")
    print(f"order {order['orderId']}: buy 0.001 BTC at {price}: {order['status']}")
    open_orders = call("GET", "/api/v3/openOrders", key, symbol="BTCUSDT")
    print(f"open orders: {len(open_orders)}")
    canceled = call("DELETE", "/api/v3/order", key, symbol="BTCUSDT", orderId=str(order["orderId"]))
    print(f"order {canceled['orderId']}: {canceled['status']}")


if __name__ == "__main__":
    main()
