"""The scan of the repository finds each form of credential, and nothing that is none. What is planted is put together here."""

from __future__ import annotations

import base64
import hashlib
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tools import scan_secrets
from tools.scan_secrets import ALLOWED, RANDOM, RULES, found_in, looks_random, scan

ROOT = Path(__file__).resolve().parents[2]
BASE64 = base64.b64encode(hashlib.sha512(b"random, as far as anybody can tell").digest()).decode()
DIGITS = hashlib.sha256(b"the same").hexdigest()
LETTERS = BASE64.replace("+", "a").replace("/", "b").replace("=", "")

ADDRESS = "postgres://" + "me:hunter2@db.example/x"

PLANTED = {
    "a private key": "-----BEGIN " + "EC PRIVATE KEY-----\n" + BASE64,
    "a key of AWS": "AK" + "IA" + "ABCDEFGHIJKLMNOP",
    "a key of Google's": "AI" + "za" + LETTERS[:35],
    "a service account of Google's": '"private_' + f'key_id": "{hashlib.sha1(b"").hexdigest()}"',  # noqa: S324
    "a token of GitHub": "gh" + "p_" + LETTERS[:36],
    "a token of GitLab": "gl" + "pat-" + LETTERS[:20],
    "a token of Slack": "xo" + "xb-" + "123456789012-abcdef",
    "a webhook of Slack": "https://hooks.sl" + "ack.com/services/T000/B000/abcdef",
    "a token of a package registry": "np" + "m_" + LETTERS[:36],
    "a key of Stripe": "sk" + "_live_" + LETTERS[:24],
    "a JSON web token": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0In0." + LETTERS[:20],
    "an address with a password": ADDRESS,
    "a password that is written down": "pass" + 'word = "hunter2!"',
}


@pytest.mark.parametrize("rule", RULES)
def test_each_form_is_found(rule: str) -> None:
    text = f"# a file\n\nx = 1\n{PLANTED[rule]}\n"
    assert (rule, 4) in {(found.rule, found.line) for found in found_in("planted.py", text)}


@pytest.mark.parametrize(
    "text",
    [
        DIGITS,
        DIGITS[:32],
        BASE64,
        LETTERS[:64],
    ],
    ids=["64 digits", "32 digits", "base64", "an API secret"],
)
def test_what_looks_random_is_found(text: str) -> None:
    assert RANDOM in {found.rule for found in found_in("planted.txt", f"key: {text}\n")}


@pytest.mark.parametrize(
    "text",
    [
        "test_a_faulty_configuration_is_refused_with_exactly_what_is_wrong",
        "ZEROSUM_WEBSOCKET_CONNECTIONS_PER_ADDRESS_MAX",
        "docs/decisions/0011-an-events-cause-is-the-command-it-began-with",
        "0f1e" * 16,
        "00000000-0000-0000-0000-000000000000",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "a" * 64,
    ],
)
def test_what_a_person_wrote_does_not(text: str) -> None:
    assert not looks_random(text)


def test_a_password_that_is_read_is_none_that_is_written_down() -> None:
    text = "password = read_secret(path)\npassword: str\npassword_file = '/run/secrets/kafka'\nsecret = f'{x}'\nhttp://127.0.0.1:8700/x\n"
    assert list(found_in("x.py", text)) == []


def test_nothing_is_found_in_the_repository_and_every_exception_is_needed_and_says_why() -> None:
    bad, used = scan()
    assert [found.shown for found in bad] == []
    assert [each for each in ALLOWED if each not in used] == []
    assert all(len(each.why) > 5 for each in ALLOWED)


def test_a_credential_in_a_file_that_git_would_add_fails_the_check_and_is_not_printed(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/scan_secrets.py").write_text(Path(scan_secrets.__file__).read_text())
    run = [sys.executable, "-m", "tools.scan_secrets"]
    assert subprocess.run(run, cwd=tmp_path, timeout=60).returncode == 0
    secret = secrets.token_hex(32)
    (tmp_path / "new.env").write_text(f"ZEROSUM_MASTER_KEY={secret}\n")
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.startswith("new.env:1: what looks random: ")) == (1, True)
    assert secret[:10] not in done.stdout


def test_make_check_scans() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (check,) = [part for part in makefile.split("\n\n") if part.startswith("check:")]
    assert "-m tools.scan_secrets" in check
