"""Exports are opened in spreadsheets: a client's id must not be run there, and must still be what it was."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosum.settlement.csv_cells import cell, text_of
from zerosum.settlement.export import Decimals, ExportedTrade, Steps, trade_line

FORMULAS = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  @x", "＝1", "'=1", "'", "=a,b", '="x"']  # noqa: RUF001


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_is_a_text(text: str) -> None:
    ((found,),) = csv.reader(io.StringIO(cell(text) + "\n", newline=""))
    assert found == "'" + text
    assert text_of(found) == text


@pytest.mark.parametrize("text", ["", "1001", "order-7", "a=b", "A.B:c/d_e", "0.5", "naïve", "it's"])
def test_what_is_no_formula_stands_as_it_is(text: str) -> None:
    assert cell(text) == text


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("=+-@'\t\r\n\", "), max_size=12), min_size=1, max_size=5)
)
def test_every_text_comes_back(texts: list[str]) -> None:
    line = ",".join(map(cell, texts)) + "\n"
    (found,) = csv.reader(io.StringIO(line, newline=""))
    assert [text_of(each) for each in found] == (texts if texts != [""] else [])


def test_an_exported_trade_has_its_ids_guarded_and_its_numbers_as_they_are() -> None:
    trade = ExportedTrade(7, "=HYPERLINK(1)", "-2+3", 1001, 1002, 1, 100, 5, 500)
    line = trade_line(trade, Steps(1, 2, 1, 2, 2), Decimals(), {1001: "+anna", 1002: "bob,\nx"}.__getitem__)
    ((number, taker, maker, buyer, seller, side, price, qty, quote),) = csv.reader(io.StringIO(line, newline=""))
    assert (taker, maker, buyer) == ("'=HYPERLINK(1)", "'-2+3", "'+anna")
    assert [text_of(each) for each in (taker, maker, buyer, seller)] == ["=HYPERLINK(1)", "-2+3", "+anna", "bob,\nx"]
    assert (number, side, price, qty, quote) == ("7", "buy", "100", "5000000", "500")
