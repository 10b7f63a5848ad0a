"""
Sockets for strangers, and their bounds: for every listener of a process, whatever it serves.

    listen      listener.py      a bound socket; visits to its connections now and then
    HttpServer  http_server.py   HTTP: an ASGI application on uvicorn, behind the bounds of http.py
                headers.py       what every answer says to browsers
    ServerTls   tls.py           TLS: what is spoken, and a certificate that may be renewed while it serves
                handshakes.py    a bounded handshake in front of either kind of server
                tls_transport.py  a connection over TLS
    DevAuthority  authority.py   certificates for development
                address.py       who a client is, and how many connections it has
                sparing_log.py   a log that no stranger can flood

Always true:
  - one misbehaving client costs a bounded number of bytes, and is closed in a bounded time; nobody else notices
  - nothing here knows what is served
"""
