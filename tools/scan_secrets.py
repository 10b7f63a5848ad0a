"""
Looks for credentials in every text file of the repository, so that none is ever committed: `python -m tools.scan_secrets`, in `make check`.

    git ls-files --> texts --> each rule --> found, unless ALLOWED says why it is none --> exit code 1

A rule looks for a form that only a credential has, or for a text that looks random: four bits of information a character and more, as
nothing written by a person has. Always true: what is found is printed shortened, for logs of checks are kept.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]

WRITTEN_DOWN: Final = "a password that is written down"

RULES: Final = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s*(?:\\n|\n)\s*[\"']?[A-Za-z0-9+/=]{16}"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a key of Google's": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a service account of Google's": re.compile(r"\"private_key_id\"\s*:\s*\"[0-9a-f]{40}\""),
    "a token of GitHub": re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{22,})\b"),
    "a token of GitLab": re.compile(r"\bglpat-[0-9A-Za-z_-]{20,}\b"),
    "a token of Slack": re.compile(r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}"),
    "a webhook of Slack": re.compile(r"hooks\.slack\.com/services/T[0-9A-Z]+/B[0-9A-Z]+/[0-9A-Za-z]+"),
    "a token of a package registry": re.compile(r"\b(?:pypi-AgE[0-9A-Za-z_-]{20,}|npm_[0-9A-Za-z]{36})\b"),
    "a key of Stripe": re.compile(r"\b[rs]k_live_[0-9A-Za-z]{20,}\b"),
    "a JSON web token": re.compile(r"\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}"),
    "an address with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'{}<>]+:[^\s/@\"'{}<>]+@[\w.-]+"),
    WRITTEN_DOWN: re.compile(
        r"(?i)\b(?:\w*_)?(?:password|passwd|passphrase|secret|token|api_?key)[\"']?\s*[:=]\s*[\"'](?!\*|\{|\$)[^\"'\s]{6,}[\"']"
    ),
}
RANDOM: Final = "what looks random"
WORD: Final = re.compile(r"(?<![\w+/-])[0-9A-Za-z+/_-]{32,}={0,2}(?![\w+/=-])")
DIGITS: Final = re.compile(r"[0-9a-fA-F]+")
BITS_OF_DIGITS_MIN: Final = 3.0  # a character, of hexadecimal digits; chance gives 3.5 to 3.9
BITS_MIN: Final = 4.5  # of all others; chance gives 5 and more
DIGITS_CHARS: Final = {32, 40, 48, 64, 96, 128}  # keys have one of these lengths
BYTES_MAX: Final = 2 << 20


class Allowed(NamedTuple):
    """What is no credential: `rule` in `path` (and below it, where that ends with /), where the line has `text`."""

    path: str
    rule: str
    text: str
    why: str


FAULTY: Final = "tests/unit/ops/faulty_configurations.toml"
ALLOWED: Final = (
    Allowed("requirements/", RANDOM, "--hash=sha256:", "hashes of packages, which anybody may know"),
    Allowed("src/zerosum/devcluster/servers/", RANDOM, ".jar", "hashes of jars"),
    Allowed("src/zerosum/bench/exchange_core.py", RANDOM, "SHA256", "hashes of recorded runs"),
    Allowed("src/zerosum/bench/gateway_mix.py", RANDOM, "SHA256", "the hash of a workload"),
    Allowed("tests/golden/", RANDOM, "", "hashes of recorded runs"),
    Allowed("tests/integration/test_settlement_sqlite.py", RANDOM, "", "the hash of a recorded run"),
    Allowed("tests/unit/gateway/test_auth.py", RANDOM, "", "the example that Binance's documentation signs, key and secret included"),
    Allowed("tests/unit/gateway/test_auth.py", WRITTEN_DOWN, "API_KEY", "the same"),
    Allowed("tests/unit/gateway/test_auth.py", WRITTEN_DOWN, "SECRET", "the same"),
    Allowed("tests/support/browser.py", WRITTEN_DOWN, "PASSWORD", "of people whom tests make, and who end with them"),
    Allowed("tests/unit/identity/test_people.py", WRITTEN_DOWN, "PASSWORD", "the same"),
    Allowed(FAULTY, WRITTEN_DOWN, "hunter2", "where a password does not belong, which is refused"),
    Allowed(FAULTY, "an address with a password", "hunter2", "the same"),
    Allowed(FAULTY, RANDOM, "ZEROSUM_MASTER_KEY", "master keys that are refused as weak"),
    Allowed("tests/unit/ops/test_settings.py", RANDOM, "0123456789abcdef", "digits in their order"),
)


class Found(NamedTuple):
    path: str
    line: int
    rule: str
    text: str

    @property
    def shown(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text[:6]}... ({len(self.text)} characters)"


def found_in(path: str, text: str) -> Iterator[Found]:
    """All that a file has, whether it is allowed or not."""
    for rule, pattern in RULES.items():
        for match in pattern.finditer(text):
            yield Found(path, text.count("\n", 0, match.start()) + 1, rule, match[0])
    for match in WORD.finditer(text):
        if looks_random(match[0]):
            yield Found(path, text.count("\n", 0, match.start()) + 1, RANDOM, match[0])


def looks_random(word: str) -> bool:
    if DIGITS.fullmatch(word):
        return len(word) in DIGITS_CHARS and bits_of(word) >= BITS_OF_DIGITS_MIN
    has_kinds = any(map(str.isdigit, word)) and any(map(str.islower, word)) and any(map(str.isupper, word))
    return has_kinds and bits_of(word) >= BITS_MIN


def bits_of(word: str) -> float:
    """Information in a character."""
    return -sum(count / len(word) * math.log2(count / len(word)) for count in Counter(word).values())


def is_allowed(found: Found, line: str, allowed: tuple[Allowed, ...] = ALLOWED) -> bool:
    return any(
        found.rule == each.rule
        and each.text in line
        and (found.path.startswith(each.path) if each.path.endswith("/") else found.path == each.path)
        for each in allowed
    )


def texts() -> Iterator[tuple[str, str]]:
    """Every text file that is tracked, or would be by `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = ROOT / name
        if path.is_file() and path.stat().st_size <= BYTES_MAX and b"\0" not in (content := path.read_bytes()):
            yield name, content.decode(errors="replace")


def scan() -> tuple[list[Found], set[Allowed]]:
    """What is not allowed, and which entries of the list allowed something."""
    bad, used = [], set()
    for name, text in texts():
        lines = text.split("\n")
        for found in found_in(name, text):
            line = lines[found.line - 1]
            entries = [each for each in ALLOWED if is_allowed(found, line, (each,))]
            used.update(entries)
            if not entries:
                bad.append(found)
    return bad, used


def main() -> int:
    bad, _ = scan()
    for found in bad:
        sys.stdout.write(f"{found.shown}\n")
    if bad:
        sys.stdout.write(
            "Take it out, and make it anew where it was in use; or say in ALLOWED of tools/scan_secrets.py why it is no credential.\n"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
