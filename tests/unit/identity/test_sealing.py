"""The master key: what it seals opens at its own place alone, and it is shown to nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zerosum.identity.sealing import (
    MASTER_KEY_VARIABLE,
    MasterKey,
    MasterKeyError,
    Unopened,
    create_master_key,
    load_master_key,
    master_key_from,
)

ONE, OTHER = bytes(range(32)), bytes(range(1, 33))


def test_what_is_sealed_opens_at_its_own_place_alone() -> None:
    key = MasterKey(ONE)
    sealed = key.seal(b"secret", b"here")
    assert key.open(sealed, b"here") == b"secret"
    assert b"secret" not in sealed
    with pytest.raises(Unopened):
        key.open(sealed, b"there")


def test_the_same_text_is_never_sealed_alike() -> None:
    assert len({MasterKey(ONE).seal(b"secret", b"here") for _ in range(100)}) == 100


def test_every_bit_counts() -> None:
    key = MasterKey(ONE)
    sealed = key.seal(b"secret", b"here")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unopened):
            key.open(bytes(changed), b"here")
    for length in range(len(sealed)):
        with pytest.raises(Unopened):
            key.open(sealed[:length], b"here")


def test_the_first_key_seals_and_the_others_open() -> None:
    before, after = MasterKey(ONE), MasterKey(OTHER, ONE)
    old, new = before.seal(b"secret", b"here"), after.seal(b"secret", b"here")
    assert after.open(old, b"here") == after.open(new, b"here") == b"secret"
    assert (after.is_current(old), after.is_current(new)) == (False, True)
    with pytest.raises(Unopened):
        before.open(new, b"here")


def test_nothing_of_a_key_is_shown() -> None:
    text = repr(MasterKey(ONE, OTHER))
    assert ONE.hex()[:8] not in text
    assert OTHER.hex()[:8] not in text
    assert text != repr(MasterKey(OTHER))


def test_a_master_key_is_made_and_read(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_master_key(file, {}).tags == load_master_key(file, {}).tags
    with pytest.raises(FileExistsError):
        create_master_key(file)


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    assert load_master_key(file, {MASTER_KEY_VARIABLE: ONE.hex()}).tags == MasterKey(ONE).tags


def test_a_file_has_one_key_or_several_while_it_is_being_changed(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    file.write_text(f"{OTHER.hex()}\n{ONE.hex()}\n")
    assert load_master_key(file, {}).tags == MasterKey(OTHER, ONE).tags


@pytest.mark.parametrize("keys", [[ONE, ONE], [bytes([n]) * 32 for n in range(5)]])
def test_the_same_key_twice_or_too_many_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(MasterKeyError, match="of which the first seals"):
        master_key_from("\n".join(key.hex() for key in keys), "here")


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
