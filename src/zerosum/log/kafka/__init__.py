"""
Streams in Kafka: each a partition of a topic, its messages ours as they are.

    link.py      one process's connection, and the streams that it has
    sending.py   sessions of a producer: what is acknowledged stays, in the order sent, and a session that failed is done
    reading.py   the consumer: a thread that fetches, and hands over to the event loop
    settings.py  how a process reaches it, and what it bears
    topics.py    what the topics must be like; makes them
"""
