"""
Loads for a whole cluster of real processes, and what must hold after them.

    market   symbols, users, keys           load      workers over the signed WebSocket API: place, cross, market, amend, cancel
    watch    processes, while it runs       checks    what must hold afterwards
    e2e      iterations of all that
"""
