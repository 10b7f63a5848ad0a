"""API keys: made once, shown once, and gone on every gateway when they are revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from zerosum.identity import keys as keys_module
from zerosum.identity.documents import DocumentsFailed
from zerosum.identity.identities import Identities
from zerosum.identity.keyring import REFRESH_S, RELOAD_S, UNREAD_S, ApiKey, KeyRing, Unreadable
from zerosum.identity.keys import KEYS_MAX, NOBODY, KeysError, Wanted
from zerosum.identity.signatures import BadPublicKey, public_key_of

NOW_US = 1_700_000_000_000_000
PAYLOAD = b"symbol=BTCUSDT"
RSA_KEY = rsa.generate_private_key(65_537, 2_048)


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed_by(secret: str, payload: bytes = PAYLOAD) -> str:
    return hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()


def found(ring: KeyRing, api_key: str, now_us: int = NOW_US) -> ApiKey:
    key = ring.find(api_key, now_us)
    assert key is not None
    return key


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


# ---------------------------------------------------------------------- making them


def test_a_key_verifies_what_its_secret_signed(identities: Identities) -> None:
    api_key, secret = identities.create_key(Wanted(16))
    key = found(identities.ring, api_key)
    assert (key.api_key, key.account_id, key.permissions) == (api_key, 16, frozenset({"READ", "TRADE"}))
    assert key.verifies(PAYLOAD, signed_by(secret))
    assert key.verifies(PAYLOAD, signed_by(secret).upper())
    assert not key.verifies(PAYLOAD, signed_by(secret[::-1]))
    assert not key.verifies(PAYLOAD + b"0", signed_by(secret))


def test_keys_and_secrets_are_64_letters_and_digits_and_never_alike(identities: Identities) -> None:
    made = [text for _ in range(20) for text in identities.keys.create(Wanted(16))]
    assert len(set(made)) == 40
    assert all(len(text) == 64 and text.isascii() and text.isalnum() for text in made)


def test_a_client_may_sign_with_a_private_key_of_its_own(identities: Identities) -> None:
    ed25519 = Ed25519PrivateKey.generate()
    api_key, secret = identities.create_key(Wanted(16, public_key=pem_of(ed25519)))
    assert secret == ""
    signature = base64.b64encode(ed25519.sign(PAYLOAD)).decode()
    key = found(identities.ring, api_key)
    assert key.verifies(PAYLOAD, signature)
    other = Ed25519PrivateKey.generate()
    wrong = [
        base64.b64encode(other.sign(PAYLOAD)).decode(),
        base64.b64encode(ed25519.sign(b"other")).decode(),
        signature[:-4],
        "A" * 88,
        "",
    ]
    assert not any(key.verifies(PAYLOAD, each) for each in wrong)
    api_key, _ = identities.create_key(Wanted(16, public_key=pem_of(RSA_KEY)))
    signature = base64.b64encode(RSA_KEY.sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA256())).decode()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    key = found(identities.ring, api_key)
    assert key.verifies(PAYLOAD, signature)
    assert not key.verifies(b"other", signature)
    assert not key.verifies(PAYLOAD, base64.b64encode(RSA_KEY.sign(PAYLOAD, pss, hashes.SHA256())).decode())


def test_a_public_key_that_proves_too_little_is_refused() -> None:
    private = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()  # fmt: skip
    short = rsa.generate_private_key(65_537, 1_024)  # noqa: S505  to be refused
    for pem, why in (
        (pem_of(short), "of 1024 bits: take one of 2048 to 8192"),
        (pem_of(rsa.generate_private_key(3, 2_048)), "another exponent"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "no public key of Ed25519 or RSA"),
        (private, "it is a private key"),
        ("", "no public key"),
        ("ü", "no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (pem_of(RSA_KEY) + " " * 5_000, "no public key"),
    ):
        with pytest.raises(BadPublicKey, match=why):
            public_key_of(pem)


def test_what_makes_no_sense_is_refused_with_what_would(identities: Identities) -> None:
    keys = identities.keys
    past = keys_module.clock_us()
    for wanted, why in (
        (Wanted(16, ("TRADE", "OWN")), "permissions TRADE, OWN: a key has one or more of READ, TRADE, WITHDRAW"),
        (Wanted(16, ()), "permissions none"),
        (Wanted(16, ("WITHDRAW",)), "a key that may move money out or in is good from addresses that it names"),
        (Wanted(16, addresses=("10.0.0.0/33",)), "'10.0.0.0/33' is no address, and no network"),
        (Wanted(16, addresses=("10.0.0.1/24",)), "has host bits set"),
        (Wanted(16, addresses=("example.com",)), "'example.com' is no address"),
        (Wanted(16, addresses=tuple(f"10.0.0.{n}" for n in range(33))), "33 are too many"),
        (Wanted(16, label="a\nb"), "label: at most 64 characters that can be printed"),
        (Wanted(16, label="a" * 65), "label: at most 64"),
        (Wanted(16, expires_us=past), "expiry: it lies in the past"),
        (Wanted(16, public_key="nonsense"), "public key: it is no public key"),
    ):
        with pytest.raises(KeysError, match=why):
            keys.create(wanted)
    assert keys.list() == []
    for api_key in ("nobody", "\udcff\udcfe", "k" * 64):
        with pytest.raises(KeysError, match="there is no API key"):
            keys.revoke(api_key)


def test_an_account_has_so_many_good_keys(identities: Identities) -> None:
    made = [identities.keys.create(Wanted(16)).api_key for _ in range(KEYS_MAX)]
    with pytest.raises(KeysError, match="account 16 has 30 keys that are good: revoke one first"):
        identities.keys.create(Wanted(16))
    identities.keys.create(Wanted(17))
    identities.keys.revoke(made[0])
    identities.keys.create(Wanted(16))


def test_keys_are_listed_without_secrets(identities: Identities) -> None:
    first = identities.keys.create(Wanted(16, ("TRADE", "READ", "TRADE"), label="bot", addresses=("10.0.0.1",)))
    second = identities.keys.create(Wanted(17, ("READ",)))
    assert [info.api_key for info in identities.keys.list()] == [first.api_key, second.api_key]
    (info,) = identities.keys.list(16)
    assert (info.api_key, info.account_id, info.permissions, info.revoked_us) == (first.api_key, 16, ("READ", "TRADE"), 0)
    assert (info.label, info.addresses, info.signs_by) == ("bot", ("10.0.0.1/32",), "HMAC")
    assert first.secret not in repr(identities.keys.list())


def test_a_key_is_revoked_for_good_its_secret_gone_and_again_changes_nothing(identities: Identities) -> None:
    api_key, _ = identities.keys.create(Wanted(16))
    revoked = identities.keys.revoke(api_key)
    assert identities.keys.revoke(api_key) == revoked
    assert identities.keys.list(16) == [revoked]
    assert revoked.revoked_us >= revoked.created_us > 0
    held = identities.vault.get(keys_module.KEYS, api_key)
    assert held is not None
    assert held.record.secret == ""


# ---------------------------------------------------------------------- finding them


def test_another_process_finds_a_key_after_a_refresh_and_after_a_start(opened: Callable[[], Identities]) -> None:
    gateway, commands, another = opened(), opened(), opened()
    with pytest.raises(Unreadable):
        gateway.ring.find("k", NOW_US)
    assert gateway.ring.unreadable() == "API keys could not be read yet"
    gateway.follow(gateway.ring)
    api_key, secret = commands.keys.create(Wanted(16))
    gateway.ring.refresh()
    assert found(gateway.ring, api_key).verifies(PAYLOAD, signed_by(secret))
    another.follow(another.ring)
    assert found(another.ring, api_key).verifies(PAYLOAD, signed_by(secret))


def test_a_key_of_the_venues_own_programs_is_in_a_ring_of_its_own(identities: Identities) -> None:
    made = identities.service_keys.create(Wanted(NOBODY, (keys_module.DEPOSIT,), addresses=("10.0.0.1",)))
    identities.follow(identities.ring, identities.service_ring)
    assert identities.ring.find(made.api_key, NOW_US) is None
    assert found(identities.service_ring, made.api_key).permissions == {keys_module.DEPOSIT}
    assert identities.keys.list() == []
    assert [key.api_key for key in identities.service_keys.list()] == [made.api_key]
    identities.service_keys.revoke(made.api_key)
    identities.service_ring.refresh()
    assert identities.service_ring.find(made.api_key, NOW_US) is None


def test_a_revoked_key_is_gone_after_a_refresh_and_others_are_as_they_were(opened: Callable[[], Identities]) -> None:
    gateway, commands = opened(), opened()
    api_key, kept = (commands.keys.create(Wanted(16)).api_key for _ in range(2))
    gateway.ring.refresh()
    cached = found(gateway.ring, kept)
    assert found(gateway.ring, api_key) is found(gateway.ring, api_key)
    commands.keys.revoke(api_key)
    gateway.ring.refresh()
    assert gateway.ring.find(api_key, NOW_US) is None
    assert found(gateway.ring, kept) is cached


def test_a_key_that_is_opened_while_it_is_revoked_does_not_come_back(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's thread and the one that follows changes meet in the middle."""
    from zerosum.identity import keyring

    api_key, _ = identities.create_key(Wanted(16))

    def meanwhile(name: str, record: keys_module.KeyRecord) -> ApiKey:
        identities.keys.revoke(api_key)
        identities.ring.refresh()
        return ApiKey(name, record)

    monkeypatch.setattr(keyring, "ApiKey", meanwhile)
    identities.ring.find(api_key, NOW_US)
    assert identities.ring.find(api_key, NOW_US) is None


def test_whoever_follows_notices_by_itself(opened: Callable[[], Identities]) -> None:
    gateway, commands = opened(), opened()
    gateway.follow(gateway.ring)
    api_key, _ = commands.keys.create(Wanted(16))
    deadline = time.monotonic() + 30
    while gateway.ring.find(api_key, NOW_US) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    commands.keys.revoke(api_key)
    while gateway.ring.find(api_key, NOW_US) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert REFRESH_S <= 0.5, "within a second, also where a look is late"


def test_a_key_is_good_until_it_expires(identities: Identities) -> None:
    expires_us = keys_module.clock_us() + 3_600_000_000
    api_key, _ = identities.create_key(Wanted(16, expires_us=expires_us))
    found(identities.ring, api_key, expires_us - 1)
    assert identities.ring.find(api_key, expires_us) is None


def test_a_key_is_good_from_its_addresses(identities: Identities) -> None:
    api_key, _ = identities.create_key(Wanted(16, addresses=("10.1.0.0/16", "2001:db8::1")))
    key = found(identities.ring, api_key)
    assert [key.is_good_from(client) for client in ("10.1.2.3", "2001:db8::1")] == [True, True]
    for client in ("10.2.0.1", "2001:db8::2", "", "unknown", "10.1.2.3, 10.2.0.1"):
        assert not key.is_good_from(client)
    anywhere, _ = identities.create_key(Wanted(16))
    assert found(identities.ring, anywhere).is_good_from("")


# ---------------------------------------------------------------------- a store that can't be read


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(identities: Identities, clock: Clock) -> KeyRing:
    return KeyRing(identities.vault, clock_s=clock)


@pytest.fixture
def unreadable(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A store that does not answer, or does again."""

    def set_it(now: bool) -> None:
        with monkeypatch.context() as patch:
            patch.undo()
        if now:

            def fail(kind: str, mark: int) -> None:
                raise DocumentsFailed("it is away.")

            monkeypatch.setattr(identities.vault.documents, "changes", fail)
        else:
            monkeypatch.undo()

    return set_it


def test_keys_that_can_not_be_read_are_good_for_a_while_and_then_none_is(
    identities: Identities, ring: KeyRing, clock: Clock, unreadable: Callable[[bool], None]
) -> None:
    """A revocation could no longer be seen, so this must end."""
    api_key, _ = identities.keys.create(Wanted(16))
    ring.refresh()
    unreadable(True)
    for _ in range(int(UNREAD_S / REFRESH_S)):
        clock.now_s += REFRESH_S
        with pytest.raises(DocumentsFailed):
            ring.refresh()
        found(ring, api_key)
    clock.now_s += REFRESH_S
    with pytest.raises(Unreadable, match="could not be read"):
        ring.find(api_key, NOW_US)
    assert "could not be read for 5 s" in (ring.unreadable() or "")
    unreadable(False)
    identities.keys.revoke(api_key)
    ring.refresh()
    assert ring.find(api_key, NOW_US) is None
    assert ring.unreadable() is None


def test_what_could_not_be_read_of_a_change_is_read_the_next_time(
    identities: Identities, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told of the change, and then not able to read it: the revocation must not be lost."""
    api_key, _ = identities.keys.create(Wanted(16))
    ring.refresh()
    identities.keys.revoke(api_key)
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise DocumentsFailed("it is away.")

        patch.setattr(identities.vault.documents, "get", fail)
        with pytest.raises(DocumentsFailed):
            ring.refresh()
    ring.refresh()
    assert ring.find(api_key, NOW_US) is None


def test_after_a_long_silence_everything_is_read(
    identities: Identities, ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store tells of changes for a while; a process that was stopped for longer must not miss one."""
    api_key, _ = identities.keys.create(Wanted(16))
    ring.refresh()
    identities.keys.revoke(api_key)
    changes = identities.vault.documents.changes
    monkeypatch.setattr(identities.vault.documents, "changes", lambda kind, mark: changes(kind, 0))  # it tells of nothing any more
    ring.refresh()
    found(ring, api_key)
    clock.now_s += RELOAD_S + 1
    ring.refresh()
    assert ring.find(api_key, NOW_US) is None
