"""Accounts, money and listings by command, before the first start of an exchange and on a running one: the same words, the same rules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli
from tests.support.running import running
from zerosum.cli.directory import existing
from zerosum.cli.door import door_to
from zerosum.core import records
from zerosum.core.codes import WALLET_BIT

BTC_MARKET = """
[[assets]]
name = "BTC"
decimals = 8
[[assets]]
name = "USDT"
decimals = 8
[[symbols]]
name = "BTCUSDT"
base = "BTC"
quote = "USDT"
tick = "0.01"
lot = "0.00001"
max_price = "1000000"
max_qty = "1000"
"""
ETH_MARKET = BTC_MARKET.replace("BTC", "ETH")


@pytest.fixture(scope="module")
def running_exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("running") / "data"
    with running(data, "--no-demo") as exchange:
        yield data
        assert exchange.stop() == 0


@pytest.fixture
def offline(tmp_path: Path, cli: Cli) -> Path:
    data = tmp_path / "data"
    assert cli("init", "--data", data).code == 0
    return data


@pytest.fixture(params=["offline", "running"])
def market(request: pytest.FixtureRequest, tmp_path: Path, cli: Cli) -> Path:
    """An exchange with one symbol and one account of its own number."""
    data: Path = request.getfixturevalue("offline" if request.param == "offline" else "running_exchange")
    file = tmp_path / "market.toml"
    file.write_text(BTC_MARKET)
    assert cli("listing", "add", file, "--data", data).code == 0
    return data


ACCOUNTS = iter(range(1001, 2000))


@pytest.fixture
def ann(market: Path, cli: Cli) -> int:
    account = next(ACCOUNTS)
    assert cli("account", "open", account, "--data", market).code == 0
    return account


# ------------------------------------------------------------------ data directories


COMMANDS = [
    ("account", "open", "1001"),
    ("account", "show", "1001"),
    ("account", "list"),
    ("account", "deposits", "1001"),
    ("withdrawal", "list"),
    ("reconcile", "custodian.csv"),
    ("account", "fees", "1001", "--maker-ppm", "1"),
    ("account", "status", "1001", "closed"),
    ("deposit", "1001", "BTC", "1"),
    ("withdraw", "1001", "BTC", "1"),
    ("transfer", "1001", "1002", "BTC", "1"),
    ("listing", "show"),
    ("listing", "status", "BTCUSDT", "halt"),
    ("key", "create", "1001"),
    ("key", "list"),
    ("key", "revoke", "x"),
]


@pytest.mark.parametrize("command", [pytest.param(command, id=" ".join(command)) for command in COMMANDS])
@pytest.mark.parametrize("kind", ["nothing", "an empty directory", "a file"])
def test_a_command_makes_no_exchange_where_there_is_none(command: tuple[str, ...], kind: str, tmp_path: Path, cli: Cli) -> None:
    """A mistyped --data would get a market of its own, and the money would be in that."""
    data = tmp_path / "data"
    if kind == "an empty directory":
        data.mkdir()
    if kind == "a file":
        data.write_text("x")
    said = cli(*command, "--data", data)
    assert said.code == 1
    assert f"there is no exchange in {data}: make one with `zerosum init --data {data}`" in said.err
    assert [path for path in tmp_path.rglob("*") if path != data] == []


def test_audit_and_state_find_the_directory_as_all_commands_do(
    offline: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("state", "--json", tmp_path / "other").code == 1
    monkeypatch.setenv("ZEROSUM_DATA_DIRECTORY", str(offline))
    assert json.loads(cli("state", "--json").out)["sequence"] == 0
    assert cli("account", "open", 1001).code == 0
    listed = cli("account", "list").out
    assert "1001" in listed
    assert "2 fees" in listed
    assert cli("audit", tmp_path / "other").code == 1


def test_without_anything_named_it_is_zerosum_data_here(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZEROSUM_DATA_DIRECTORY", raising=False)
    assert cli("init").code == 0
    assert (tmp_path / "zerosum-data" / "log").is_dir()
    assert cli("account", "open", 1001).code == 0


def test_a_new_data_directory_is_for_its_owner_alone(offline: Path, cli: Cli) -> None:
    assert offline.stat().st_mode & 0o777 == 0o700
    said = cli("init", "--data", offline)
    assert (said.code, "there is an exchange in" in said.err) == (1, True)


# ------------------------------------------------------------------ accounts


def test_an_account_is_shown_with_its_fees_and_balances(market: Path, ann: int, cli: Cli) -> None:
    assert cli("deposit", ann, "usdt", "10999.5", "--data", market).code == 0
    said = cli("account", "show", ann, "--data", market)
    assert f"account {ann} is active: maker 1000 ppm, taker 1000 ppm, 0 of 1,000 open orders" in said.out
    assert said.out.splitlines()[-1].split() == ["USDT", "10,999.5", "0", "0"]
    shown = json.loads(cli("account", "show", ann, "--data", market, "--json").out)
    assert shown["balances"] == [
        {
            "asset": "USDT", "available": "10999.5", "frozen": "0", "withdrawing": "0", "available_atoms": 1_099_950_000_000,
            "frozen_atoms": 0, "withdrawing_atoms": 0,
        }
    ]  # fmt: skip
    listed = json.loads(cli("account", "list", "--data", market, "--json").out)
    assert [account["account"] for account in listed[:3]] == [1, 2, 3]
    assert next(account for account in listed if account["account"] == ann) == {name: shown[name] for name in listed[0]}


def test_what_is_set_aside_is_shown_by_whoever_sets_it_aside(market: Path, ann: int, cli: Cli) -> None:
    """In one go too: what an exchange that does not run is asked next, it answers as of then."""
    assert cli("deposit", ann, "BTC", "2", "--data", market).code == 0
    with door_to(existing(market)) as door:
        door.send(records.command(records.REQUEST_WITHDRAWAL, 0, ann, 7, 0, 10**8))
        (balance,) = door.ask(show="account", account=ann)["account"]["balances"]
        assert (balance["available"], balance["withdrawing"], balance["withdrawing_atoms"]) == ("1", "1", 10**8)
        door.send(records.command(records.TRANSFER, 0, ann, 8, 0, 10**8, ann | WALLET_BIT))
        door.send(records.command(records.REQUEST_WITHDRAWAL, 0, ann | WALLET_BIT, 9, 0, 10**7))
    assert cli("account", "show", ann, "--data", market).out.splitlines()[1:] == [
        "asset  available  frozen  withdrawing",
        "BTC    0          0       1",
        "in its funding wallet",
        "asset  available  frozen  withdrawing",
        "BTC    0.9        0       0.1",
    ]
    assert "has 0.9 BTC in its funding wallet (SET_ACCOUNT_STATUS" in cli("account", "status", ann, "closed", "--data", market).err
    assert f"{ann | WALLET_BIT} funding of {ann}" in cli("account", "list", "--data", market).out


def test_one_fee_is_set_and_the_other_stays(market: Path, ann: int, cli: Cli) -> None:
    assert f"account {ann}: maker 5 ppm, taker 1000 ppm" in cli("account", "fees", ann, "--maker-ppm", 5, "--data", market).out
    assert f"account {ann}: maker 5 ppm, taker 0 ppm" in cli("account", "fees", ann, "--taker-ppm", 0, "--data", market).out
    assert cli("account", "fees", ann, "--data", market).code == 2
    assert "there is no account 999999" in cli("account", "fees", 999_999, "--maker-ppm", 5, "--data", market).err


def test_a_key_is_for_an_account_that_is_there(market: Path, ann: int, cli: Cli) -> None:
    said = cli("key", "create", 999_999, "--data", market)
    assert (said.code, "there is no account 999999" in said.err) == (1, True)
    key = json.loads(cli("key", "create", ann, "--data", market, "--json").out)
    listed = cli("key", "list", "--data", market, "--account", ann)
    assert key["api_key"] in listed.out, "whole, or it can't be revoked"
    assert cli("key", "revoke", key["api_key"], "--data", market).code == 0


# ------------------------------------------------------------------ money


def test_a_movement_is_done_once_however_often_it_is_asked_for(market: Path, ann: int, cli: Cli) -> None:
    move = ("deposit", ann, "BTC", "1.5", "--id", ann, "--data", market)
    assert cli(*move).code == 0
    again = cli(*move)
    assert (again.code, "done before, and is not done again" in again.out) == (0, True)
    other = cli("deposit", ann, "BTC", "2", "--id", ann, "--data", market)
    assert other.code == 1
    assert f"movement {ann} was another one: DEPOSIT of 1.5 BTC, account {ann} (DEPOSIT: TRANSFER_ID_REUSED)" in other.err
    assert json.loads(cli("account", "show", ann, "--data", market, "--json").out)["balances"][0]["available"] == "1.5"


def test_a_random_number_is_told_before_the_movement_is_sent(market: Path, ann: int, cli: Cli) -> None:
    said = cli("deposit", ann, "BTC", "1", "--data", market)
    (number,) = [line.removeprefix("movement ") for line in said.err.splitlines()]
    assert f"(movement {number})" in said.out
    assert "done before" in cli("deposit", ann, "BTC", "1", "--id", number, "--data", market).out


def test_money_goes_from_one_account_to_another(market: Path, ann: int, cli: Cli) -> None:
    bob = next(ACCOUNTS)
    cli("account", "open", bob, "--data", market)
    cli("deposit", ann, "USDT", "10", "--data", market)
    assert f"2.5 USDT went from account {ann} to account {bob}" in cli("transfer", ann, bob, "USDT", "2.5", "--data", market).out
    assert cli("withdraw", bob, "USDT", "2.5", "--data", market).code == 0
    assert json.loads(cli("account", "show", bob, "--data", market, "--json").out)["balances"][0]["available_atoms"] == 0


def refusal(cli: Cli, market: Path, *command: object) -> str:
    said = cli(*command, "--data", market)
    assert said.code == 1, said
    return said.err.splitlines()[-1]


def test_a_refusal_is_a_sentence_with_the_numbers_and_the_code(market: Path, ann: int, cli: Cli) -> None:
    cli("deposit", ann, "USDT", "10999.5", "--data", market)
    assert refusal(cli, market, "withdraw", ann, "usdt", "20000") == (
        f"Refused: account {ann} has 10,999.5 USDT available, and 20,000 was asked for (WITHDRAW: INSUFFICIENT_BALANCE)."
    )
    assert refusal(cli, market, "withdraw", ann, "BTC", "1").startswith(f"Refused: account {ann} has 0 BTC available")
    assert f"there is an account {ann} already: active (OPEN_ACCOUNT: ACCOUNT_EXISTS)" in refusal(cli, market, "account", "open", ann)
    assert "there is no account 999999 (TRANSFER" in refusal(cli, market, "transfer", ann, 999_999, "USDT", 1)
    assert f"account {ann} can't transfer to itself" in refusal(cli, market, "transfer", ann, ann, "USDT", 1)
    assert "account 3 is the exchange's own" in refusal(cli, market, "withdraw", 3, "USDT", 1)
    assert "closed only when empty, and has 10,999.5 USDT (SET_" in refusal(cli, market, "account", "status", ann, "closed")
    assert "that would pass 46,116,860,184.27387903" in refusal(cli, market, "deposit", ann, "USDT", "46116860184.27387903")
    cli("account", "status", ann, "suspended", "--data", market)
    assert f"account {ann} is suspended" in refusal(cli, market, "withdraw", ann, "USDT", "1")
    assert "XRP is not listed; listed are BTC, USDT" in refusal(cli, market, "deposit", ann, "XRP", "1")
    empty = next(ACCOUNTS)
    cli("account", "open", empty, "--data", market)
    cli("account", "status", empty, "closed", "--data", market)
    assert f"account {empty} is closed, for good" in refusal(cli, market, "deposit", empty, "USDT", "1")


@pytest.mark.parametrize(
    ("amount", "why"),
    [
        ("0", "is not in 0.00000001..46116860184.27387903 BTC, which has 8 decimals"),
        ("46116860184.27387904", "is not in 0.00000001..46116860184.27387903 BTC"),
        ("0.000000001", "has more decimals than BTC, which has 8"),
        ("1.0000000000000000000000000000000000001", "has more decimals than BTC"),
        ("1e9", "is no decimal number"),
        ("1e999999999", "is no decimal number"),
        ("+1", "is no decimal number"),
        ("1_000", "is no decimal number"),
        (".5", "is no decimal number"),
        ("5.", "is no decimal number"),
        ("٣", "is no decimal number"),
        ("NaN", "is no decimal number"),
        ("[rest]", "is no decimal number"),
        ("[/]", "is no decimal number"),
        ("9" * 5000, "is no decimal number"),
    ],
)
def test_an_amount_is_a_plain_decimal_and_never_rounded(amount: str, why: str, market: Path, ann: int, cli: Cli) -> None:
    said = refusal(cli, market, "deposit", ann, "BTC", amount)
    assert said.startswith("Refused: amount ")
    assert why in said
    assert len(said) < 300
    if len(amount) < 30:
        assert amount in said, "brackets are text too"


@pytest.mark.parametrize(
    "command",
    [
        ("account", "open", "9" * 5000),
        ("account", "open", 15),
        ("account", "open", 1 << 40),
        ("account", "open", 5000, "--maker-ppm", -1),
        ("account", "open", 5000, "--taker-ppm", 1_000_001),
        ("account", "open", 5000, "--orders-max", 1 << 70),
        ("deposit", 5000, "BTC", "1", "--id", 0),
        ("deposit", 5000, "BTC", "1", "--id", 1 << 63),
        ("withdraw", 1, "BTC", "1"),
        ("transfer", 5000, 3, "BTC", "1"),
        ("state", "--at", -1),
        ("state", "--depth", 0),
        ("bench", "core", "--growth", "1,x"),
        ("bench", "core", "--commands", 0),
        ("bench", "core", "--rounds", 0),
    ],
)
def test_a_number_out_of_range_is_a_wrong_usage(command: tuple[object, ...], cli: Cli) -> None:
    said = cli(*command)
    assert said.code == 2
    assert "Invalid value" in said.err


# ------------------------------------------------------------------ listings


def test_a_second_file_adds_to_what_is_listed(offline: Path, tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "market.toml"
    file.write_text(BTC_MARKET)
    assert "listed the assets BTC, USDT; listed the symbols BTCUSDT" in cli("listing", "add", file, "--data", offline).out
    file.write_text(ETH_MARKET)
    assert cli("listing", "add", file, "--data", offline).out == "listed the assets ETH; listed the symbols ETHUSDT\n"
    file.write_text(
        '[[symbols]]\nname = "ETHBTC"\nbase = "ETH"\nquote = "BTC"\ntick = "0.00001"\nlot = "0.001"\nmax_price = "10"\nmax_qty = "10"'
    )
    assert cli("listing", "add", file, "--data", offline).out == "listed the symbols ETHBTC\n", "of assets that were listed before"
    shown = json.loads(cli("listing", "show", "--data", offline, "--json").out)
    assert [asset["name"] for asset in shown["assets"]] == ["BTC", "USDT", "ETH"]
    assert [symbol["name"] for symbol in shown["symbols"]] == ["BTCUSDT", "ETHUSDT", "ETHBTC"]


def test_a_listed_symbol_gets_the_rules_that_may_change(market: Path, tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "market.toml"
    assert "left as they are BTCUSDT" in cli("listing", "add", file, "--data", market).out
    file.write_text(BTC_MARKET.replace('max_qty = "1000"', 'max_qty = "500"\nmin_notional = "5"'))
    assert "changed the symbols BTCUSDT" in cli("listing", "add", file, "--data", market).out
    shown = json.loads(cli("listing", "show", "--data", market, "--json").out)["symbols"][0]
    assert (shown["max_qty"], shown["min_notional"], shown["tick"]) == ("500", "5", "0.01")
    file.write_text(BTC_MARKET.replace('tick = "0.01"', 'tick = "0.1"'))
    assert "tick of BTCUSDT is 0.01 and can't become 0.1: list a new symbol" in cli("listing", "add", file, "--data", market).err
    file.write_text(BTC_MARKET.replace("decimals = 8", "decimals = 6"))
    assert "asset BTC: it is listed with 8 decimals, and can't have 6" in cli("listing", "add", file, "--data", market).err
    file.write_text(BTC_MARKET)
    assert cli("listing", "add", file, "--data", market).code == 0


def test_a_symbol_is_halted_by_its_name(market: Path, tmp_path: Path, cli: Cli) -> None:
    assert json.loads(cli("listing", "status", "btcusdt", "halt", "--data", market, "--json").out) == {
        "symbol": "BTCUSDT",
        "status": "halt",
    }
    assert "BTCUSDT  halt" in cli("listing", "show", "--data", market).out
    assert cli("listing", "add", tmp_path / "market.toml", "--data", market).code == 0, "which does not touch the status"
    assert "halt" in cli("listing", "show", "--data", market).out
    assert cli("listing", "status", "BTCUSDT", "trading", "--data", market).out == "BTCUSDT: trading\n"
    assert "XYZ is not listed; listed are BTCUSDT" in cli("listing", "status", "XYZ", "halt", "--data", market).err
    assert "status 'stop' is none of trading, halt, break" in cli("listing", "status", "BTCUSDT", "stop", "--data", market).err


def test_what_is_shown_can_be_listed_elsewhere(market: Path, tmp_path: Path, cli: Cli) -> None:
    text = cli("listing", "show", "--data", market, "--json").out
    shown = json.loads(text)
    file = tmp_path / "again.json"
    file.write_text(text)
    assert "left as they are BTCUSDT" in cli("listing", "add", file, "--data", market).out
    cli("init", "--data", tmp_path / "copy")
    assert "listed the symbols BTCUSDT" in cli("listing", "add", file, "--data", tmp_path / "copy").out
    assert json.loads(cli("listing", "show", "--data", tmp_path / "copy", "--json").out) == shown


def test_a_file_that_is_refused_lists_nothing(offline: Path, tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "market.toml"
    file.write_text(BTC_MARKET.replace('max_qty = "1000"', 'max_qty = "100000000000000"'))
    assert "passes 4611686018427387903" in cli("listing", "add", file, "--data", offline).err
    for content in (b"\xff\xfe", b"name 5", b"x = " + b"9" * 5000, b"x = " + b"[" * 5000, b"{", b'{"x":' + b"[" * 100_000):
        file.write_bytes(content)
        assert "is neither TOML nor JSON" in cli("listing", "add", file, "--data", offline).err
    assert "can't be read: No such file" in cli("listing", "add", tmp_path / "nope.toml", "--data", offline).err
    assert "can't be read: Is a directory" in cli("listing", "add", tmp_path, "--data", offline).err
    assert json.loads(cli("listing", "show", "--data", offline, "--json").out) == {"assets": [], "symbols": []}
    assert json.loads(cli("state", offline, "--json").out)["sequence"] == 0


# ------------------------------------------------------------------ keys


def test_a_lost_master_key_is_not_replaced_beside_keys_that_it_sealed(offline: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("account", "open", 1001, "--data", offline)
    key = json.loads(cli("key", "create", 1001, "--data", offline, "--json").out)
    master = offline / "master.key"
    aside = shutil.move(master, offline / "aside")
    for command in (("key", "list"), ("up", "--rest-port", 0, "--websocket-port", 0, "--operations-port", 0, "--admin-port", 0)):
        said = cli(*command, "--data", offline)
        assert (said.code, "master.key is gone, and what is in" in said.err) == (1, True)
        assert not master.exists()
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", Path(aside).read_text().strip())
    assert key["api_key"] in cli("key", "list", "--data", offline).out
    monkeypatch.delenv("ZEROSUM_MASTER_KEY")
    monkeypatch.setenv("ZEROSUM_MASTER_KEY_FILE", str(aside))
    assert key["api_key"] in cli("key", "list", "--data", offline).out
    monkeypatch.delenv("ZEROSUM_MASTER_KEY_FILE")
    (offline / "zerosum.toml").write_text(f'master_key_file = "{aside}"')
    assert key["api_key"] in cli("key", "list", "--data", offline).out, "as `up` finds it"


def test_a_misspelled_variable_sends_no_command_elsewhere(market: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was to name another data directory: money would go into the wrong exchange."""
    monkeypatch.setenv("ZEROSUM_DATA_DIR", "/elsewhere")
    for command in (["deposit", 1001, "USDT", 1], ["account", "show", 1001], ["audit"], ["state"]):
        said = cli(*command, "--data", market)
        assert (said.code, "ZEROSUM_DATA_DIR in the environment is no setting. Did you mean ZEROSUM_DATA_DIRECTORY?" in said.err) == (
            1,
            True,
        )


def test_an_amount_below_zero_is_told_what_there_is_for_it(market: Path, cli: Cli) -> None:
    said = cli("deposit", 1001, "USDT", "-5", "--data", market)
    assert (said.code, said.err.strip()) == (1, "Refused: amount '-5' is below 0: money comes in by `deposit` and goes out by `withdraw`.")


def test_a_program_of_the_venue_has_a_key_for_its_work_and_an_address(market: Path, cli: Cli) -> None:
    made = json.loads(cli("key", "service", "deposits", "--address", "10.0.0.7", "--data", market, "--json").out)
    assert made["account"] == 0
    (found,) = [key for key in json.loads(cli("key", "list", "--data", market, "--json").out) if key["api_key"] == made["api_key"]]
    assert (found["permissions"], found["addresses"]) == (["DEPOSIT"], ["10.0.0.7/32"])
    assert cli("key", "service", "payouts", "--data", market).code == 2, "good from nowhere in particular"
    assert "everything" not in cli("key", "service", "everything", "--address", "::1", "--data", market).out
    assert cli("key", "revoke", made["api_key"], "--data", market).code == 0


def test_a_closed_account_gets_no_key(market: Path, cli: Cli) -> None:
    assert cli("account", "open", 1077, "--data", market).code == 0
    assert cli("account", "status", 1077, "closed", "--data", market).code == 0
    said = cli("key", "create", 1077, "--data", market)
    assert (said.code, "account 1077 is closed: a key for it could do nothing" in said.err) == (1, True)


def test_what_is_suggested_finds_the_same_directory(tmp_path: Path, cli: Cli) -> None:
    data = tmp_path / "data"
    assert f"`zerosum listing add FILE --data {data}`, start it with `zerosum up --data {data}`" in cli("init", "--data", data).out
