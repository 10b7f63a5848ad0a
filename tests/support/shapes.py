"""
One program through the embedded exchange and through the machines of a cluster, each command once the one before is quiet: both shapes tell
the same story.

What differs by design is taken out before events are compared:
    order ids               a cluster's are interleaved by shard: they are translated
    numbers, causes         each stream has its own
    what is told S times    listings, versions, checkpoints: each shard tells of them, the first is compared
    RESTED                  only a cluster says so
    fees_available_atoms    each shard has a FEES of its own, and WITHDRAWALS: their sums are compared
    adjustments             between shards there are none
    transfers               TRANSFERRED, or SENT and ARRIVED; refused, or SENT and RETURNED
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, final

from zerosum.core import codes, records
from zerosum.core.exchange import Exchange
from zerosum.core.records import named
from zerosum.sim.machines import Machines

Fields = dict[str, int]
ORDER_ID_BYTES = slice(records.ORDER_ID_AT * 8, (records.ORDER_ID_AT + 1) * 8)
NAMES_AN_ORDER = frozenset({records.CANCEL, records.REDUCE, records.MOVE, records.CANCEL_REPLACE})
TOLD_BY_ALL = frozenset({records.ASSET_LISTED, records.SYMBOL_LISTED, records.VERSION_SET})
NOT_COMPARED = frozenset({records.CHECKPOINTED, records.RESTED, records.MARKET_CHECKPOINTED, records.MARKET_VERSION_SET})
TRANSFERS = frozenset({records.TRANSFER_SENT, records.TRANSFER_ARRIVED, records.TRANSFER_RETURNED})
UNKNOWN_ID = 1 << 50
OF_THE_HOUSE = frozenset({"kind", "sequence", "cause", "fees_available_atoms", "pending_atoms"})


@final
class Shapes:
    def __init__(self, shards: int, partitions: int, reserve: int = 1 << 12) -> None:
        self.exchange = Exchange(reserve=reserve)
        self.machines = Machines(shards, partitions, reserve)
        self.ids: dict[int, int] = {}  # of orders: embedded -> cluster

    def apply(self, command: bytes) -> None:
        """AssertionError where the two shapes part."""
        if is_of_the_house(command) or self.is_past_a_shard(command) or self.is_between_shards(command):
            return
        account_events, market_events = self.embedded(command)
        cluster_accounts, cluster_markets = self.clustered(self.translated(command))
        self.learn_ids(account_events, cluster_accounts)
        if command[0] == records.CANCEL_ALL:  # a cluster admits all of its cancels before it hears of any
            account_events.sort(key=lambda event: event["kind"] != records.CANCEL_ADMITTED)
            cluster_accounts.sort(key=lambda event: event["kind"] != records.CANCEL_ADMITTED)
        same(by_account(account_events, self.ids), by_account(cluster_accounts, {}), command)
        same(by_symbol(market_events, self.ids), by_symbol(cluster_markets, {}), command)

    def is_past_a_shard(self, command: bytes) -> bool:
        """A deposit near the bound of an asset's supply, of which each shard has but its part."""
        return command[0] == records.DEPOSIT and int.from_bytes(command[40:48], "little", signed=True) > codes.AMOUNT_MAX // 2**12

    def is_between_shards(self, command: bytes) -> bool:
        """An adjustment that only one shard could make."""
        if command[0] != records.ADJUST:
            return False
        payer, receiver = (int.from_bytes(command[at : at + 8], "little", signed=True) & codes.ACCOUNT_MAX for at in (16, 48))
        shards = len(self.machines.ubscores)
        return receiver < codes.FIRST_USER or payer % shards != receiver % shards

    def embedded(self, command: bytes) -> tuple[list[Fields], list[Fields]]:
        account_events, market_events = bytearray(), bytearray()
        at = 0
        while at < len(command) or self.exchange.unfinished():
            at = self.exchange.advance(command, at)
            account_events += self.exchange.take_account_events()
            market_events += self.exchange.take_market_events()
        return read(account_events), read(market_events)

    def clustered(self, command: bytes) -> tuple[list[Fields], list[Fields]]:
        self.machines.submit(command)
        self.machines.settle()
        account_events, market_events = self.machines.take_events()
        told: list[Fields] = []
        for shard, events in enumerate(account_events):
            told += [event for event in read(events) if shard == 0 or event["kind"] not in TOLD_BY_ALL]
        return told, [event for events in market_events for event in read(events)]

    def translated(self, command: bytes) -> bytes:
        if command[0] not in NAMES_AN_ORDER:
            return command
        order_id = int.from_bytes(command[ORDER_ID_BYTES], "little", signed=True)
        if order_id <= 0 or order_id >= UNKNOWN_ID:
            return command
        other = self.ids.get(order_id, order_id + UNKNOWN_ID)
        return command[: ORDER_ID_BYTES.start] + other.to_bytes(8, "little") + command[ORDER_ID_BYTES.stop :]

    def learn_ids(self, embedded: list[Fields], clustered: list[Fields]) -> None:
        """A command admits one order at most."""
        for event in embedded:
            if event["kind"] == records.REFUSED and 0 < event["order_id"] < UNKNOWN_ID:  # here: the one that it admits may have this id
                event["order_id"] = self.ids.get(event["order_id"], event["order_id"] + UNKNOWN_ID)
        ours = [event["order_id"] for event in embedded if event["kind"] == records.ADMITTED]
        theirs = [event["order_id"] for event in clustered if event["kind"] == records.ADMITTED]
        assert len(ours) == len(theirs) <= 1
        self.ids.update(zip(ours, theirs, strict=True))

    def check(self) -> None:
        """The same balances in both, and each machine in order."""
        self.exchange.check()
        self.machines.check()
        for asset in range(self.exchange.ubscore.ledger.assets()):
            house = dict.fromkeys((codes.OUTSIDE, codes.FEES, codes.CLEARING), 0)
            for role in self.machines.ubscores:
                for account in house:
                    balance = role.ubscore.ledger.house_balance(account, asset)
                    house[account] += role.ubscore.ledger.available(balance)
            on_its_way = sum(role.ubscore.ledger.available_at(codes.WITHDRAWALS, asset) for role in self.machines.ubscores)
            assert on_its_way == self.exchange.ubscore.ledger.available_at(codes.WITHDRAWALS, asset)
            for account, atoms in house.items():
                assert (atoms, 0) == self.exchange.balance(account, asset), f"account {account} of the house, asset {asset}"


def by_account(events: list[Fields], ids: dict[int, int]) -> dict[int, list[Any]]:
    """Each account's story: (kind, fields), in order."""
    told: defaultdict[int, list[Any]] = defaultdict(list)
    for event in as_one_shard(events):
        kind = event["kind"]
        if kind in NOT_COMPARED:
            continue
        account = event.get("account", event.get("from_account", 0))
        if kind == records.CANCEL_REJECTED or (kind == records.REFUSED and account == 0):
            account = 0
        told[account].append(compared(event, ids))
    return dict(told)


def by_symbol(events: list[Fields], ids: dict[int, int]) -> dict[int, list[Any]]:
    told: defaultdict[int, list[Any]] = defaultdict(list)
    for event in events:
        if event["kind"] not in NOT_COMPARED:
            told[event["symbol"] if "symbol" in event else event["symbol_side"] >> 1].append(compared(event, ids))
    return dict(told)


def same(embedded: dict[int, list[Any]], clustered: dict[int, list[Any]], command: bytes) -> None:
    if embedded != clustered:
        differs = [key for key in {**embedded, **clustered} if embedded.get(key) != clustered.get(key)]
        told = "".join(f"\n  {key}\n    embedded {embedded.get(key)}\n    cluster  {clustered.get(key)}" for key in differs)
        raise AssertionError(f"{records.kind_name(command[0])}: what the shapes tell differs{told}")


def is_of_the_house(command: bytes) -> bool:
    """Each shard has a house of its own, and what that may take from its FEES."""
    kind = command[0]
    if not records.DEPOSIT <= kind <= records.ADJUST:
        return False
    return int.from_bytes(command[16:24], "little", signed=True) < codes.FIRST_USER


def read(events: bytes | bytearray) -> list[Fields]:
    return [named(record) for record in records.records(bytes(events))]


def as_one_shard(events: list[Fields]) -> list[Fields]:
    """What was sent and has arrived is one transfer; what was sent and came back was refused. A payer never sees it between."""
    sent = [event for event in events if event["kind"] in TRANSFERS]
    others = [event for event in events if event["kind"] not in TRANSFERS]
    if not sent:
        return others
    first, last = sorted(sent, key=lambda event: event["kind"])
    if last["kind"] == records.TRANSFER_RETURNED:
        refusal = {"command": records.TRANSFER, "reason": last["reason"], "account": first["account"], "order_id": 0}
        return [*others, {"kind": records.REFUSED, **head_of(first), **refusal}]
    whole = {
        "kind": records.TRANSFERRED, "transfer_id": first["transfer_id"], "command": records.TRANSFER, "asset": first["asset"],
        "atoms": first["atoms"], "from_account": first["account"], "from_available_atoms": first["available_atoms"],
        "to_account": last["account"], "to_available_atoms": last["available_atoms"],
    }  # fmt: skip
    return [*others, {**head_of(first), **whole}]


def head_of(event: Fields) -> Fields:
    return {name: event[name] for name in ("sequence", "cause", "time_us")}


def compared(event: Fields, ids: dict[int, int]) -> tuple[str, Fields]:
    fields = {name: value for name, value in event.items() if name not in OF_THE_HOUSE}
    for name in ("order_id", "taker_order_id", "maker_order_id"):
        if name in fields and event["kind"] != records.REFUSED:
            fields[name] = ids.get(fields[name], fields[name])
    for side in ("from", "to"):
        if fields.get(f"{side}_account", codes.FIRST_USER) < codes.FIRST_USER:
            fields.pop(f"{side}_available_atoms", None)
    return records.kind_name(event["kind"]), fields
