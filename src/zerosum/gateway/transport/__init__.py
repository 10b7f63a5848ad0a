"""
The doors for clients: what stands between their sockets and the Api.

    RestServer        rest.py        HTTP: an ASGI application behind the bounds of zerosum.net
    WebSocketServer   websocket.py   the WebSocket API, on picows

Always true:
  - one misbehaving client costs a bounded number of bytes, and is closed in a bounded time; nobody else notices
  - what was handed to the Api is answered if its client is still there, also while the server stops
  - nothing here knows a parameter, a signature or an order
"""
