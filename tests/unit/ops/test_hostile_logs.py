"""What clients send into the log can't forge a line, nor do anything to the terminal of who reads it."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import Any

import pytest

from zerosum.ops.logging import Line, console_renderer, render_json

NOW_NS = 1_700_000_000_123_456_000
FORGED = "12:00:00.000 [error    ] forged"

HOSTILE = {
    "a line": f"me\n{FORGED}",
    "a line for Windows": f"me\r\n{FORGED}",
    "back to the line's beginning": f"me\r{FORGED}",
    "a line in JSON": 'me"}\n{"level":"error","event":"forged',
    "colors": "me\x1b[31mred\x1b[0m",
    "a window's title": "me\x1b]0;owned\x07",
    "the clipboard": "me\x1b]52;c;b3duZWQ=\x07",
    "a cleared screen": "me\x1b[2J\x1b[H",
    "C1's escape": "me\x9b31mred",
    "backspaces": "me\x08\x08you",
    "delete": "me\x7f",
    "nothing": "me\x00you",
    "form feed and tabs": "me\f\v\tyou",
    "next line": "me\x85you",
    "Unicode's lines": "me\u2028you\u2029they",
    "writing that turns": "me\u202egnp.exe\u2066x\u2069",
    "half a character": "me\ud800",
}
BAD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def raised(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_line_stays_one_line_and_prints_only_what_can_be_printed(text: str) -> None:
    fields = {
        "client_id": text,
        "path": f"/api/v3/{text}",
        "headers": {text: [text, {"deep": text}]},
        text: 1,
        "raw": text.encode("utf-8", "replace"),
    }
    line = Line(NOW_NS, "info", "gateway.rest", f"request.refused {text}", fields, None)
    rendered = render_json(line).decode()
    assert rendered.endswith("\n")
    assert not BAD.search(rendered[:-1])
    assert json.loads(rendered)["client_id"] == text, "machines read what was sent"
    for colors in (False, True):
        rendered = console_renderer(colors=colors)(line).decode()
        plain = re.sub(r"\x1b\[\d+m", "", rendered) if colors else rendered  # the renderer's own colors
        assert not BAD.search(plain[:-1]), repr(plain)
        assert f"\n{FORGED}" not in rendered


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_traceback_is_apart_from_lines_whatever_its_error_says(text: str) -> None:
    line = Line(NOW_NS, "error", "gateway.rest", "failed", {}, raised(text))
    assert render_json(line).decode().count("\n") == 1
    first, *rest = console_renderer(colors=False)(line).decode().removesuffix("\n").split("\n")
    assert "failed" in first
    assert rest
    assert all(each.startswith("    ") for each in rest)
    assert not BAD.search(first + "".join(rest))


def test_colors_of_a_hostile_field_are_no_colors() -> None:
    """The renderer colors by escapes of its own: those of a client must not pass with them."""
    line = Line(NOW_NS, "info", "gateway.rest", "x", {"client_id": HOSTILE["colors"]}, None)
    assert "\\u001b[31mred" in console_renderer(colors=True)(line).decode()


def test_words_of_every_language_stay_as_they_are() -> None:
    text = "Börse 取引所 биржа سوق 🦆"
    assert all(unicodedata.category(each) != "Cc" for each in text)
    line = Line(NOW_NS, "info", "x", "x", {"name": text}, None)
    assert text in render_json(line).decode()
    assert text in console_renderer(colors=False)(line).decode()
