"""
A real Kafka and a real Cassandra on this machine, for development, tests and demonstrations: small, on free ports of 127.0.0.1, no Docker.

    jars.py        the servers' jars, by Maven, into a cache, each held to its checksum
    process.py     one process: started, watched, ended; none outlives whoever started it
    server.py      one Java process
    security.py    an authority and passwords, for servers that ask who somebody is
    kafka.py       a broker: its configuration, its formatted disk
    cassandra.py   the same for the database, which stands in for ScyllaDB: the same CQL
    cluster.py     all of them together, and what they are reached by
    keeper.py      the process that holds them in the background
    services.py    one service of a cluster as a process: `zerosum run ...`
    deployment.py  a whole cluster: the servers, and every service

Those of a whole cluster (deployment.py) speak TLS, ask who somebody is and hold everybody to what they were granted; those that are started
alone, for other clients, ask nobody. Not for production: one database node, heaps of some hundred megabytes.
"""
