"""
A request's parameters: from raw bytes to names and texts, and from texts to values.

    query, body --of_rest--> {"symbol": "BTCUSDT", ...}          for a name in both, the query's value holds
    params JSON --of_ws----> {"symbol": "BTCUSDT", ...}          numbers and booleans as they were written

Always true: a parameter that is here has a text, never an empty one; whatever the bytes, the only exception is ApiError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from zerosum.core.codes import BUY, DECREMENT, EXPIRE_BOTH, EXPIRE_MAKER, EXPIRE_TAKER, FOK, GTC, IOC, SELL, STP_NONE
from zerosum.gateway import errors
from zerosum.gateway.errors import Kind

T = TypeVar("T")
Params = dict[str, str]

PARAMETERS_MAX: Final = 64
NAME_CHARS_MAX: Final = 64
REPEATS_BYTES_MAX: Final = 4096  # a text with more colons than members is parsed again, which takes long: larger ones are refused
WORD_MAX: Final = (1 << 63) - 1


class LegalRange(NamedTuple):
    """What a text may be: the pattern as clients know it, and the same as a function."""

    text: str
    fits: Callable[[str], object]


def legal(text: str, pattern: str = "") -> LegalRange:
    return LegalRange(text, re.compile(pattern or text.removeprefix("^").removesuffix("$")).fullmatch)


INTEGER: Final = legal("^[0-9]{1,20}$")
SYMBOL: Final = legal("^[A-Z0-9-_.]{1,24}$", r"[A-Z0-9_.\-]{1,24}")
SYMBOLS_TEXT: Final = r'^\[("[A-Z0-9-_.]{1,24}"(,"[A-Z0-9-_.]{1,24}"){0,}){0,1}\]$'  # as clients know it: read as JSON, which is linear
CLIENT_ID: Final = legal("^[a-zA-Z0-9-_]{1,36}$", r"[a-zA-Z0-9_\-]{1,36}")
SIGNATURE_TEXT: Final = legal("^[A-Za-z0-9+/]{64,1368}={0,2}$")  # hexadecimal or base64: which, is for the key to say
RECV_WINDOW: Final = legal(r"^[0-9]{1,20}(\.[0-9]{1,3})?$")
BOOLEAN: Final = legal("^(true|false)$")

SIDES: Final = {"BUY": BUY, "SELL": SELL}
TIMES_IN_FORCE: Final = {"GTC": GTC, "IOC": IOC, "FOK": FOK}
STP_MODES: Final = {
    "NONE": STP_NONE, "EXPIRE_TAKER": EXPIRE_TAKER, "EXPIRE_MAKER": EXPIRE_MAKER, "EXPIRE_BOTH": EXPIRE_BOTH, "DECREMENT": DECREMENT,
}  # fmt: skip

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_names: Final = msgspec.json.Decoder(list[str]).decode
_decode_pairs: Final = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str).decode  # a repeated name is in it twice


# ---------------------------------------------------------------------- names and texts


def of_rest(query: bytes, body: bytes) -> Params:
    if not body:
        return of_pairs(query) if query else {}
    if not query:
        return of_pairs(body)
    return of_pairs(body) | of_pairs(query)


def of_pairs(raw: bytes) -> Params:
    if not raw.isascii():
        raise errors.ILLEGAL_CHARS_SOMEWHERE.of()
    if raw.count(b"&") > PARAMETERS_MAX:
        raise errors.TOO_MANY_PARAMETERS.of(PARAMETERS_MAX, raw.count(b"&") + 1)
    text = raw.decode("ascii")
    pairs = [pair.partition("=") for pair in text.split("&")]
    params = {name: value for name, _, value in pairs}
    if "%" in text or "+" in text or len(params) < len(pairs) or "" in params or "" in params.values() or len(pairs) > PARAMETERS_MAX:
        return of_unusual_pairs(pairs)
    if len(max(params, key=len)) > NAME_CHARS_MAX:
        raise errors.ILLEGAL_CHARS_SOMEWHERE.of()
    return params


def of_unusual_pairs(pairs: list[tuple[str, str, str]]) -> Params:
    """With escapes, or something wrong."""
    sent = [(unquoted(name), unquoted(value)) for name, equals, value in pairs if name or equals]  # "&&", or an "&" at the end, is nothing
    if len(sent) > PARAMETERS_MAX:
        raise errors.TOO_MANY_PARAMETERS.of(PARAMETERS_MAX, len(sent))
    params: Params = {}
    for name, value in sent:
        if not 1 <= len(name) <= NAME_CHARS_MAX:
            raise errors.ILLEGAL_CHARS_SOMEWHERE.of()
        if not value:
            raise errors.EMPTY.of(name)
        if name in params:
            raise errors.DUPLICATE_PARAMETER.of(name)
        params[name] = value
    return params


def unquoted(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    plain = unquote_to_bytes(text.replace("+", " "))
    if not plain.isascii():
        raise errors.ILLEGAL_CHARS_SOMEWHERE.of()
    return plain.decode("ascii")


def of_ws(raw: bytes) -> Params:
    """The members of a JSON object in UTF-8. A string without its quotes and escapes; any other value as it was written."""
    try:
        members = _decode_members(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.INVALID_JSON_MEMBER.of("params", "an object") from error
    if len(members) > PARAMETERS_MAX:
        raise errors.TOO_MANY_PARAMETERS.of(PARAMETERS_MAX, len(members))
    return {name: ws_text(name, bytes(value)) for name, value in members.items()}


def check_unrepeated(text: bytes) -> None:
    """Raises ApiError if the object of JSON `text` has a name twice: decoders take the last without a word."""
    if len(text) > REPEATS_BYTES_MAX:
        raise errors.TOO_MANY_PARAMETERS.of(PARAMETERS_MAX, text.count(b":"))
    try:
        names = [name for name, _ in _decode_pairs(text.decode())]
    except (ValueError, RecursionError) as error:
        raise errors.INVALID_JSON.of() from error
    seen: set[str] = set()
    for name in names:
        if name in seen:
            shown = name.isascii() and len(name) <= NAME_CHARS_MAX
            raise (errors.DUPLICATE_PARAMETER.of(name) if shown else errors.INVALID_JSON.of())
        seen.add(name)


def ws_text(name: str, value: bytes) -> str:
    if value.startswith(b'"'):
        try:
            text = _decode_text(value)
        except msgspec.DecodeError as error:
            raise errors.ILLEGAL_CHARS_SOMEWHERE.of() from error
    else:
        text = "" if value == b"null" else value.decode()
    if not name.isascii() or not text.isascii() or len(name) > NAME_CHARS_MAX:
        raise errors.ILLEGAL_CHARS_SOMEWHERE.of()
    if not text:
        raise errors.EMPTY.of(name)
    return text


def check_all_read(params: Params, accepted: frozenset[str]) -> None:
    if not accepted.issuperset(params):
        if not accepted:
            raise errors.TOO_MANY_PARAMETERS.of(0, len(params))
        raise errors.UNREAD.of(len(accepted & params.keys()), len(params))


# ---------------------------------------------------------------------- values


def mandatory(params: Params, name: str) -> str:
    value = params.get(name)
    if value is None:
        raise errors.MANDATORY.of(name)
    return value


def matching(value: str, name: str, within: LegalRange) -> str:
    if within.fits(value) is None:
        raise errors.ILLEGAL_CHARS.of(name, within.text)
    return value


def one_of(params: Params, name: str, values: dict[str, T], otherwise: Kind) -> T:
    """A mandatory parameter that is one of a few names."""
    value = values.get(mandatory(params, name))
    if value is None:
        raise otherwise.of()
    return value


def integer(value: str, name: str) -> int:
    """Within 0 .. 2^63 - 1."""
    number = int(matching(value, name, INTEGER))
    if number > WORD_MAX:
        raise errors.OVERFLOW.of(name)
    return number


def optional_integer(params: Params, name: str) -> int | None:
    value = params.get(name)
    return None if value is None else integer(value, name)


def limit(params: Params, default: int, most: int) -> int:
    """How many rows: 1 and more; more than `most` gives `most`."""
    value = params.get("limit")
    if value is None:
        return default
    number = integer(value, "limit")
    if number == 0:
        raise errors.INVALID_PARAMETER.of("limit")
    return min(number, most)


def boolean(params: Params, name: str, default: bool) -> bool:
    value = params.get(name)
    if value is None:
        return default
    return matching(value.lower(), name, BOOLEAN) == "true"


def client_id(params: Params, name: str) -> str | None:
    value = params.get(name)
    return None if value is None else matching(value, name, CLIENT_ID)


def symbol_names(text: str) -> list[str]:
    """The parameter `symbols`: a JSON array of names, none twice."""
    try:
        names = _decode_names(text)
    except msgspec.DecodeError as error:
        raise errors.ILLEGAL_CHARS.of("symbols", SYMBOLS_TEXT) from error
    if "\\" in text or not all(map(SYMBOL.fits, names)):
        raise errors.ILLEGAL_CHARS.of("symbols", SYMBOLS_TEXT)
    if len(set(names)) < len(names):
        raise errors.DUPLICATE_SYMBOL.of()
    return names


# ---------------------------------------------------------------------- time

MICROSECONDS_FROM: Final = 10**14  # a timestamp from here on is in microseconds: in milliseconds it would be the year 5138
AHEAD_MAX_US: Final = 1_000_000
RECV_WINDOW_DEFAULT_US: Final = 5_000_000
RECV_WINDOW_MAX_US: Final = 60_000_000
DAY_US: Final = 86_400_000_000

TIME_UNITS: Final = {"MILLISECOND": 1000, "millisecond": 1000, "MICROSECOND": 1, "microsecond": 1}
"""By name, how many microseconds one has."""


def divisor_of(time_unit: str | None) -> int:
    """Microseconds in the unit that a client wants times in."""
    if time_unit is None:
        return 1000
    divisor = TIME_UNITS.get(time_unit)
    if divisor is None:
        raise errors.INVALID_TIME_UNIT.of()
    return divisor


def time_us(value: str, name: str) -> int:
    """A millisecond's first microsecond."""
    number = integer(value, name)
    return number if number >= MICROSECONDS_FROM else number * 1000


def last_us(time_us: int, value: str) -> int:
    """The last microsecond of the time that `value` says: what happened within a millisecond is shown with that millisecond."""
    return time_us if int(value) >= MICROSECONDS_FROM else time_us + 999


def recv_window_us(value: str) -> int:
    whole, _, fraction = matching(value, "recvWindow", RECV_WINDOW).partition(".")
    window_us = int(whole) * 1000 + int(fraction.ljust(3, "0"))
    if window_us > RECV_WINDOW_MAX_US:
        raise errors.BAD_RECV_WINDOW.of()
    return window_us


def deadline_us(params: Params, now_us: int) -> int:
    """When a signed request ends to be good: its timestamp and recvWindow, checked against the time at which it came."""
    sent_us = time_us(mandatory(params, "timestamp"), "timestamp")
    window = params.get("recvWindow")
    window_us = RECV_WINDOW_DEFAULT_US if window is None else recv_window_us(window)
    if sent_us >= now_us + AHEAD_MAX_US:
        raise errors.TOO_EARLY.of()
    if now_us - sent_us > window_us:
        raise errors.TOO_LATE.of()
    return sent_us + window_us


def time_range_us(params: Params, longest_us: int = DAY_US) -> tuple[int | None, int | None]:
    """startTime and endTime, both inclusive."""
    start_text, end_text = params.get("startTime"), params.get("endTime")
    start = None if start_text is None else time_us(start_text, "startTime")
    end = None if end_text is None else time_us(end_text, "endTime")
    if start is not None and end is not None:
        if end < start:
            raise errors.INVALID_PARAMETER.of("endTime")
        if end - start > longest_us:
            raise errors.INTERVAL_TOO_LONG.of(longest_us // 3_600_000_000)
    return start, None if end is None or end_text is None else last_us(end, end_text)
