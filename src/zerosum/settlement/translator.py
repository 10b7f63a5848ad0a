"""
One batch of both streams to rows: pure, whatever the store.

    batch --drop what is settled--> account events --> AccountTranslator --legs----> Pairing: nothing stays open
                                    market events  --> MarketTranslator  --trades--^

How a stream was cut into batches leaves no trace in the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, final

from zerosum.settlement.accounts import AccountTranslator, Past
from zerosum.settlement.batch import ACCOUNT, MARKET, SEQUENCE, Batch, Event, Position, events_after
from zerosum.settlement.errors import SettlementBroken
from zerosum.settlement.market import MarketPast, MarketTranslator
from zerosum.settlement.pairing import Pairing
from zerosum.settlement.rows import Rows

CAUSE: Final = 2  # word of an event


class Record(Past, MarketPast, Protocol):
    """What a store holds, as far as going on from there needs it."""

    def position(self) -> Position: ...


@final
class Stream:
    """The events of one stream that are next, and where they end."""

    def __init__(self, name: str, data: bytes, last: int, batch_sequence: int) -> None:
        self.last = last
        self._name = name
        self._data = data
        self._batch_sequence = batch_sequence

    def __iter__(self) -> Iterator[Event]:
        event: Event = ()
        for event in events_after(self._name, self._data, self.last):
            yield event
        if event:
            self.last = event[SEQUENCE]
            if event[CAUSE] > self._batch_sequence:
                raise SettlementBroken(
                    self._name, self.last, f"command {event[CAUSE]} caused it, and the batch ends at {self._batch_sequence}"
                )


@final
class Translator:
    """`position`: where the last batch that `rows_of` was given ends."""

    def __init__(self, record: Record) -> None:
        self.position = record.position()
        self._accounts = AccountTranslator(record)
        self._market = MarketTranslator(record)
        self._pairing = Pairing()

    def rows_of(self, batch: Batch) -> Rows | None:
        """
        What the batch adds and changes; None if it ends at or before `position`. Raises SettlementGap or SettlementBroken, and then this
        object is of no more use.
        """
        self._accounts.trim()
        if batch.sequence <= self.position.sequence:
            return None
        rows = Rows()
        account_events = Stream(ACCOUNT, batch.account_events, self.position.account_sequence, batch.sequence)
        market_events = Stream(MARKET, batch.market_events, self.position.market_sequence, batch.sequence)
        legs = self._accounts.translate(account_events, rows)
        trades = self._market.translate(market_events, rows)
        self._pairing.add(legs, trades)
        for (symbol, trade_id), parts in self._pairing.open.items():
            raise SettlementBroken(MARKET, market_events.last, f"trade {trade_id} of symbol {symbol} is told of only by half: {parts}")
        self.position = Position(batch.sequence, account_events.last, market_events.last, batch.account_chain, batch.market_chain)
        return rows
