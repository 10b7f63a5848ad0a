"""
Who may read and write which topics, held by the brokers (ACLs): made where they are missing, and who else may write.

    every user of the deployment     DESCRIBE, DESCRIBE_CONFIGS   <prefix>.*
    a role's user                    READ, WRITE                  the topics that the role reads and writes
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's own way to export them
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from zerosum.errors import ZerosumError
from zerosum.log.kafka.settings import KafkaSettings, error_text

REQUEST_S: Final = 10.0
REFUSALS: Final = frozenset({KafkaError.SECURITY_DISABLED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
WRITING: Final = frozenset({AclOperation.WRITE, AclOperation.ALL})
ANY_HOST: Final = "*"
ANYTHING: Final[Any] = None  # in a filter; the stubs know of texts only


class GrantsRefused(ZerosumError):
    """The brokers do not make grants, or not for this user."""


@dataclass(frozen=True, slots=True)
class Access:
    """Of one user; topics without the prefix."""

    user: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@final
class Grants:
    def __init__(self, settings: KafkaSettings, accesses: Iterable[Access]) -> None:
        self._prefix = settings.prefix
        self._accesses = list(accesses)
        self._client = AdminClient(settings.common(lambda text: None))

    async def make(self) -> int:
        """Make those that are missing; how many they were. GrantsRefused, KafkaException."""
        wanted = [binding for access in self._accesses for binding in self._bindings(access)]
        existing = set(await self._existing(ResourceType.ANY, ANYTHING, ResourcePatternType.ANY, AclPermissionType.ANY))
        missing = [binding for binding in wanted if binding not in existing]
        if missing:
            for made in self._client.create_acls(missing, request_timeout=REQUEST_S).values():
                try:
                    await asyncio.wrap_future(made)
                except KafkaException as error:
                    raise_if_refused(error)
                    raise
        return len(missing)

    async def other_writers(self) -> list[tuple[str, str]]:
        """Each topic (without the prefix) and principal that may write to it, and has no business to. GrantsRefused, KafkaException."""
        found = []
        for topic in sorted({topic for access in self._accesses for topic in (*access.reads, *access.writes)}):
            writers = {principal(access.user) for access in self._accesses if topic in access.writes}
            allowed = await self._existing(ResourceType.TOPIC, self._name(topic), ResourcePatternType.MATCH, AclPermissionType.ALLOW)
            may = {binding.principal for binding in allowed if binding.operation in WRITING}
            found += [(topic, who) for who in sorted(may - writers)]
        return found

    def _bindings(self, access: Access) -> list[AclBinding]:
        def allowed(pattern: ResourcePatternType, name: str, operation: AclOperation) -> AclBinding:
            allow = AclPermissionType.ALLOW
            return AclBinding(ResourceType.TOPIC, name, pattern, principal(access.user), ANY_HOST, operation, allow)

        looks = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
        return [
            *(allowed(ResourcePatternType.PREFIXED, self._name(""), operation) for operation in looks),
            *(allowed(ResourcePatternType.LITERAL, self._name(topic), AclOperation.READ) for topic in access.reads),
            *(allowed(ResourcePatternType.LITERAL, self._name(topic), AclOperation.WRITE) for topic in access.writes),
        ]

    def _name(self, topic: str) -> str:
        return f"{self._prefix}.{topic}"

    async def _existing(
        self, kind: ResourceType, name: Any, pattern: ResourcePatternType, permission: AclPermissionType
    ) -> list[AclBinding]:  # fmt: skip
        which = AclBindingFilter(kind, name, pattern, ANYTHING, ANYTHING, AclOperation.ANY, permission)
        try:
            return await asyncio.wrap_future(self._client.describe_acls(which, request_timeout=REQUEST_S))
        except KafkaException as error:
            raise_if_refused(error)
            raise


def raise_if_refused(error: KafkaException) -> None:
    """GrantsRefused; other errors may pass."""
    if error.args[0].code() in REFUSALS:
        raise GrantsRefused(
            f"The brokers do not say who may write where, or do not let kafka.user decide it: {error_text(error.args[0])}. They need an"
            " authorizer (authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer), and this user the right to ALTER"
            " the cluster."
        ) from error


def principal(user: str) -> str:
    return f"User:{user}"
