"""
The two state machines, pure and deterministic: `apply(command) -> events`.

Read in this order: codes, bits, pool, index, ticktree, book, ledger, transfers, listings, clientids, holds, roles, records, ubscore,
matching, exchange. Nothing here reads a clock, a file, a socket, the environment or a random number, and no float is used; the same
commands give the same bytes on every machine, compiled by mypyc or not.
"""
