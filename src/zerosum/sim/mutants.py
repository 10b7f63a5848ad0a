"""
Planted faults: single mistakes, each of a kind that has cost somebody money, put into the product's source one at a time. The simulator must
find every one, or it would not find the next that somebody makes by accident.

    source tree --copy, one text replaced--> a tree with a fault --runs, seed after seed--> what a checker says, or: not caught
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """In `module`, `old` is there once, and `new` in its place is the fault."""

    name: str
    module: str
    old: str
    new: str
    world: str = "cluster"


MUTANTS: Final = (
    Mutant(
        "reply before sync", "services/shard.py",
        "        self._log.sync()\n\n    def _written",
        "\n    def _written",
        "embedded",
    ),
    Mutant(
        "torn tail accepted", "log/cursor.py",
        "        if last_sequence > verify_after and hashlib.sha256(self._block[at:digest_at]).digest() != digest:",
        "        if False:",
        "embedded",
    ),
    Mutant(
        "position saved before state", "services/cluster/role_snapshots.py",
        "path = self._store.write(next_offset, said, sections)",
        "path = self._store.write(next_offset + 1, said, sections)",
    ),
    Mutant(
        "highest seen instead of next", "core/origins.py",
        'assert sequence == last[origin] + 1, f"record {last[origin] + 1} of origin {origin} comes before record {sequence}: one is missing"',
        "pass",
        "lossy",
    ),
    Mutant(
        "dedupe by batch instead of record", "log/sequences.py",
        "new = after(records, self.last)",
        "new = records if not records or sequence_at(records, 0) > self.last else b''",
    ),
    Mutant(
        "gap ignored", "log/sequences.py",
        "raise Gap(self.stream, self.last + 1, found)",
        "pass",
        "lossy",
    ),
    Mutant(
        "sequence continued after a failed delivery", "services/cluster/role.py",
        "                    sends.create_task(shared.append(pack(piece, writer=writer)))",
        "                    sends.create_task(_quietly(shared.append(pack(piece, writer=writer))))",
    ),
    Mutant(
        "own stream written before the shared ones", "services/cluster/role.py",
        "self._seen_at_send = self.outbox.seen.upto\n        async with asyncio.TaskGroup() as sends:\n            for destination",
        "self._seen_at_send = self.outbox.seen.upto\n        await own.append(pack(b'', writer=writer, upto=due.upto, sequence=0))\n"
        "        async with asyncio.TaskGroup() as sends:\n            for destination",
    ),
    Mutant(
        "hold re-priced at once on move", "core/ubscore.py",
        "        holds[hold + MOVING_TO] = price_ticks\n        more = worst_cost(holds, self.listings.symbols, hold) - holds[hold + FROZEN]",
        "        holds[hold + MOVING_TO] = price_ticks\n        holds[hold + PRICE] = price_ticks\n"
        "        more = worst_cost(holds, self.listings.symbols, hold) - holds[hold + FROZEN]",
    ),
    Mutant(
        "release on cancel request instead of done", "core/ubscore.py",
        "        self.orders.cancel(holds[hold + TERMS] >> SYMBOL_SHIFT, order_id, holds[hold + ORDER], self.request)",
        "        self.ledger.release(holds[hold + PAYS], holds[hold + FROZEN])\n        holds[hold + FROZEN] = 0\n"
        "        self.orders.cancel(holds[hold + TERMS] >> SYMBOL_SHIFT, order_id, holds[hold + ORDER], self.request)",
    ),
    Mutant(
        "price improvement kept", "core/ubscore.py",
        "        else:\n            self.holds.release_surplus(hold)\n\n        balances = ledger.balances.words",
        "\n        balances = ledger.balances.words",
    ),
    Mutant(
        "release twice", "core/holds.py",
        "        self.ledger.release(holds[hold + PAYS], holds[hold + FROZEN])\n        if prev == NONE:",
        "        self.ledger.release(holds[hold + PAYS], holds[hold + FROZEN])\n"
        "        self.ledger.release(holds[hold + PAYS], holds[hold + FROZEN])\n        if prev == NONE:",
    ),
    Mutant(
        "last lot leaves dust", "core/holds.py",
        "        self.ledger.release(holds[hold + PAYS], holds[hold + FROZEN])\n        if prev == NONE:",
        "        if holds[hold + OPEN_LOTS] > 0:\n            self.ledger.release(holds[hold + PAYS], holds[hold + FROZEN])\n        if prev == NONE:",
    ),
    Mutant(
        "maker's fee rate used for the taker", "core/ubscore.py",
        "            ppm = ledger.accounts.words[account + TAKER_PPM]",
        "            ppm = ledger.accounts.words[account + MAKER_PPM]",
    ),
    Mutant(
        "clearing posted for one leg only", "core/ubscore.py",
        "        ledger.transfer(received_from, gets, received - fee)",
        "        ledger.balances.words[gets + AVAILABLE] += received - fee\n        if is_taker != 0:\n"
        "            ledger.balances.words[received_from + AVAILABLE] -= received - fee",
    ),
    Mutant(
        "queue order changed after a snapshot", "core/snapshot.py",
        '    load_books(matching, words_of(sections["books"]))',
        '    load_books(matching, words_of(sections["books"]))\n    turn_queues_round(matching)',
    ),
    Mutant(
        "snapshot older than the pruned log accepted", "services/cluster/role.py",
        "            raise StreamPruned(self.source.name, self.machine.next_offset, ends.first)",
        "            self.machine.next_offset = ends.first",
    ),
    Mutant(
        "CRC of a message not checked", "log/messages.py",
        "    if crc32(records, crc32(data[: _UNCHECKED.size])) != check:",
        "    if False:",
    ),
    Mutant(
        "digest of a snapshot not checked", "log/snapshots.py",
        "            self._require(hashlib.sha256(content).digest() == digest, f\"section {name!r} does not match its digest\")",
        "            pass",
    ),
    Mutant(
        "deadline ignored", "core/ubscore.py",
        "        if deadline_us != 0 and self.now_us > deadline_us:\n            return self.events.refused(command, DEADLINE_PASSED, account_id, 0)",
        "",
    ),
    Mutant(
        "barrier skipped", "services/cluster/barriers.py",
        "            if end <= self._end.upto:",
        "            if True:",
    ),
    Mutant(
        "standby emits unmuted", "services/cluster/role.py",
        '        self.emits = settings.patience_s == 0',
        '        self.emits = True',
    ),
    Mutant(
        "snapshot past what is out gone on from", "services/cluster/role.py",
        "self._snapshots.newest(at_most=max(0, offset_of(self.outbox.seen.upto)))",
        "self._snapshots.newest()",
    ),
    Mutant(
        "`last` missing from the snapshot", "core/ubscore_role.py",
        '        self.origins.last = vec[i64](snapshot.words_of(sections["origins"]))',
        "        pass",
    ),
    Mutant(
        "transfer credited before debited", "core/treasury.py",
        "        if reason != NO_REASON:\n            return self.events.refused(records.TRANSFER, reason, account_id, 0)",
        "        if leaves and reason == INSUFFICIENT_BALANCE:\n            self.peers.credit(transfer_id, asset, atoms, account_id, to)\n"
        "        if reason != NO_REASON:\n            return self.events.refused(records.TRANSFER, reason, account_id, 0)",
    ),
    Mutant(
        "client order id freed too early", "core/ubscore.py",
        "        self.orders.cancel(holds[hold + TERMS] >> SYMBOL_SHIFT, order_id, holds[hold + ORDER], self.request)",
        "        if holds[hold + hold_words.CLIENT] != NONE:\n            self.holds.client_ids.remove(holds[hold + hold_words.CLIENT])\n"
        "            holds[hold + hold_words.CLIENT] = NONE\n"
        "        self.orders.cancel(holds[hold + TERMS] >> SYMBOL_SHIFT, order_id, holds[hold + ORDER], self.request)",
    ),
    Mutant(
        "STP decrement releases one side only", "core/matching.py",
        "        self.out.reduced(orders[taker + HOLD], orders[taker + ID], have, SELF_TRADE)\n        return False",
        "        return False",
    ),
    Mutant(
        "view applies an event twice", "services/cluster/gateway.py",
        "            self._views.apply_account_events(number, events)\n",
        "            self._views.apply_account_events(number, events)\n            for event in events:\n"
        "                if event[0] & 0xFF == 103 and event[12]:\n                    self._views.shards[number].accounts.fill(event)\n",
    ),
    Mutant(
        "order forgotten before what ended it is answered", "services/cluster/gateway.py",
        "self._shards[number].answered_up_to(settled)",
        "settled",
    ),
    Mutant(
        "order looked up without a barrier", "gateway/account_data.py",
        "        self.entry.barrier(call.account_id, in_time(call, part))",
        "        in_time(call, part)(True)",
    ),
    Mutant(
        "history read before it is settled", "gateway/account_data.py",
        "self.when_current(call, partial(self.entry.settled, call.account_id, when_settled, SETTLED_TIMEOUT_S))",
        "self.when_current(call, partial(when_settled, True))",
    ),
    Mutant(
        "command sent again that may be there", "services/cluster/shard_end.py",
        "            for waiting in taken:\n                self._lose(waiting)\n",
        "            await self._writer.append(data)\n            for waiting in taken:\n                self._lose(waiting)\n",
    ),
    Mutant(
        "answered once it is admitted", "services/cluster/answering.py",
        "        elif kind == records.ADMITTED:\n            self._order_id = event[ORDER_ID]\n",
        "        elif kind == records.ADMITTED:\n            self._order_id = event[ORDER_ID]\n            self.whole = True\n",
    ),
    Mutant(
        "answered without its events", "services/cluster/shard_end.py",
        "            waiting.answer(waiting.answering.events)",
        "            waiting.answer(waiting.answering.events if waiting.answering.waits_for_engine else [])",
    ),
    Mutant(
        "answers of two commands exchanged", "services/cluster/shard_end.py",
        "self._claim(position(offset, index), waiting)",
        "self._claim(position(offset, len(taken) - 1 - index), waiting)",
    ),
    Mutant(
        "told to be lost for nothing", "services/cluster/shard_end.py",
        "            waiting.answer(waiting.answering.events)",
        "            waiting.lost() if waiting.place % 7 == 0 else waiting.answer(waiting.answering.events)",
    ),
    Mutant(
        "barrier that does not wait for what is under way", "services/cluster/barriers.py",
        "                await self._end.sent()\n",
        "",
    ),
    Mutant(
        "session replaced while messages of it are under way", "services/cluster/shard_end.py",
        "            self._has_failed = True\n            for",
        "            self._writer = self.stream.writer()\n            for",
    ),
    Mutant(
        "levels shown with a lot too many", "views/markets.py",
        "        self.ladders[symbol_side].put(event[6], event[8])",
        "        self.ladders[symbol_side].put(event[6], event[8] + 1 if event[8] else 0)",
    ),
    Mutant(
        "parts of a record dropped", "services/cluster/outbox.py",
        "            for destination, records in waiting.output.shared:",
        "            for destination, records in waiting.output.shared if waiting.output.upto > self.seen.upto else ():",
    ),
    Mutant(
        "only usable snapshot let go of", "services/cluster/role_snapshots.py",
        "up_to=next_offset, needed_at=out_up_to)",
        "up_to=next_offset)",
    ),
    Mutant(
        "log pruned past its snapshots", "services/pruning.py",
        "        before = sequence + 1",
        "        before = 1 << 62",
        "embedded",
    ),
    Mutant(
        "clean stop that does not wait", "services/shard.py",
        "        self.when_applied(lambda: applied.set_result(None))\n        await asyncio.wait([applied",
        "        applied.set_result(None)\n        await asyncio.wait([applied",
        "embedded",
    ),
    Mutant(
        "settled position written before the rows", "settlement/row_store.py",
        "        for table, row in written(rows):\n            self.put(stream, table, row, settled.sequence)\n        self.finish(stream, settled)",
        "        self.finish(stream, settled)",
    ),
    Mutant(
        "rows written without their number", "settlement/row_store.py",
        "        if found is None or found[0] <= number or table == \"accounts\":",
        "        if True:",
    ),
)  # fmt: skip

HELPERS: Final = {
    "services/cluster/role.py": """

async def _quietly(sent):
    try:
        await sent
    except Exception:
        return
""",
    "core/snapshot.py": """

def turn_queues_round(matching):
    from zerosum.core.book import HEAD, NEXT, PREV, TAIL

    levels, orders = matching.levels.words, matching.orders.words
    for level in matching.levels.slots():
        order = levels[level + HEAD]
        levels[level + HEAD], levels[level + TAIL] = levels[level + TAIL], levels[level + HEAD]
        while order:
            orders[order + NEXT], orders[order + PREV] = orders[order + PREV], orders[order + NEXT]
            order = orders[order + PREV]
    for book in matching.own_books():
        book.bids.find_best()
        book.asks.find_best()
""",
}
"""What some faults need beside their text, at the end of their module."""
