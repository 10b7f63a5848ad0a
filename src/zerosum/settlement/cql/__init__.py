"""
The record in a CQL database: ScyllaDB, or Cassandra, which takes the same statements.

    session.py   the one module that knows the driver
    schema.py    the tables, by numbered migrations
    tables.py    which row goes where: partitions that do not grow without end
    store.py     writes a batch's rows, and its position when all of them are there
    history.py   what the gateway reads
"""
