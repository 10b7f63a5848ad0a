"""Messages to machines count when whoever may send them has signed them, and are no messages otherwise."""

from __future__ import annotations

import pytest
from nacl.signing import SigningKey

from zerosum.core import records
from zerosum.core.codes import FIRST_USER
from zerosum.devcluster import deployment
from zerosum.log.errors import MessageDamaged
from zerosum.log.memory_streams import MemoryStream
from zerosum.log.messages import pack, unpack
from zerosum.log.streams import Appended
from zerosum.ops import roles
from zerosum.services.cluster.signing import (
    ADMIN,
    GATEWAY,
    KINDS,
    MATCHING,
    NOTHING,
    SIGNING_ROLES,
    UBSCORE,
    CheckedStream,
    Signer,
    Signers,
    SigningStream,
    signer_of,
)

KEYS = {role: SigningKey(bytes([number]) * 32) for number, role in enumerate(SIGNING_ROLES)}
WALLET = 1 << 40
ANN = FIRST_USER + 1
DEPOSIT = records.command(records.DEPOSIT, 0, ANN, 1, 0, 100)
PLACE = records.command(records.PLACE, 0, ANN, records.terms(0, 0, 1), 100, 1)


def signer(role: str, until_us: int = 0) -> Signer:
    return Signer(role, bytes(KEYS[role].verify_key), until_us)


SIGNERS = Signers([signer(role) for role in SIGNING_ROLES])


def link(kind: int) -> bytes:
    words = records.LINK_WORDS + len(records.LINKS[kind][1])
    return (int(records.head(kind, words)) | 1 << 32).to_bytes(8, "little") + (1).to_bytes(8, "little") + bytes(8 * (words - 2))


async def sent(role: str | None, data: bytes, name: str = "commands.0", time_us: int = 1) -> Appended:
    """A message as it stands in a stream once a role has sent it; None: unsigned."""
    stream = MemoryStream(name, lambda: time_us)
    writer = (SigningStream(stream, KEYS[role]) if role is not None else stream).writer()
    await writer.append(pack(data))
    (found,) = await stream.read(0)
    return found


async def fault(role: str | None, data: bytes, name: str = "commands.0") -> str | None:
    return SIGNERS.fault(name, await sent(role, data, name))


async def test_what_is_signed_is_read_as_it_was_written() -> None:
    appended = await sent(GATEWAY, PLACE * 3)
    assert unpack(appended.data, "here").records == PLACE * 3
    assert SIGNERS.fault("commands.0", appended) is None


async def test_each_role_says_what_it_may_and_nothing_else() -> None:
    """Every kind of record there is, from every role."""
    for kind in (*records.COMMANDS, *records.LINKS):
        data = link(kind) if kind in records.LINKS else records.command(kind, 0, *[ANN] * min(1, len(records.COMMANDS[kind][1])))
        for role in SIGNING_ROLES:
            allowed = kind in KINDS[role] and not (kind == records.TRANSFER and role == GATEWAY)
            said = await fault(role, data)
            assert (said is None) == allowed, (records.kind_name(kind), role)
            if not allowed:
                assert said == f"the {role} may not say {records.kind_name(kind)}"


def test_a_gateway_says_nothing_that_makes_or_moves_money_of_others() -> None:
    for kind in (
        records.DEPOSIT, records.WITHDRAW, records.OPEN_ACCOUNT, records.SET_ACCOUNT_STATUS, records.SET_ACCOUNT_FEES, records.LIST_SYMBOL,
        records.SET_SYMBOL_STATUS, records.SET_CORE_VERSION, records.OUTCOME_FILL, records.CREDIT, records.HANDED_ON,
    ):  # fmt: skip
        assert kind not in KINDS[GATEWAY]
    assert not KINDS[UBSCORE] & KINDS[MATCHING]
    assert not (KINDS[UBSCORE] | KINDS[MATCHING]) & KINDS[ADMIN]


async def test_a_gateway_transfers_between_an_account_and_its_own_wallet_alone() -> None:
    def transfer(payer: int, receiver: int) -> bytes:
        return records.command(records.TRANSFER, 0, payer, 1, 0, 5, receiver)

    for payer, receiver in ((ANN, ANN | WALLET), (ANN | WALLET, ANN)):
        assert await fault(GATEWAY, transfer(payer, receiver)) is None
    for payer, receiver in ((ANN, ANN + 1), (ANN | WALLET, ANN + 1), (2, ANN), (ANN, (ANN + 1) | WALLET)):
        assert await fault(GATEWAY, transfer(payer, receiver)) == "the gateway may not say TRANSFER"
        assert await fault(ADMIN, transfer(payer, receiver)) is None


def test_who_signs_is_the_same_for_services_settings_and_development_clusters() -> None:
    assert set(SIGNING_ROLES) == roles.SIGNING == set(deployment.SIGNING_ROLES)


async def test_a_gateway_says_nothing_of_the_house_s_accounts() -> None:
    for kind in sorted(KINDS[GATEWAY]):
        for account in (2, 0, -5):
            fields = [account if name in ("account", "to_account") else 1 for name in records.COMMANDS[kind][1]]
            data = records.command(kind, 0, *fields)
            assert await fault(GATEWAY, data) == f"the gateway may not say {records.kind_name(kind)}"


async def test_one_record_too_many_makes_the_message_none() -> None:
    assert await fault(GATEWAY, PLACE + DEPOSIT + PLACE) == "the gateway may not say DEPOSIT"


async def test_every_bit_is_signed_and_the_stream_is_too() -> None:
    appended = await sent(ADMIN, DEPOSIT)
    assert SIGNERS.fault("commands.1", appended) == "it is not what the admin has signed"
    for at in range(len(appended.data)):
        changed = bytearray(appended.data)
        changed[at] ^= 1
        try:
            said = SIGNERS.fault("commands.0", appended._replace(data=bytes(changed)))
        except MessageDamaged:
            said = "it can't be read"
        assert said is not None, at


async def test_the_unsigned_and_the_strangers_do_not_count() -> None:
    assert await fault(None, PLACE) == "it is not signed"
    assert await fault(None, b"") is None, "a message without records says nothing"
    others = Signers([signer(ADMIN)])
    assert others.fault("commands.0", await sent(GATEWAY, PLACE)) == "it is signed by nobody of this deployment"


async def test_a_signer_is_good_until_its_end_and_what_it_signed_before_stays() -> None:
    """So that a key that was stolen can be ended, and a replay still makes what was made."""
    ended = Signers([signer(GATEWAY, until_us=100), *(signer(role) for role in SIGNING_ROLES if role != GATEWAY)])
    assert ended.fault("commands.0", await sent(GATEWAY, PLACE, time_us=99)) is None
    assert ended.fault("commands.0", await sent(GATEWAY, PLACE, time_us=100)) == "its signer, the gateway, was good until before it"


async def test_a_machine_reads_nothing_in_the_place_of_what_does_not_count() -> None:
    said: list[str] = []
    stream = MemoryStream("commands.0", lambda: 1)
    await SigningStream(stream, KEYS[GATEWAY]).writer().append(pack(PLACE))
    await SigningStream(stream, KEYS[GATEWAY]).writer().append(pack(DEPOSIT))
    await stream.writer().append(pack(DEPOSIT))
    await stream.writer().append(b"nonsense")
    checked = CheckedStream(stream, SIGNERS, said.append)
    found = [each for offset in range(4) for each in (await checked.read(offset))[:1]]
    assert [each.offset for each in found] == [0, 1, 2, 3]
    assert [each.data == NOTHING for each in found] == [False, True, True, False]
    assert found[3].data == b"nonsense", "for whoever reads to tell"
    assert said[:2] == [
        "commands.0: message 1 does not count: the gateway may not say DEPOSIT",
        "commands.0: message 2 does not count: it is not signed",
    ]
    assert (await checked.ends()).next == 4


@pytest.mark.parametrize("text", ["", "king:" + "0" * 64, "gateway:" + "0" * 63, "gateway:" + "0" * 64 + ":", "gateway:" + "0" * 64 + ":x"])
def test_a_signer_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        signer_of(text) if text else signer_of("none")


def test_signers_are_read_with_their_end() -> None:
    key = "0f" * 32
    assert signer_of(f"ubscore:{key}") == Signer(UBSCORE, bytes.fromhex(key), 0)
    assert signer_of(f"gateway:{key}:1700000000000000") == Signer(GATEWAY, bytes.fromhex(key), 1_700_000_000_000_000)
