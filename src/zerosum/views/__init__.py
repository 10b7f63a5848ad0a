"""
What the gateway knows of the exchange without asking it: balances, open orders, books, last trades. Built from the events of both streams,
in the same process, without I/O.

    Views      views.py      the whole; apply events, ask
    unpacked   events.py     a stream's bytes as events
"""
