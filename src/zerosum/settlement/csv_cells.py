"""
Texts as cells of CSV that a spreadsheet opens without running them.

    =HYPERLINK(...)  -->  '=HYPERLINK(...)          a formula becomes a text, as a person would write it there
    'tis             -->  ''tis                     so that what was put before can be taken away again
    a,b              -->  "a,b"                     as RFC 4180 says

Always true: `text_of(what a reader of CSV finds) == text`. Numbers are no texts, and stand as they are.
"""

from __future__ import annotations

import re
from typing import Final

GUARD: Final = "'"
_BEGINS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", GUARD)  # noqa: RUF001  full width: some take them too
_IS_QUOTED: Final = re.compile(r'[",\r\n]')


def cell(text: str) -> str:
    """As it stands in the file."""
    guarded = GUARD + text if text.lstrip(" ").startswith(_BEGINS_A_FORMULA) else text
    return '"' + guarded.replace('"', '""') + '"' if _IS_QUOTED.search(guarded) else guarded


def text_of(found: str) -> str:
    """Of what a reader of CSV finds in the file: the text that it was."""
    if found.startswith(GUARD) and found[1:].lstrip(" ").startswith(_BEGINS_A_FORMULA):
        return found[1:]
    return found
