"""Streams in a real Kafka keep the promises of zerosum.log.streams, also where the broker fails."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # the library's own way to export them
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zerosum.devcluster.cluster import DevCluster
from zerosum.devcluster.server import Server
from zerosum.log.kafka.link import KafkaLink, KafkaStream, StreamCut
from zerosum.log.kafka.reading import ReadingFailed
from zerosum.log.kafka.settings import KafkaSettings
from zerosum.log.kafka.topics import Replication, Topics, TopicsWrong
from zerosum.log.streams import DeliveryFailed, StreamPruned
from zerosum.services.cluster.control import Decision, Decisions, Operators

ONE_BROKER = Replication(1, 1)
PARTITIONS = {"commands": 3, "control": 1}


@asynccontextmanager
async def linked(settings: KafkaSettings, said: list[str] | None = None) -> AsyncIterator[KafkaLink]:
    await Topics(settings, PARTITIONS, ONE_BROKER).make()
    link = KafkaLink(settings, (said if said is not None else []).append)
    try:
        yield link
    finally:
        await link.close()


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """For as long as the block lasts."""
    server.kill()
    try:
        yield
    finally:
        server.start()
        server.wait()


async def read_all(stream: KafkaStream, first: int, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        messages = await stream.read(first + len(found))
        assert [each.offset for each in messages] == list(range(first + len(found), first + len(found) + len(messages)))
        found += [each.data for each in messages]
    return found


async def test_what_is_acknowledged_stays_in_the_order_of_the_calls(kafka: KafkaSettings) -> None:
    async with linked(kafka) as link:
        stream = link.stream("commands.1")
        assert await stream.ends() == (0, 0)
        writer = stream.writer()
        sent = [b"%d" % number for number in range(500)]
        assert await asyncio.gather(*map(writer.append, sent)) == list(range(500))
        assert await read_all(stream, 0, 500) == sent
        assert await stream.ends() == (0, 500)
        assert await link.stream("commands.2").ends() == (0, 0), "another partition"
        assert (await link.stream("commands.1").read(498))[0].data == b"498", "from wherever one stands"


async def test_the_stream_s_clock_stamps(kafka: KafkaSettings) -> None:
    async with linked(kafka) as link:
        stream = link.stream("control")
        await stream.writer().append(b"now")
        (message,) = await stream.read(0)
        assert abs(message.time_us - time.time_ns() // 1000) < 5_000_000
        assert abs(link.clock_ahead_us) < 1_000_000, "the broker is on this machine"


async def test_a_reader_waits_for_what_comes(kafka: KafkaSettings) -> None:
    async with linked(kafka) as link:
        stream, writer = link.stream("commands.0"), link.stream("commands.0").writer()
        waiting = asyncio.create_task(stream.read(0))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await writer.append(b"there")
        assert [each.data for each in await waiting] == [b"there"]


async def test_a_slow_reader_bounds_what_is_fetched_and_misses_nothing(kafka: KafkaSettings) -> None:
    """Its stream is paused, and others go on."""
    small = KafkaSettings(kafka.servers, kafka.prefix, buffered_bytes=100_000)
    async with linked(small) as link:
        stream, other = link.stream("commands.0"), link.stream("commands.1")
        writer = stream.writer()
        sent = [bytes([number % 251]) * 5_000 for number in range(2_000)]
        await asyncio.gather(*map(writer.append, sent))
        assert (await stream.read(0))[0].data == sent[0]
        await asyncio.sleep(0.5)
        assert stream.buffered_bytes < 3 << 20, "of ten megabytes; a broker gives what was sent together, which is one, as a whole"
        await other.writer().append(b"passes")
        assert (await other.read(0))[0].data == b"passes"
        assert await read_all(stream, 0, len(sent)) == sent


async def test_what_is_not_there_is_told(kafka: KafkaSettings) -> None:
    async with linked(kafka) as link:
        stream = link.stream("commands.0")
        await asyncio.gather(*map(stream.writer().append, [b"x"] * 10))
        with pytest.raises(StreamCut, match="message 500 is wanted, and the stream ends at 10"):
            await stream.read(500)
        client = AdminClient({"bootstrap.servers": kafka.servers})
        deleted = client.delete_records([TopicPartition(f"{kafka.prefix}.commands", 0, 4)])
        await asyncio.gather(*map(asyncio.wrap_future, deleted.values()))
        assert await stream.ends() == (4, 10)
        with pytest.raises(StreamPruned, match="message 2 is wanted, and the earliest that is kept is 4"):
            await stream.read(2)
        assert len(await read_all(stream, 4, 6)) == 6


async def test_a_broker_that_is_held_up_delays_and_loses_nothing(kafka: KafkaSettings, servers: DevCluster) -> None:
    (broker,) = servers.brokers
    async with linked(kafka) as link:
        stream = link.stream("commands.0")
        writer = stream.writer()
        await writer.append(b"before")
        broker.signal(signal.SIGSTOP)
        late = [asyncio.create_task(writer.append(b"%d" % number)) for number in range(5)]
        await asyncio.sleep(1.0)
        assert not any(task.done() for task in late)
        broker.signal(signal.SIGCONT)
        assert await asyncio.gather(*late) == [1, 2, 3, 4, 5]
        assert await read_all(stream, 0, 6) == [b"before", b"0", b"1", b"2", b"3", b"4"]


async def test_a_session_that_failed_is_done_and_the_next_goes_on(kafka: KafkaSettings, servers: DevCluster) -> None:
    """What was under way may be there, but nothing of it behind a gap; a reader goes on by itself when the broker is back."""
    (broker,) = servers.brokers
    said: list[str] = []
    async with linked(kafka, said) as link:
        stream = link.stream("commands.0")
        writer = stream.writer()
        await writer.append(b"before")
        assert [each.data for each in await stream.read(0)] == [b"before"]
        waiting = asyncio.create_task(stream.read(1))
        with killed(broker):
            results = await asyncio.gather(*(writer.append(b"lost %d" % number) for number in range(3)), return_exceptions=True)
            assert all(isinstance(result, DeliveryFailed) for result in results)
            with pytest.raises(DeliveryFailed):
                await writer.append(b"never")
            assert link.silent_s > 4
        again = stream.writer()
        offset = await again.append(b"after")
        assert await waiting, "by itself"
        found = await read_all(link.stream("commands.0"), 0, offset + 1)
        kept = [f"lost {number}".encode() for number in range(3)]
        assert found[0] == b"before"
        assert found[-1] == b"after"
        assert found[1:-1] == kept[: len(found) - 2]
    assert any("_ALL_BROKERS_DOWN" in line for line in said), "whoever operates it is told"


async def test_what_waits_for_another_producer_comes_after_what_was_under_way(kafka: KafkaSettings, servers: DevCluster) -> None:
    (broker,) = servers.brokers
    async with linked(kafka) as link:
        writer, session = link.stream("commands.0").writer(), link.session()
        await writer.append(b"before")
        broker.signal(signal.SIGSTOP)
        under_way = [asyncio.create_task(writer.append(b"under way %d" % number)) for number in range(3)]
        await asyncio.sleep(0.1)
        renewed = asyncio.create_task(session.renew(kafka))
        await asyncio.sleep(0.1)
        held = [asyncio.create_task(writer.append(b"held %d" % number)) for number in range(3)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in (*under_way, renewed, *held))
        broker.signal(signal.SIGCONT)
        await renewed
        assert await asyncio.gather(*under_way, *held) == [1, 2, 3, 4, 5, 6]
        assert await writer.append(b"after") == 7


async def test_another_producer_comes_however_much_is_sent(kafka: KafkaSettings) -> None:
    """There is always something under way, unless what comes waits."""
    async with linked(kafka) as link:
        writer, session, sent, enough = link.stream("commands.0").writer(), link.session(), list[int](), asyncio.Event()

        async def send() -> None:
            while not enough.is_set():
                sent.append(await writer.append(b"all the time"))

        senders = [asyncio.create_task(send()) for _ in range(20)]
        for _ in range(5):
            await asyncio.wait_for(session.renew(kafka), 30.0)
            count = len(sent)
            while len(sent) < count + 100:  # noqa: ASYNC110  many tasks send
                await asyncio.sleep(0.01)
        enough.set()
        await asyncio.wait_for(asyncio.gather(*senders), 30.0)
        assert sorted(sent) == list(range(len(sent)))


async def test_what_waits_for_another_producer_fails_with_what_was_under_way(kafka: KafkaSettings, servers: DevCluster) -> None:
    """Nothing may follow a gap, also not by way of another producer."""
    (broker,) = servers.brokers
    async with linked(kafka) as link:
        writer, session = link.stream("commands.0").writer(), link.session()
        await writer.append(b"before")
        with killed(broker):
            under_way = asyncio.create_task(writer.append(b"under way"))
            await asyncio.sleep(0.1)
            renewed = asyncio.create_task(session.renew(kafka))
            await asyncio.sleep(0.1)
            held = asyncio.create_task(writer.append(b"held"))
            results = await asyncio.gather(under_way, held, return_exceptions=True)
            assert [type(result) for result in results] == [DeliveryFailed, DeliveryFailed]
            await renewed
            with pytest.raises(DeliveryFailed):
                await writer.append(b"never")
        await link.stream("commands.0").writer().append(b"after")
        found = await link.stream("commands.0").read(0)
        assert [each.data for each in found if each.data != b"under way"] == [b"before", b"after"]


async def test_topics_are_made_once_and_held_to_what_they_must_be(kafka: KafkaSettings) -> None:
    topics = Topics(kafka, PARTITIONS, ONE_BROKER)
    with pytest.raises(TopicsWrong, match=rf"The topic {kafka.prefix}.commands is missing: make it with `zerosum cluster init`"):
        await topics.check()
    assert len(await topics.make()) == 2
    ids = await topics.check()
    assert await topics.make() == []
    assert await topics.check() == ids
    with pytest.raises(TopicsWrong, match=r"commands has 3 partitions, and the deployment 4: that can't be changed"):
        await Topics(kafka, {"commands": 4}, ONE_BROKER).check()


async def test_more_replicas_than_brokers_are_refused(kafka: KafkaSettings) -> None:
    with pytest.raises(TopicsWrong, match=r"kafka.replication is 3, and there are fewer brokers: set it and kafka.in_sync to no more"):
        await Topics(kafka, PARTITIONS, Replication(3, 2)).make()


async def test_topics_with_fewer_replicas_than_wanted_are_refused(kafka: KafkaSettings) -> None:
    await Topics(kafka, PARTITIONS, ONE_BROKER).make()
    with pytest.raises(TopicsWrong, match=rf"The topic {kafka.prefix}.control has 1 replicas, and kafka.replication is 3: give it more"):
        await Topics(kafka, PARTITIONS, Replication(3, 1)).make()
    with pytest.raises(TopicsWrong, match=rf"min.insync.replicas of the topic {kafka.prefix}.control is 1, and kafka.in_sync is 2"):
        await Topics(kafka, PARTITIONS, Replication(1, 2)).check()


async def test_a_topic_that_forgets_is_refused(kafka: KafkaSettings) -> None:
    client = AdminClient({"bootstrap.servers": kafka.servers})
    made = client.create_topics([NewTopic(f"{kafka.prefix}.control", 1, 1, config={"retention.ms": "1000"})])
    await asyncio.gather(*map(asyncio.wrap_future, made.values()))
    with pytest.raises(TopicsWrong, match=rf"retention.ms of the topic {kafka.prefix}.control is 1000, and must be -1"):
        await Topics(kafka, {"control": 1}, ONE_BROKER).check()


async def test_the_roles_of_a_process_read_the_control_stream_one_after_the_other(kafka: KafkaSettings) -> None:
    said: list[str] = []
    async with linked(kafka, said) as link:
        key = Ed25519PrivateKey.generate()
        operators = Operators({"alice": key.public_key().public_bytes_raw()})
        control = link.stream("control")
        writer = control.writer()
        await writer.append(b"no decision at all")
        for number in range(3):
            await writer.append(Decision(f"ubscore.{number}", number + 1, "alice").signed(key))
        decisions = Decisions(control, operators, said.append)
        found = await asyncio.gather(*(decisions.passed_over(f"ubscore.{number}") for number in range(4)))
        assert found == [{1}, {2}, {3}, set()]
        assert len(said) == 1, "of what decides nothing, once"
        await writer.append(Decision("ubscore.3", 9, "alice").signed(key))
        assert await decisions.passed_over("ubscore.3") == {9}, "what has come since"


async def test_two_readers_of_a_stream_at_a_time_are_a_fault(kafka: KafkaSettings) -> None:
    async with linked(kafka) as link:
        first = asyncio.create_task(link.stream("control").read(0))
        await asyncio.sleep(0.1)
        with pytest.raises(AssertionError, match="one reader at a time"):
            await link.stream("control").read(0)
        first.cancel()


async def test_a_message_without_bytes_is_one_of_none(kafka: KafkaSettings) -> None:
    """A tombstone, which another program may write; the reader goes on."""
    async with linked(kafka) as link:
        producer = Producer({"bootstrap.servers": kafka.servers})
        producer.produce(f"{kafka.prefix}.control", None, partition=0)
        producer.produce(f"{kafka.prefix}.control", b"after", partition=0)
        await asyncio.to_thread(producer.flush, 10)
        assert await read_all(link.stream("control"), 0, 2) == [b"", b"after"]


async def test_who_waits_is_told_when_nothing_more_can_be_read(kafka: KafkaSettings) -> None:
    async with linked(kafka) as link:
        waiting = asyncio.create_task(link.stream("control").read(0))
        await asyncio.sleep(0.1)
        for impossible in (-5, 0):
            with pytest.raises(ReadingFailed, match="Kafka can't be read any more"):
                await link.stream("commands.0").read(impossible)
        with pytest.raises(ReadingFailed):
            await waiting
