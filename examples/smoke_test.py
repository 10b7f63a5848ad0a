"""
See that a deployment takes orders: place one that rests, find it at the gateway, cancel it, find it in the record. Standard library only.

    python3 examples/smoke_test.py KEY.json SYMBOL PRICE QUANTITY [BASE_URL]

KEY.json is what `zerosum key create ACCOUNT --cluster --json` printed. The order is a buy that never takes (LIMIT_MAKER): give a price
below the market's, and have PRICE x QUANTITY of the quote asset on the account.
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


class Client:
    def __init__(self, base_url: str, key: dict[str, Any]) -> None:
        self.base_url = base_url
        self.key = key

    def call(self, method: str, path: str, **params: str) -> Any:
        """Signed with HMAC-SHA256 over the query as it is sent. Ends with the exchange's own words if it refuses."""
        query = urllib.parse.urlencode({**params, "timestamp": int(time.time() * 1000)})
        query += "&signature=" + hmac.new(self.key["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(f"{self.base_url}{path}?{query}", method=method, headers={"X-MBX-APIKEY": self.key["api_key"]})
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path} was refused: {error.read().decode(errors='replace')}")
        except OSError as error:
            sys.exit(f"{self.base_url} does not answer: {error}")


def main() -> None:
    if len(sys.argv) not in (5, 6):
        sys.exit(str(__doc__).strip())
    key_file, symbol, price, quantity = sys.argv[1:5]
    client = Client(sys.argv[5] if len(sys.argv) == 6 else "http://127.0.0.1:8700", json.loads(Path(key_file).read_text()))
    placed = client.call("POST", "/api/v3/order", symbol=symbol, side="BUY", type="LIMIT_MAKER", price=price, quantity=quantity)
    print(f"placed    order {placed['orderId']}: buy {quantity} {symbol} at {price}")
    shown = client.call("GET", "/api/v3/openOrders", symbol=symbol)
    if placed["orderId"] not in [order["orderId"] for order in shown]:
        sys.exit("the order was acknowledged, and is not among the open orders")
    print(f"shown     among {len(shown)} open orders")
    canceled = client.call("DELETE", "/api/v3/order", symbol=symbol, orderId=str(placed["orderId"]))
    print(f"canceled  {canceled['status']}")
    (settled,) = [o for o in client.call("GET", "/api/v3/allOrders", symbol=symbol) if o["orderId"] == placed["orderId"]]
    print(f"settled   {settled['status']} in the record")
    if settled["status"] != "CANCELED":
        sys.exit("the record does not say that it was canceled")
    print("the deployment takes orders, and settles them")


if __name__ == "__main__":
    main()
