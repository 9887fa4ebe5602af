"""Who trades on a practice exchange from the start: masters with money, agents, positions and a mode.

From a file (`--accounts`, JSON or YAML), from ADDRESS=USD pairs (`--fund`), or as the same object in a test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml

from perp_bot.core.errors import UsageError
from perp_bot.practice.market.coins import COINS

MODES = ("standard", "unified")
_MOST_USD = Decimal(10) ** 12
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SPECS = {coin.name: coin for coin in COINS if not coin.is_delisted}
_EXAMPLE = '{"accounts": [{"address": "0x...", "usd": 10000}]}'


@dataclass(frozen=True, slots=True)
class Agent:
    """An API wallet that may act for its master; `valid_until_ms` None: as long as the venue lets it."""

    address: str
    name: str | None = None
    valid_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A position held from the start; `size` is signed."""

    coin: str
    size: Decimal
    entry_px: Decimal
    leverage: int
    is_cross: bool


@dataclass(frozen=True, slots=True)
class Account:
    """One master account."""

    address: str
    usd: Decimal
    mode: str = "standard"
    agents: tuple[Agent, ...] = ()
    positions: tuple[Position, ...] = ()


def read_accounts(path: Path) -> list[Account]:
    """Return the accounts of a file; UsageError names the file, the place in it and what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UsageError(f"--accounts {path}: {reason}") from None
    try:
        read = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except ValueError as error:
        raise UsageError(f"--accounts {path}: not JSON ({error})") from None
    except yaml.YAMLError as error:
        raise UsageError(f"--accounts {path}: not YAML ({' '.join(str(error).split())})") from None
    try:
        return parse_accounts(read)
    except UsageError as error:
        raise UsageError(f"--accounts {path}: {error}") from None


def parse_accounts(read: object) -> list[Account]:
    """Return the accounts of an object like {"accounts": [...]}, or of the list alone."""
    listed = read["accounts"] if isinstance(read, Mapping) and set(read) == {"accounts"} else read
    if isinstance(listed, str | Mapping) or not isinstance(listed, Sequence):
        raise UsageError(f"expected a list of accounts like {_EXAMPLE}")
    accounts = [_account(f"accounts[{index}]", one) for index, one in enumerate(listed)]
    _must_be_distinct(accounts)
    return accounts


def parse_funds(pairs: Iterable[str]) -> dict[str, Decimal]:
    """Return address -> USD of pairs like 0x...=5000; the same address twice gets both."""
    funds: dict[str, Decimal] = {}
    for pair in pairs:
        address, sign, usd = pair.partition("=")
        if not sign:
            raise UsageError(f"--fund {pair!r}: expected ADDRESS=USD, for example 0x{'0' * 39}1=5000")
        try:
            found = _address("address", address.strip())
            funds[found] = funds.get(found, Decimal(0)) + _money("usd", usd.strip())
        except UsageError as error:
            raise UsageError(f"--fund {pair!r}: {error}") from None
    return funds


def with_funds(accounts: Iterable[Account], funds: Mapping[str, Decimal]) -> list[Account]:
    """Return the accounts with more money in those named, and with a new account for every other address."""
    rest = dict(funds)
    out = [replace(one, usd=one.usd + rest.pop(one.address, Decimal(0))) for one in accounts]
    for agent in (agent for one in out for agent in one.agents):
        if agent.address in rest:
            raise UsageError(f"--fund {agent.address}: it is an agent; fund its master")
    return [*out, *(Account(address, usd) for address, usd in rest.items())]


def _account(where: str, value: object) -> Account:
    read = _object(where, value, {"address", "usd"}, {"mode", "agents", "positions"})
    mode = read.get("mode", MODES[0])
    if mode not in MODES:
        raise UsageError(f"{where}.mode: {mode!r} is not one of {', '.join(MODES)}")
    positions = tuple(
        _position(f"{where}.positions[{index}]", one)
        for index, one in enumerate(_rows(f"{where}.positions", read.get("positions")))
    )
    coins = [one.coin for one in positions]
    for coin in coins:
        if coins.count(coin) > 1:
            raise UsageError(f"{where}.positions: {coin} is listed twice; an account holds one position a coin")
    return Account(
        address=_address(f"{where}.address", read["address"]),
        usd=_money(f"{where}.usd", read["usd"]),
        mode=str(mode),
        agents=tuple(
            _agent(f"{where}.agents[{index}]", one)
            for index, one in enumerate(_rows(f"{where}.agents", read.get("agents")))
        ),
        positions=positions,
    )


def _agent(where: str, value: object) -> Agent:
    read = _object(where, value, {"address"}, {"name", "valid_until"})
    name = read.get("name")
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= 16):
        raise UsageError(f"{where}.name: {name!r} is not a name of 1 to 16 characters")
    return Agent(_address(f"{where}.address", read["address"]), name, _time(f"{where}.valid_until", read))


def _position(where: str, value: object) -> Position:
    read = _object(where, value, {"coin", "size", "entry_px"}, {"leverage", "margin"})
    spec = _SPECS.get(str(read["coin"]))
    if spec is None:
        raise UsageError(f"{where}.coin: no live coin {read['coin']!r}; coins: {', '.join(sorted(_SPECS))}")
    size, entry_px = _number(f"{where}.size", read["size"]), _number(f"{where}.entry_px", read["entry_px"])
    step = Decimal(1).scaleb(-spec.sz_decimals)
    if not size or size % step:
        raise UsageError(f"{where}.size: {size} is not a multiple of {step}, the smallest size of {spec.name}, nor 0")
    if entry_px <= 0:
        raise UsageError(f"{where}.entry_px: {entry_px} is not above 0")
    leverage = read.get("leverage", min(20, spec.max_leverage))
    if isinstance(leverage, bool) or not isinstance(leverage, int) or not 1 <= leverage <= spec.max_leverage:
        raise UsageError(f"{where}.leverage: {leverage!r} is not a whole number from 1 to {spec.max_leverage}")
    margin = read.get("margin", "cross")
    if margin not in ("cross", "isolated"):
        raise UsageError(f"{where}.margin: {margin!r} is not cross or isolated")
    return Position(spec.name, size, entry_px, leverage, margin == "cross")


def _must_be_distinct(accounts: list[Account]) -> None:
    owners: dict[str, str] = {}
    for index, account in enumerate(accounts):
        for where, address in [
            (f"accounts[{index}]", account.address),
            *((f"accounts[{index}].agents[{n}]", agent.address) for n, agent in enumerate(account.agents)),
        ]:
            if address in owners:
                raise UsageError(f"{where}: {address} is {owners[address]} already; an address has one role")
            owners[address] = where


def _object(where: str, value: object, needed: set[str], optional: set[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: expected an object with {', '.join(sorted(needed))}, found {value!r}")
    missing, unknown = needed - set(value), set(value) - needed - optional
    if missing:
        raise UsageError(f"{where}: {sorted(missing)[0]} is missing")
    if unknown:
        known = ", ".join(sorted(needed | optional))
        raise UsageError(f"{where}: unknown key {sorted(map(str, unknown))[0]!r}; keys: {known}")
    return value


def _rows(where: str, value: object) -> Sequence[object]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"{where}: expected a list")
    return value


def _address(where: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 160:
        value = f"0x{value:040x}"  # YAML reads an address without quotes as a number
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise UsageError(f"{where}: {value!r} is not an address (0x and 40 hex digits)")
    return value.lower()


def _money(where: str, value: object) -> Decimal:
    usd = _number(where, value)
    if not 0 <= usd <= _MOST_USD:
        raise UsageError(f"{where}: {usd} is not an amount from 0 to a million million USD")
    if usd != round(usd, 6):
        raise UsageError(f"{where}: {usd} has more than the six decimals of USDC")
    return usd


def _number(where: str, value: object) -> Decimal:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise InvalidOperation
        number = Decimal(str(value))
        if not number.is_finite():
            raise InvalidOperation
    except InvalidOperation:
        raise UsageError(f"{where}: {value!r} is not a number") from None
    return number


def _time(where: str, read: Mapping[str, object]) -> int | None:
    value = read.get("valid_until")
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1_000)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise UsageError(f"{where}: {read['valid_until']!r} is neither an ISO time nor epoch ms")
