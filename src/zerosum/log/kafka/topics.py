"""
The topics of a deployment: what they must be like, made where they are missing, and refused where they are otherwise.

    <prefix>.commands, .account-events     a partition for each shard
    <prefix>.orders, .market-events        a partition for each engine
    <prefix>.control                       one
    <prefix>.usage                         one, of which nothing is kept for long
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's own way to export them
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from zerosum.errors import ZerosumError
from zerosum.log.kafka.settings import KafkaSettings, error_text

REQUEST_S: Final = 10.0
LIST_S: Final = 5.0
NOT_BELIEVED: Final = "certificate verify failed"
NOT_LET_IN: Final = "_AUTHENTICATION"
KNOWN_POLL_S: Final = 0.05
KNOWN_TIMES: Final = 20  # in a row that all are known to whichever broker is asked

IN_SYNC: Final = "min.insync.replicas"
CONFIGURATION: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",  # nothing goes by itself
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",  # the machines' clock
    "unclean.leader.election.enable": "false",
    "max.message.bytes": "1048588",
    "compression.type": "producer",
}


TRANSIENT: Final = {"usage": {"retention.ms": "600000"}}
"""Of topics that are not kept: what differs."""


class KafkaRefused(ZerosumError):
    """The brokers are not believed to be the ones, or do not believe that this process is who it says. Waiting does not mend it."""


class TopicsWrong(ZerosumError):
    """The topics are not as a deployment needs them."""


@dataclass(frozen=True, slots=True)
class Replication:
    """How many brokers have each message, and how many of them must when it is acknowledged."""

    factor: int
    in_sync: int


@final
class Topics:
    """`partitions`: by topic, without the prefix. `replication`: of those that are made, and the least that the others must have."""

    def __init__(self, settings: KafkaSettings, partitions: dict[str, int], replication: Replication) -> None:
        self._settings = settings
        self._replication = replication
        self._prefix = settings.prefix
        self._partitions = {f"{settings.prefix}.{topic}": count for topic, count in partitions.items()}
        self._heard = ""  # the last that went wrong with a connection
        self._client = AdminClient(settings.common(self._hear))

    def _raise_if_refused(self) -> None:
        """KafkaRefused."""
        if NOT_BELIEVED in self._heard:
            raise KafkaRefused(
                f"The certificate of Kafka at {self._settings.servers} is not believed: {self._heard}. It must be by an authority in"
                " kafka.ca_file, and name the address that the broker is reached at."
            )
        if self._heard.startswith(NOT_LET_IN):
            login = self._settings.login
            raise KafkaRefused(
                f"Kafka at {self._settings.servers} does not let {login.user if login is not None else 'a process without a user'} in:"
                f" {self._heard}. See kafka.user, kafka.password_file and kafka.mechanism."
            )

    def _hear(self, text: str) -> None:
        """When the client is polled. That all brokers are down is what comes last, and of no use."""
        if not text.startswith("_ALL_BROKERS_DOWN"):
            self._heard = text

    async def make(self) -> list[str]:
        """Make those that are missing; their names. KafkaException, KafkaRefused, TopicsWrong."""
        existing = await self._existing()
        wanted = [
            NewTopic(topic, count, self._replication.factor, config=self._configuration(topic))
            for topic, count in self._partitions.items()
            if topic not in existing
        ]
        if wanted:
            for made in self._client.create_topics(wanted, operation_timeout=REQUEST_S).values():
                await self._created(made)
            await self._known()
        await self.check()
        return [topic.topic for topic in wanted]

    def _configuration(self, topic: str) -> dict[str, str]:
        return {**CONFIGURATION, IN_SYNC: str(self._replication.in_sync), **TRANSIENT.get(topic.removeprefix(f"{self._prefix}."), {})}

    async def _known(self) -> None:
        """Wait until brokers know what the controller has made: each learns of it in its own time. KafkaException."""
        loop = asyncio.get_running_loop()
        deadline, in_a_row = loop.time() + REQUEST_S, 0
        while in_a_row < KNOWN_TIMES and loop.time() < deadline:
            in_a_row = in_a_row + 1 if self._partitions.keys() <= (await self._existing()).keys() else 0
            await asyncio.sleep(KNOWN_POLL_S)

    async def _created(self, made: Future[Any]) -> None:
        """Another who makes the same is as good. TopicsWrong."""
        try:
            await asyncio.wrap_future(made)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR:
                raise TopicsWrong(
                    f"kafka.replication is {self._replication.factor}, and there are fewer brokers: set it and kafka.in_sync to no more"
                    " than there are, or start more."
                ) from error
            if code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsWrong(f"A topic can't be made: {error_text(error.args[0])}") from error

    async def answers(self) -> None:
        """That a broker does, with these settings. KafkaException, KafkaRefused."""
        await self._existing()

    async def check(self) -> dict[str, str]:
        """The id of each topic: another one of the same name has another. KafkaException, KafkaRefused; TopicsWrong, with all that is."""
        found = await self._existing()
        faults = [self._fault(topic, count, found.get(topic)) for topic, count in self._partitions.items()]
        if not any(faults):
            faults += await self._configuration_faults()
        if any(faults):
            raise TopicsWrong("\n".join(filter(None, faults)))
        described = self._client.describe_topics(TopicCollection(list(self._partitions)))
        return {topic: str((await asyncio.wrap_future(each)).topic_id) for topic, each in described.items()}

    def _fault(self, topic: str, wanted: int, found: TopicMetadata | None) -> str:
        if found is None:
            return f"The topic {topic} is missing: make it with `zerosum cluster init`."
        if len(found.partitions) != wanted:
            return (
                f"The topic {topic} has {len(found.partitions)} partitions, and the deployment {wanted}: that can't be changed once it is"
                " made."
            )
        replicas = min(len(partition.replicas) for partition in found.partitions.values())
        if replicas < self._replication.factor:
            return (
                f"The topic {topic} has {replicas} replicas, and kafka.replication is {self._replication.factor}: give it more with Kafka's"
                " kafka-reassign-partitions.sh."
            )
        return ""

    async def _existing(self) -> dict[str, TopicMetadata]:
        """KafkaException, KafkaRefused."""
        try:
            listed = await asyncio.to_thread(self._client.list_topics, timeout=LIST_S)
        except KafkaException as error:  # which does not say why no broker was reached
            self._client.poll(0)
            self._raise_if_refused()
            raise KafkaException(KafkaError(error.args[0].code(), self._heard or error.args[0].str())) from error
        return {name: topic for name, topic in listed.topics.items() if topic.error is None}

    async def _configuration_faults(self) -> list[str]:
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in self._partitions]
        faults = []
        for resource, described in self._client.describe_configs(resources).items():
            found: dict[str, Any] = await asyncio.wrap_future(described)
            if IN_SYNC in found and int(found[IN_SYNC].value) < self._replication.in_sync:
                faults.append(
                    f"{IN_SYNC} of the topic {resource.name} is {found[IN_SYNC].value}, and kafka.in_sync is {self._replication.in_sync}:"
                    " what is acknowledged could be lost with fewer brokers. Raise it with Kafka's kafka-configs.sh."
                )
            faults += [
                f"{name} of the topic {resource.name} is {found[name].value}, and must be {value}."
                for name, value in self._configuration(resource.name).items()
                if name != IN_SYNC and name in found and found[name].value != value
            ]
        return faults
