"""
Secrets are compared in a time that says nothing of them: by hmac.compare_digest, by a verifier of a library, or by looking up their hash.
Found by reading the sources: a comparison of a name that sounds like a secret fails this, unless HARMLESS says why it is.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

SOURCE: Final = Path(__file__).resolve().parents[2] / "src/zerosum"
FOLDERS: Final = ("identity", "console", "gateway", "net", "ops", "services")
SOUNDS_SECRET: Final = re.compile(r"secret|password|token|signature|digest|hashed|csrf|code\b|_mac\b|hexdigest", re.IGNORECASE)
HARMLESS: Final = {
    ("console/login.py", "form.new_password == form.password"): "both are the caller's own",
    ("identity/people.py", "each != hashed"): "hashes, of a code that was found among them",
    ("gateway/auth.py", "name != 'signature'"): "the name of a parameter",
    ("identity/signatures.py", "base64.b64encode(raw) == text.encode()"): "the client's own text, against itself",
    (
        "ops/master_keys.py",
        "content == hashlib.sha256(guess.encode()).digest()",
    ): "the operator's own key, at a start, against words that all know",
    ("ops/settings.py", "(logs_in.user is None) != (logs_in.password_file is None)"): "whether they are set",
}


def comparisons(text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Compare) or not any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) and side.value in (None, "", 0, b"") for side in sides):
            continue
        names = [each for side in sides for each in re.findall(r"\w+", ast.unparse(side))]
        if any(SOUNDS_SECRET.search(name) for name in names) and not any("len(" in ast.unparse(side) for side in sides):
            found.append(ast.unparse(node))
    return found


MODULES: Final = {str(path.relative_to(SOURCE)): path for folder in FOLDERS for path in sorted((SOURCE / folder).rglob("*.py"))}


def test_no_secret_is_compared_letter_by_letter() -> None:
    found = {(name, each) for name, path in MODULES.items() for each in comparisons(path.read_text())}
    assert sorted(found) == sorted(HARMLESS), "one that is new, or is gone"


@pytest.mark.parametrize("planted", ["given.secret == secret", "token != other", "sign(x) == signature", "sha256(a).hexdigest() == b"])
def test_one_that_is_compared_so_is_found(planted: str) -> None:
    assert comparisons(planted) == [planted]


def test_what_says_nothing_is_none() -> None:
    for harmless in ("len(token) == 43", "secret == ''", "password is None", "compare_digest(a, b)"):
        assert comparisons(harmless) == []
