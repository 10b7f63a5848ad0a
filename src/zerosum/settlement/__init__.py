"""
Settlement: the durable, queryable record of what the two machines did. It decides nothing, and checks everything on the way.

    batch.py                     what is given to a store, and how far a store is
    accounts.py, orders.py       account events to rows
    market.py, klines.py         market events to rows
    translator.py                a batch of both streams to the rows of rows.py: pure, whatever the store
    schema.py, sqlite.py         the tables, and the store that writes them
    reading.py, history.py       what the gateway reads
    verify.py, export.py         does the record add up? the record as CSV
    errors.py                    what its operator must hear

The whole record can be made again from the log.
"""
