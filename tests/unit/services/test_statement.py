"""A statement from outside: what is wrong in it is told with line and column, and what is read is exact."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zerosum.errors import ConfigError
from zerosum.services.statement import BALANCE, DEPOSIT, WITHDRAWAL, Line, Money, StatementReader, moment, read_statement, time_us
from zerosum.settlement.movements import Listed

BTC, USDT = 0, 1
ASSETS = {BTC: Listed("BTC", 8), USDT: Listed("USDT", 2)}
HEADER = "type,reference,asset,amount,time,address\n"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a machine whose own time is another."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def read(text: str) -> list[Line]:
    return list(StatementReader("bank.csv", ASSETS).lines(text))


def test_amounts_are_exact_and_columns_in_any_order() -> None:
    text = 'amount,type,asset,reference\n0.00000001,deposit,BTC,"a,b"\n\n 90000000000.01 , withdrawal , USDT , tx \n1.50,balance,USDT,\n'
    assert read(text) == [
        Line(2, DEPOSIT, "a,b", Money(BTC, 1)),
        Line(4, WITHDRAWAL, "tx", Money(USDT, 9_000_000_000_001)),
        Line(5, BALANCE, "", Money(USDT, 150)),
    ]


def test_a_line_is_where_it_begins_also_behind_one_that_goes_on_in_the_next() -> None:
    assert [line.number for line in read(HEADER + '"deposit",a,BTC,"1\n",,\nbalance,,BTC,1,,\n')] == [2, 4]


@pytest.mark.parametrize(
    ("text", "expected_us"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:00:00.000001", 1),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("2026-11-28T09:30:00.123456Z", 1_795_858_200_123_456),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise_and_exact(text: str, expected_us: int, elsewhere: None) -> None:
    assert time_us(text) == expected_us
    assert time_us(moment(expected_us)) == expected_us


FAULTS = [
    ("", "line 1: a statement begins with the names of its columns, and type, reference, asset, amount must be among them."),
    ("type,reference,amount\n", "line 1: a statement begins with the names of its columns, and asset must be among them."),
    ("type,reference,asset,amount,adress\n", "line 1: 'adress' is no column of a statement; there are type, reference, asset,"),
    ("type,reference,asset,amount,type\n", "line 1: the column type is there more than once."),
    ("deposit,a,BTC,1,,\n", "line 1: 'deposit' is no column of a statement"),
    (HEADER + "deposit,a,BTC,1\n", "line 2: it has 4 columns, and the header 6."),
    (HEADER + "deposit,a,BTC,1,,,\n", "line 2: it has 7 columns, and the header 6."),
    (HEADER + "Deposit,a,BTC,1,,\n", "line 2, column type: 'Deposit' is none of deposit, withdrawal, balance."),
    (HEADER + "deposit,,BTC,1,,\n", "line 2, column reference: '' is not 1 to 128 characters that can be printed."),
    (HEADER + f"deposit,{'x' * 129},BTC,1,,\n", "line 2, column reference: 'xxxxx"),
    (HEADER + "withdrawal,a\x1b[2J,BTC,1,,\n", r"line 2, column reference: 'a\x1b[2J' is not"),
    (HEADER + "balance,a,BTC,1,,\n", "line 2, column reference: a balance has none."),
    (HEADER + "deposit,a,DOGE,1,,\n", "line 2, column asset: 'DOGE' is not listed here; listed are BTC, USDT."),
    (HEADER + "deposit,a,btc,1,,\n", "line 2, column asset: 'btc' is not listed here"),
    (HEADER + "balance,,BTC,1,,\nbalance,,USDT,1,,\nbalance,,BTC,1,,\n", "line 4, column asset: the balance of BTC stands in line 2 too."),
    (HEADER + "deposit,a,USDT,0.001,,\n", "line 2, column amount: 0.001 has more decimals than USDT, which has 2."),
    (HEADER + "deposit,a,BTC,1,,\ndeposit,b,BTC,1e3,,\n", "line 3, column amount: '1e3' is no decimal number"),
    (HEADER + "deposit,a,BTC,-1,,\n", "line 2, column amount: '-1' is no decimal number"),
    (HEADER + 'deposit,a,BTC,"1,000",,\n', "line 2, column amount: '1,000' is no decimal number"),
    (HEADER + "deposit,a,BTC,,,\n", "line 2, column amount: '' is no decimal number"),
    (HEADER + "deposit,a,BTC,0,,\n", "line 2, column amount: 0 is nothing that came in or went out."),
    (HEADER + "deposit,a,BTC,1,yesterday,\n", "line 2, column time: 'yesterday' is no time as ISO 8601 has it"),
    (HEADER + "deposit,a,BTC,1,0001-01-01T00:00:00+14:00,\n", "line 2, column time: "),
    (HEADER + f"withdrawal,a,BTC,1,,{'x' * 129}\n", "line 2, column address: 'xxxxx"),
    (HEADER + "withdrawal,a,BTC,1,,x\x00\n", r"line 2, column address: 'x\x00' is not"),
    (HEADER + 'deposit,a,BTC,1,,\ndeposit,"a"b,BTC,1,,\n', "line 3: it is no CSV: "),
    (HEADER + 'deposit,"a,BTC,1,,\n', "line 2: it is no CSV: "),
]


@pytest.mark.parametrize(("text", "said"), FAULTS)
def test_what_is_no_statement_is_told_with_line_and_column(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert str(refused.value).startswith(f"bank.csv: {said}")


def test_a_file_is_utf_8_with_or_without_the_mark_of_spreadsheets(tmp_path: Path) -> None:
    file = tmp_path / "bank.csv"
    for mark in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(mark + HEADER.encode() + "deposit,grün,BTC,1,,\r\n".encode())
        assert [line.reference for line in read_statement(file, ASSETS)] == ["grün"]
    file.write_bytes(HEADER.encode() + "deposit,grün,BTC,1,,\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"bank.csv: line 2 is not UTF-8\."):
        read_statement(file, ASSETS)
    with pytest.raises(ConfigError, match=r"none.csv can't be read: No such file"):
        read_statement(tmp_path / "none.csv", ASSETS)
