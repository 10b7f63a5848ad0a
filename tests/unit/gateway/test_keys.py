"""API keys: made once, shown once, encrypted at rest, and gone when they are revoked."""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import structlog

from tests.support.gateway_world import MASTER_KEY
from zerosum.gateway import keys as keys_module
from zerosum.gateway.auth import ApiKey
from zerosum.gateway.entry import Busy
from zerosum.gateway.errors import ApiError
from zerosum.gateway.keys import (
    MASTER_KEY_VARIABLE,
    REFRESH_US,
    UNREAD_US_MAX,
    Keys,
    KeysError,
    MasterKeyError,
    create_master_key,
    load_master_key,
)  # fmt: skip
from zerosum.net.sparing_log import SparingLog
from zerosum.ops.logging import Line, render_json

NOW_US = 1_700_000_000_000_000
PAYLOAD = b"symbol=BTCUSDT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Keys]]:
    """Another process's view of the file, each time it is called."""
    made: list[Keys] = []

    def open_again() -> Keys:
        made.append(Keys(path, MASTER_KEY))
        return made[-1]

    yield open_again
    for keys in made:
        keys.close()


@pytest.fixture
def keys(opened: Callable[[], Keys]) -> Keys:
    return opened()


def signed_by(secret: str) -> str:
    return hmac.new(secret.encode(), PAYLOAD, hashlib.sha256).hexdigest()


def found(keys: Keys, api_key: str, now_us: int = NOW_US) -> ApiKey:
    key = keys.find(api_key, now_us)
    assert key is not None
    return key


def test_a_key_verifies_what_its_secret_signed(keys: Keys) -> None:
    api_key, secret = keys.create(16, ["TRADE", "USER_DATA"])
    key = found(keys, api_key)
    assert (key.api_key, key.account_id, key.permissions) == (api_key, 16, frozenset({"TRADE", "USER_DATA"}))
    key.verify(PAYLOAD, signed_by(secret))
    with pytest.raises(ApiError):
        key.verify(PAYLOAD, signed_by(secret[::-1]))


def test_keys_and_secrets_are_64_letters_and_digits_and_never_alike(keys: Keys) -> None:
    made = [text for _ in range(20) for text in keys.create(16, ["TRADE"])]
    assert len(set(made)) == 40
    assert all(len(text) == 64 and text.isascii() and text.isalnum() for text in made)


def test_another_process_finds_a_key_and_after_a_start_too(keys: Keys, opened: Callable[[], Keys]) -> None:
    other = opened()
    api_key, secret = keys.create(16, ["TRADE"])
    found(other, api_key).verify(PAYLOAD, signed_by(secret))
    keys.close()
    found(opened(), api_key).verify(PAYLOAD, signed_by(secret))


def test_a_revoked_key_is_gone_here_at_once_and_elsewhere_within_half_a_second(keys: Keys, opened: Callable[[], Keys]) -> None:
    api_key, _ = keys.create(16, ["TRADE"])
    kept, _ = keys.create(16, ["TRADE"])
    gateway = opened()
    cached = found(gateway, kept)
    assert found(gateway, api_key) is found(gateway, api_key)
    keys.revoke(api_key)
    assert keys.find(api_key, NOW_US) is None
    assert gateway.find(api_key, NOW_US + REFRESH_US) is None
    assert gateway.find(kept, NOW_US + REFRESH_US) is cached


def test_revocation_holds_when_the_clock_was_set_back(keys: Keys, opened: Callable[[], Keys]) -> None:
    api_key, _ = keys.create(16, ["TRADE"])
    gateway = opened()
    found(gateway, api_key, NOW_US)
    keys.revoke(api_key)
    assert gateway.find(api_key, NOW_US - 3_600_000_000) is None


def test_a_key_is_revoked_for_good_and_again_changes_nothing(keys: Keys) -> None:
    api_key, _ = keys.create(16, ["TRADE"])
    keys.revoke(api_key)
    (revoked,) = keys.list(16)
    keys.revoke(api_key)
    assert keys.list(16) == [revoked]
    assert revoked.revoked_us >= revoked.created_us > 0


def test_keys_are_listed_without_secrets(keys: Keys) -> None:
    first, _ = keys.create(16, ["USER_DATA", "TRADE", "TRADE"])
    second, _ = keys.create(17, ["USER_DATA"])
    assert {info.api_key for info in keys.list()} == {first, second}
    (info,) = keys.list(16)
    assert (info.api_key, info.account_id, info.permissions, info.revoked_us) == (first, 16, ("TRADE", "USER_DATA"), 0)


def test_what_makes_no_sense_is_refused_with_what_would(keys: Keys) -> None:
    with pytest.raises(KeysError, match=r"permissions WITHDRAW: a key has one or more of TRADE, USER_DATA\."):
        keys.create(16, ["WITHDRAW"])
    with pytest.raises(KeysError, match="permissions none"):
        keys.create(16, [])
    with pytest.raises(KeysError, match="there is no API key 'nobody'"):
        keys.revoke("nobody")


def test_no_secret_is_in_the_file(keys: Keys, path: Path) -> None:
    _, secret = keys.create(16, ["TRADE"])
    keys.close()
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert secret.encode() not in stored
    assert bytes.fromhex(secret.encode().hex()) not in stored


@pytest.mark.parametrize("change", ["account_id = 17", "permissions = 'TRADE,USER_DATA'", "secret = zeroblob(80)"])
def test_a_row_that_was_tampered_with_is_refused(keys: Keys, opened: Callable[[], Keys], path: Path, change: str) -> None:
    """Write access to the file must not make one user's key another's, or a reader's key a trader's."""
    api_key, _ = keys.create(16, ["USER_DATA"])
    with sqlite3.connect(path) as db:
        db.execute(f"update keys set {change}")  # noqa: S608 - from the list above
    db.close()
    assert opened().find(api_key, NOW_US) is None


def test_a_secret_moved_to_another_key_is_refused(keys: Keys, opened: Callable[[], Keys], path: Path) -> None:
    victim, _ = keys.create(16, ["TRADE"])
    keys.create(17, ["TRADE"])
    with sqlite3.connect(path) as db:
        db.execute("update keys set (nonce, secret) = (select nonce, secret from keys where account_id = 17) where account_id = 16")
    db.close()
    assert opened().find(victim, NOW_US) is None


def test_a_tampered_key_is_logged_by_its_beginning(
    keys: Keys, opened: Callable[[], Keys], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is to revoke it must find it in the list; nobody else is to learn it."""
    monkeypatch.setattr(keys_module, "_log", SparingLog("gateway.keys", lines_max=1))
    api_key, _ = keys.create(16, ["USER_DATA"])
    with sqlite3.connect(path) as db:
        db.execute("update keys set account_id = 17")
    db.close()
    gateway = opened()
    with structlog.testing.capture_logs() as said:
        for _ in range(5):
            assert gateway.find(api_key, NOW_US) is None
    assert len(said) == 1, "whoever sends it may send it often"
    written = render_json(Line(0, "error", "gateway.keys", "keys.tampered", dict(said[0]), None)).decode()
    assert f'"begins_with":"{api_key[:8]}"' in written
    assert api_key not in written


# ---------------------------------------------------------------------- a file that others lock, or damage

LOCKS = [
    "begin exclusive; insert into master values (x'00', x'00')",
    "pragma locking_mode = exclusive; begin exclusive; insert into master values (x'00', x'00')",
    "pragma locking_mode = exclusive; begin; select * from keys",
]


@pytest.mark.parametrize("locking", LOCKS)
def test_no_lock_of_another_program_holds_up_a_request(keys: Keys, opened: Callable[[], Keys], path: Path, locking: str) -> None:
    first, second = (keys.create(16, ["TRADE"])[0] for _ in range(2))
    gateway = opened()
    found(gateway, first)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0.0)) as other:
        with suppress(sqlite3.OperationalError):  # that it can't have the lock is good too
            other.executescript(locking)
        began = time.perf_counter()
        found(gateway, first, NOW_US + REFRESH_US)
        found(gateway, second, NOW_US + REFRESH_US)
        assert gateway.unreadable() is None
        assert time.perf_counter() - began < 0.5


def test_keys_that_can_not_be_read_are_good_for_a_while_and_then_busy(keys: Keys, opened: Callable[[], Keys], path: Path) -> None:
    """A revocation could no longer be seen, so this must end."""
    used, unused = (keys.create(16, ["TRADE"])[0] for _ in range(2))
    gateway = opened()
    found(gateway, used)
    assert gateway.unreadable() is None
    with closing(sqlite3.connect(path)) as db:
        db.execute("alter table keys rename to elsewhere")
    assert gateway.unreadable() == f"API keys can't be read from {path}: no such table: keys"
    with pytest.raises(Busy, match="no such table"):
        gateway.find(unused, NOW_US)
    for later_us in range(REFRESH_US, UNREAD_US_MAX + 1, REFRESH_US):
        found(gateway, used, NOW_US + later_us)
    for _ in range(2):
        with pytest.raises(Busy, match="can't be read"):
            gateway.find(used, NOW_US + UNREAD_US_MAX + REFRESH_US)
    with closing(sqlite3.connect(path)) as db:
        db.execute("alter table elsewhere rename to keys")
    found(gateway, used, NOW_US + UNREAD_US_MAX + 2 * REFRESH_US)
    found(gateway, unused, NOW_US + UNREAD_US_MAX + 2 * REFRESH_US)


def test_how_long_that_is_does_not_depend_on_how_often_anybody_asks(keys: Keys, opened: Callable[[], Keys], path: Path) -> None:
    used, _ = keys.create(16, ["TRADE"])
    gateway = opened()
    found(gateway, used)
    with closing(sqlite3.connect(path)) as db:
        db.execute("alter table keys rename to elsewhere")
    with pytest.raises(Busy, match="can't be read"):
        gateway.find(used, NOW_US + 60_000_000)


def test_a_file_put_in_its_place_is_the_one_that_counts(keys: Keys, opened: Callable[[], Keys], path: Path) -> None:
    """As a restored copy is: whoever revokes a key then, revokes it there."""
    used, _ = keys.create(16, ["TRADE"])
    gateway = opened()
    found(gateway, used)
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute("vacuum into ?", (str(copy),))
    copy.rename(path)
    found(gateway, used, NOW_US + REFRESH_US)
    later = opened()
    later.revoke(used)
    assert gateway.find(used, NOW_US + 2 * REFRESH_US) is None


def test_a_file_that_is_gone_is_not_made_again(keys: Keys, opened: Callable[[], Keys], path: Path) -> None:
    used, _ = keys.create(16, ["TRADE"])
    gateway = opened()
    found(gateway, used)
    path.unlink()
    found(gateway, used, NOW_US + REFRESH_US)
    with pytest.raises(Busy, match="can't be read"):
        gateway.find(used, NOW_US + UNREAD_US_MAX + REFRESH_US)
    assert not path.exists()


def test_what_the_file_does_not_let_a_command_do_is_told(keys: Keys, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used, _ = keys.create(16, ["TRADE"])
    monkeypatch.setattr(keys_module, "LOCK_S", 0.0)
    with closing(Keys(path, MASTER_KEY)) as hurried, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert hurried.list(16) == keys.list(16), "a reader waits for nobody"
        with pytest.raises(KeysError, match=r"keys\.db: database is locked\. Nothing was changed"):
            hurried.create(16, ["TRADE"])
        with pytest.raises(KeysError, match=r"keys\.db: database is locked\. Nothing was changed"):
            hurried.revoke(used)


def test_a_damaged_page_is_told(keys: Keys, path: Path) -> None:
    for _ in range(50):
        keys.create(16, ["TRADE"])
    keys.close()
    pages = bytearray(path.read_bytes())
    pages[4096:] = bytes(len(pages) - 4096)
    path.write_bytes(pages)
    with pytest.raises(KeysError, match=r"keys\.db: "):
        Keys(path, MASTER_KEY)


def test_a_key_that_no_key_can_be_is_not_there(keys: Keys) -> None:
    with pytest.raises(KeysError, match="there is no API key"):
        keys.revoke("\udcff\udcfe")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"something else entirely" * 1_000)])
def test_a_file_that_was_damaged_or_is_gone_is_reported(keys: Keys, path: Path, damage: Callable[[Path], object]) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma wal_checkpoint(truncate)")  # until then the file is not what is read
    assert keys.unreadable() is None
    damage(path)
    assert f"API keys can't be read from {path}: " in (keys.unreadable() or "")


def test_another_master_key_is_refused_at_once(keys: Keys, path: Path) -> None:
    with pytest.raises(MasterKeyError, match="another master key"):
        Keys(path, bytes(32))


def test_the_file_is_for_its_owner_alone(keys: Keys, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"nowhere/keys\.db: can't be opened as a file of API keys"):
        Keys(tmp_path / "nowhere/keys.db", MASTER_KEY)
    other = tmp_path / "other.db"
    other.write_bytes(b"something else entirely, and long enough" * 100)
    with pytest.raises(KeysError, match=r"other\.db: can't be opened"):
        Keys(other, MASTER_KEY)


def test_a_file_without_a_write_ahead_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its readers would wait for whoever locks it. A database in memory is one that has none on any file system."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeysError, match=r"no write-ahead logs \(journal_mode memory\)"):
        Keys(Path(":memory:"), MASTER_KEY)


# ---------------------------------------------------------------------- the master key


def test_a_master_key_is_made_and_read(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(load_master_key(file, {})) == 32
    with pytest.raises(FileExistsError):
        create_master_key(file)


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    assert load_master_key(file, {MASTER_KEY_VARIABLE: "ab" * 32}) == bytes([0xAB]) * 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o660])
def test_a_master_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    file.chmod(mode)
    with pytest.raises(MasterKeyError, match=rf"mode {mode:04o}\)\. Run: chmod 600"):
        load_master_key(file, {})


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "zz" * 32])
def test_a_malformed_master_key_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(MasterKeyError, match=rf"64 hex digits \(32 bytes\), and this has {len(text)} characters") as refused:
        load_master_key(tmp_path / "none", {MASTER_KEY_VARIABLE: text})
    assert not text or text not in str(refused.value)


def test_without_a_master_key_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match=f"neither {MASTER_KEY_VARIABLE} is set nor does"):
        load_master_key(tmp_path / "none", {})


def test_a_master_key_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_bytes(os.urandom(8) + b"\xff")
    file.chmod(0o600)
    with pytest.raises(MasterKeyError, match="can't be read as a master key"):
        load_master_key(file, {})
