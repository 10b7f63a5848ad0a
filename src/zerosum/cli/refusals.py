"""
Sends a command and, where the core refuses it, says why in a sentence with the numbers that are known.

    WITHDRAW --> REFUSED(INSUFFICIENT_BALANCE) --ask--> account 1001 has 10,999.5 USDT available, and 20,000 was asked for
"""

from __future__ import annotations

import struct
from typing import Final

from zerosum.cli.door import Door, Event, Refused
from zerosum.core import codes, records
from zerosum.core.codes import ACCOUNT_MAX, AMOUNT_MAX, FIRST_USER
from zerosum.services.amounts import decimal_text, grouped
from zerosum.services.overview import Json
from zerosum.views.reasons import reason_name

REASON_AT: Final = 5  # in REFUSED


def do(door: Door, command: bytes) -> list[Event]:
    """The account events that the command caused. Refused, with its event, when the core refused it."""
    events = door.send(command)
    for event in events:
        if event[0] & 0xFF == records.REFUSED:
            code = f"{records.kind_name(command[0])}: {reason_name(event[REASON_AT])}"
            raise Refused(f"{sentence(door, command, event[REASON_AT])} ({code}).", event)
    return events


def sentence(door: Door, command: bytes, reason: int) -> str:
    words = struct.unpack(f"<{len(command) // 8}q", command)
    fields = dict(zip(records.COMMANDS[command[0]][1], words[records.FIELDS :], strict=True))
    account = fields.get("account", 0)
    match reason:
        case codes.ACCOUNT_EXISTS:
            return f"there is an account {account} already: {status_of(door, account)}"
        case codes.UNKNOWN_ACCOUNT:
            missing = [number for number in (account, fields.get("to_account", 0)) if number and not is_a_users(door, number)]
            return " and ".join(map(no_account, missing)) or no_account(account)
        case codes.ACCOUNT_CLOSED:
            closed = [number for number in (account, fields.get("to_account", 0)) if number and status_of(door, number) == "closed"]
            return f"account {', '.join(map(str, closed or [account]))} is closed, for good"
        case codes.ACCOUNT_SUSPENDED:
            return f"account {account} is suspended: money may come in, none goes out"
        case codes.ACCOUNT_NOT_EMPTY:
            return f"account {account} is closed only when empty, and has {holdings(door, account)}"
        case codes.BAD_ACCOUNT if "to_account" in fields:
            return f"account {account} can't transfer to itself"
        case codes.BAD_ACCOUNT:
            return f"an account's number is {FIRST_USER} to {ACCOUNT_MAX}, a fee 0 to {codes.PPM} ppm"
        case codes.INSUFFICIENT_BALANCE:
            name, asked = amount_of(door, fields)
            return f"account {account} has {available(door, account, name)} {name} available, and {asked} was asked for"
        case codes.SUPPLY_EXCEEDED:
            name, asked = amount_of(door, fields)
            asset = asset_of(door, fields)
            most = grouped(decimal_text(AMOUNT_MAX, asset["decimals"]))
            return f"all accounts hold {grouped(asset['supply'])} {name}; with {asked} more that would pass {most}"
        case codes.TRANSFER_ID_REUSED:
            return f"movement {fields['transfer_id']} was another one: {movement_text(door, fields['account'], fields['transfer_id'])}"
        case codes.BAD_AMOUNT:
            return f"an amount is 1 to {AMOUNT_MAX} of the asset's smallest unit, and a movement's number 1 or more"
        case codes.UNKNOWN_ASSET | codes.UNKNOWN_SYMBOL | codes.BAD_LISTING:
            return "what is listed has changed meanwhile: look at it with `zerosum listing show`, and try again"
        case _:
            return "it was refused"


def find_account(door: Door, number: int) -> Json | None:
    found: Json | None = door.ask(show="account", account=number)["account"]
    return found


def no_account(number: int) -> str:
    return f"account {number} is the exchange's own" if number < FIRST_USER else f"there is no account {number}"


def is_a_users(door: Door, number: int) -> bool:
    found = find_account(door, number)
    return found is not None and found["status"] != "house"


def status_of(door: Door, number: int) -> str:
    found = find_account(door, number)
    return found["status"] if found is not None else "unknown"


def holdings(door: Door, number: int) -> str:
    found = find_account(door, number)
    if found is None:
        return "nothing"
    held = [
        f"{grouped(balance['available'])} {balance['asset']}"
        + (f" and {grouped(balance['frozen'])} frozen" if balance["frozen_atoms"] else "")
        for balance in found["balances"]
        if balance["available_atoms"] or balance["frozen_atoms"]
    ]
    held += [
        f"{grouped(balance['available'])} {balance['asset']} in its funding wallet"
        for balance in found["funding"]
        if balance["available_atoms"]
    ]
    if found["open_orders"]:
        held.append(f"{found['open_orders']:,} open orders")
    return ", ".join(held)


def asset_of(door: Door, fields: dict[str, int]) -> Json:
    found: Json = door.ask(show="listings")["assets"][fields["asset"]]
    return found


def amount_of(door: Door, fields: dict[str, int]) -> tuple[str, str]:
    """The asset's name, and how much of it was asked for."""
    asset = asset_of(door, fields)
    return asset["name"], grouped(decimal_text(fields["atoms"], asset["decimals"]))


def available(door: Door, number: int, asset: str) -> str:
    found = find_account(door, number) or {"balances": []}
    return next((grouped(balance["available"]) for balance in found["balances"] if balance["asset"] == asset), "0")


def movement_text(door: Door, account: int, number: int) -> str:
    found = door.ask(show="movement", account=account, id=number)["movement"]
    if found is None:
        return "it is gone"
    to = f" to account {found['to_account']}" if found["to_account"] else ""
    return f"{found['kind']} of {grouped(found['amount'])} {found['asset']}, account {found['account']}{to}"
