"""
Settlement: the durable, queryable record of what the two machines did. It decides nothing, and checks everything on the way.

    batch.py    what is given to a store, and how far a store is          rows.py      what a row of each table holds
    accounts.py, market.py, klines.py, translator.py   events to rows     schema.py    the tables, and their versions
    sqlite.py   the store that writes                                     history.py   what the gateway reads
    verify.py   does the record add up?                                   export.py    the record as CSV

The whole record can be made again from the log.
"""
