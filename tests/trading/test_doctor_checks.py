"""The doctor's verdicts from facts alone: the forms that a practice venue or a good disk do not bring about."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perp_bot.config.model import Config
from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.types import Instrument, MarginTier
from perp_bot.core.venue_account import VenueAccount, VenuePosition
from perp_bot.data.account_reads import Agent, CoinSetting
from perp_bot.data.answers import PracticeInfo, UserRateLimit, VenueStatus
from perp_bot.ops.alert_channels import Delivery
from perp_bot.trading.doctor import account_checks, coin_checks, machine_checks
from perp_bot.trading.doctor.coin_checks import Coin
from perp_bot.trading.doctor.machine_checks import KillFacts, Lock
from perp_bot.trading.doctor.verdict import Verdict, exit_code, failure, ok, skipped, warning

NOW_MS = 1_768_554_000_000
SIGNER, ACCOUNT, OTHER = "0x" + "1" * 40, "0x" + "2" * 40, "0x" + "3" * 40
BTC = Instrument("BTC", 0, 5, 40)
HOUR_MS = 3_600_000


def config(trading: dict[str, Any] | None = None, risk: dict[str, Any] | None = None, **sections: Any) -> Config:
    made = Config()
    return replace(
        made, trading=replace(made.trading, **(trading or {})), risk=replace(made.risk, **(risk or {})), **sections
    )


def account(value: str, *held: tuple[str, str, str]) -> VenueAccount:
    """Return an account with positions of (coin, signed size, unrealized)."""
    positions = tuple(VenuePosition(coin, Decimal(size), None, Decimal(gain), None) for coin, size, gain in held)
    return VenueAccount(NOW_MS, Decimal(value), Decimal(value), Decimal(value), positions)


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([ok("a", "x"), skipped("b", "x")], 0),
        ([ok("a", "x"), warning("b", "x", "y")], 5),
        ([warning("a", "x", "y"), failure("b", "x", "y")], 1),
    ],
)
def test_the_gravest_verdict_is_the_exit_code(verdicts: list[Verdict], code: int) -> None:
    """0 all well, 5 warnings only, 1 failures; what was skipped counts as nothing."""
    assert exit_code(verdicts) == code


# ---------------------------------------------------------------- account


@pytest.mark.parametrize(
    ("left_ms", "level"),
    [(14 * DAY_MS, "ok"), (14 * DAY_MS - 1, "warning"), (1, "warning"), (0, "failure"), (-DAY_MS, "failure")],
)
def test_an_api_wallet_that_ends_is_said_two_weeks_before(left_ms: int, level: str) -> None:
    """At 14 days it is well, below a warning, from its end on a failure."""
    agents = (Agent("old", OTHER, 0), Agent("bot", SIGNER, NOW_MS + left_ms))
    assert account_checks.agent_expiry("agent", agents, SIGNER, NOW_MS).level == level


def test_an_api_wallet_without_an_end_is_well() -> None:
    """`validUntil` null."""
    assert account_checks.agent_expiry("agent", (Agent("bot", SIGNER, None),), SIGNER, NOW_MS).level == "ok"


@pytest.mark.parametrize("mode", ["portfolioMargin", "dexAbstraction", "somethingNew"])
def test_a_mode_that_is_not_known_is_a_warning_that_names_it(mode: str) -> None:
    """Nothing is guessed about it."""
    verdict = account_checks.account_mode(mode)
    assert verdict.level == "warning"
    assert verdict.text.startswith(f"{mode}: ")


@pytest.mark.parametrize(
    ("value", "level"), [("670", "ok"), ("669.99", "warning"), ("335", "warning"), ("334.99", "failure")]
)
def test_balances_are_held_against_the_capital_and_the_margin_of_an_entry(value: str, level: str) -> None:
    """Capital 670, half of it margin."""
    assert account_checks.balances(config(), "disabled", account(value), Decimal(0)).level == level


def test_money_on_spot_is_named_where_it_is_no_margin() -> None:
    """A standard account with its deposit on the wrong side."""
    verdict = account_checks.balances(config(), "default", account("0"), Decimal(900))
    assert (verdict.level, verdict.text.count("900.00 USDC on spot")) == ("failure", 1)
    assert "move USDC from spot to perps" in verdict.fix


def test_a_unified_account_is_worth_its_spot_balance_and_its_positions_gain() -> None:
    """600 on spot and 100 unrealized cover 670; the perp side's own value is the gain once more and not added."""
    perp = account("100", ("BTC", "0.01", "100"))
    assert account_checks.value_usd("unifiedAccount", perp, Decimal(600)) == 700
    assert account_checks.balances(config(), "unifiedAccount", perp, Decimal(600)).level == "ok"
    assert account_checks.balances(config(), "unifiedAccount", perp, Decimal(500)).level == "warning"


def test_more_positions_than_allowed_are_a_warning() -> None:
    """risk.max_positions is 1."""
    both = account("1000", ("BTC", "0.01", "0"), ("ETH", "-1", "0"))
    assert account_checks.positions(config(), both).level == "warning"
    assert account_checks.positions(config(risk={"max_positions": 2}), both).level == "ok"


@pytest.mark.parametrize(
    ("used", "capital", "level", "says"),
    [
        (0, 670.0, "ok", "it does not run out"),
        (9_001, 670.0, "warning", "999 of 10,000"),
        (10_000, 670.0, "failure", "one action in 10 s"),
        # 48 trades of 10 actions use 480 a day; 0.67 USD give back 48 x 2 x 1.005 = 96: 384 a day net.
        (0, 0.67, "ok", "26 days"),
        (7_500, 0.67, "warning", "7 days"),
    ],
)
def test_the_action_budget_is_told_in_days_of_the_most_these_settings_trade(
    used: int, capital: float, level: str, says: str
) -> None:
    """96 candles a day, a trade in every two, 10 actions each, and the volume gives some back."""
    budget = UserRateLimit(0.0, used, 10_000)
    verdict = account_checks.action_budget(config({"capital_usd": capital}), budget)
    assert (verdict.level, says in verdict.text) == (level, True), verdict.text


def test_the_second_strategys_own_limit_is_its_use() -> None:
    """macd_cross enters at most ten times a day, whatever the timeframe."""
    assert account_checks.trades_a_day(config({"strategy": "macd_cross"})) == 10
    assert account_checks.trades_a_day(config()) == 48


def test_builders_that_may_take_a_fee_are_named() -> None:
    """None is well, one is a warning, and a venue that does not list them is said so."""
    assert account_checks.builder_approvals(()).level == "ok"
    assert account_checks.builder_approvals(None).level == "skipped"
    found = account_checks.builder_approvals((OTHER,))
    assert (found.level, OTHER in found.text) == ("warning", True)


# ---------------------------------------------------------------- coins


def test_the_leverage_is_that_of_the_entrys_margin_tier() -> None:
    """40x below 150,000 USD and 20x from there: an entry of 167,500 USD may not have 25x."""
    tiers = (MarginTier(0.0, 40), MarginTier(150_000.0, 20))
    coin = Coin("BTC", replace(BTC, margin_tiers=tiers), 100_000.0)
    small = {"capital_usd": 1_000.0, "leverage": 25}
    assert coin_checks.leverage(config(small), coin, "x").level == "ok"
    found = coin_checks.leverage(config({**small, "capital_usd": 13_400.0}), coin, "x")
    assert (found.level, "at most 20x" in found.text) == ("failure", True)


@pytest.mark.parametrize(
    ("setting", "held", "level"),
    [
        (CoinSetting(3, True, 0, 0), "0.1", "ok"),
        (CoinSetting(5, True, 0, 0), "0", "ok"),
        (CoinSetting(5, True, 0, 0), "0.1", "warning"),
        (CoinSetting(3, False, 0, 0), "-0.1", "warning"),
    ],
)
def test_another_leverage_at_the_venue_matters_while_a_position_is_open(
    setting: CoinSetting, held: str, level: str
) -> None:
    """While flat the start sets it."""
    assert coin_checks.leverage(config(), Coin("BTC", BTC, 1e5), setting, Decimal(held)).level == level


@pytest.mark.parametrize(
    ("coin", "says"),
    [
        (Coin("NOPE", None, None), "lists no coin NOPE"),
        (Coin("OLD", replace(BTC, symbol="OLD", is_delisted=True), 1.0), "no longer trades OLD"),
        (Coin("BTC", BTC, None), "no mark of BTC"),
    ],
)
def test_a_coin_that_cannot_be_traded_is_a_failure(coin: Coin, says: str) -> None:
    """Unknown, delisted, or without a price."""
    found = coin_checks.leverage(config(), coin, "x")
    assert (found.level, says in found.text) == ("failure", True)


@pytest.mark.parametrize(("capital", "level"), [(670.0, "ok"), (6.67, "ok"), (6.66, "failure"), (0.5, "failure")])
def test_an_entry_is_worth_ten_dollars_after_its_size_is_cut_to_the_lot(capital: float, level: str) -> None:
    """Notional is capital x 0.5 x 3, a lot of BTC 1 USD at a mark of 100,000: 10.005, 9.99 and 0.75 USD."""
    assert coin_checks.minimum(config({"capital_usd": capital}), Coin("BTC", BTC, 100_000.0)).level == level


def test_a_coarse_lot_takes_an_entry_below_the_minimum() -> None:
    """19.5 USD at a mark of 9.9 and whole coins: one coin is 9.9 USD."""
    coin = Coin("X", Instrument("X", 0, 0, 10), 9.9)
    assert coin_checks.minimum(config({"capital_usd": 13.0}), coin).level == "failure"


def test_a_size_that_only_the_careful_regime_makes_too_small_is_a_warning() -> None:
    """15 USD, halved in HIGH_RISK; without prediction markets there is no such regime."""
    small = config({"capital_usd": 10.0})
    coin = Coin("BTC", BTC, 100_000.0)
    assert coin_checks.minimum(small, coin).level == "ok"
    followed = replace(small, prediction=replace(small.prediction, enabled=True))
    assert coin_checks.minimum(followed, coin).level == "warning"


@pytest.mark.parametrize(
    ("mode", "loss", "level"),
    [
        ("cross", 0.03, "ok"),
        ("cross", 0.9, "ok"),
        ("isolated", 0.3, "ok"),
        ("isolated", 0.49, "failure"),
        ("cross", 0.99, "failure"),
    ],
)
def test_a_stop_has_to_come_before_liquidation(mode: str, loss: float, level: str) -> None:
    """Cross has 670 USD behind an entry of 1,005, isolated its own margin of 335; maintenance is 1/80 of the notional.

    Isolated at 49 %: the stop is 328.3 USD away, liquidation about 322.
    """
    found = coin_checks.stop_against_liquidation(
        config({"margin_mode": mode}, {"max_loss_per_trade_pct": loss}), Coin("BTC", BTC, 100_000.0), None
    )
    assert found.level == level, found.text


def test_a_smaller_account_is_what_stands_behind_a_cross_position() -> None:
    """A loss of 402 USD is nearer than liquidation with 670, not with 400; one that covers no entry is not counted."""
    risky = config(risk={"max_loss_per_trade_pct": 0.6})
    coin = Coin("BTC", BTC, 100_000.0)
    levels = [
        coin_checks.stop_against_liquidation(risky, coin, value).level
        for value in (None, Decimal(10_000), Decimal(400), Decimal(5))
    ]
    assert levels == ["ok", "ok", "failure", "ok"]


# ---------------------------------------------------------------- machine


def status(speed: float | None) -> VenueStatus:
    return VenueStatus(NOW_MS, PracticeInfo(speed, 42, NOW_MS, None, True, "practice"))


@pytest.mark.parametrize(
    ("skew_ms", "level"),
    [
        (0.0, "ok"),
        (-2_000.0, "ok"),
        (2_001.0, "warning"),
        (-60_000.0, "warning"),
        (23 * HOUR_MS, "failure"),
        (-23 * HOUR_MS, "failure"),
    ],
)
def test_a_clock_that_is_off_is_told(skew_ms: float, level: str) -> None:
    """2 s is a warning; where nonces begin to be refused it is a failure."""
    assert machine_checks.clock_skew(status(1.0), skew_ms).level == level


def test_a_venue_with_its_own_time_is_not_compared() -> None:
    """Stepped, or faster than life."""
    assert "is stepped" in machine_checks.clock_skew(status(None), None).text
    assert "600 times" in machine_checks.clock_skew(status(600.0), None).text


@pytest.mark.parametrize(
    ("free", "is_writable", "level"),
    [
        (10**9, True, "ok"),
        (10**9 - 1, True, "warning"),
        (10**8, True, "warning"),
        (10**8 - 1, True, "failure"),
        (10**12, False, "failure"),
        (None, True, "failure"),
    ],
)
def test_a_disk_that_fills_is_told(free: int | None, is_writable: bool, level: str) -> None:
    """Below 1 GB a warning, below 100 MB or read-only a failure."""
    assert machine_checks.disk(Path("/data"), free, is_writable=is_writable).level == level


@pytest.mark.parametrize(
    ("daemon", "signer", "level", "says"),
    [
        (Lock(), Lock(), "ok", "no daemon runs"),
        (Lock("pid 7"), Lock("pid 7"), "ok", "a daemon runs (pid 7) and signs with this key"),
        (Lock("pid 7"), Lock(), "ok", "a daemon runs (pid 7)"),
        (Lock(), Lock("pid 8"), "failure", "another perpbot (pid 8) signs"),
        (Lock("pid 7"), Lock("pid 8"), "failure", "another perpbot (pid 8) signs"),
        (Lock(problem="cannot read the lock file"), Lock(), "failure", "cannot read the lock file"),
    ],
)
def test_one_database_has_one_daemon_and_one_key_one_process(daemon: Lock, signer: Lock, level: str, says: str) -> None:
    """Our own daemon is no fault; another one with the key is."""
    found = machine_checks.second_instance(daemon, signer, SIGNER)
    assert (found.level, says in found.text) == (level, True), found.text


def test_a_kill_latches_by_file_or_by_row() -> None:
    """Either one; a database that cannot be asked is said so."""
    assert machine_checks.kill_latch(KillFacts()).level == "ok"
    assert machine_checks.kill_latch(KillFacts(latch="killed by me")).level == "warning"
    assert machine_checks.kill_latch(KillFacts(stored="killed by me")).level == "warning"
    unknown = machine_checks.kill_latch(KillFacts(problem="perp_bot.db is locked"))
    assert (unknown.level, "perp_bot.db is locked" in unknown.text) == ("warning", True)


@pytest.mark.parametrize(
    ("looks", "problems", "level"),
    [
        ((), (), "warning"),
        ((("Discord", Delivery(True)),), (), "ok"),
        ((("Discord", Delivery(True)),), ("TELEGRAM_CHAT_ID is not set, Telegram is off",), "warning"),
        ((), ("TELEGRAM_CHAT_ID is not set, Telegram is off",), "warning"),
        ((("Discord", Delivery(True)), ("Telegram", Delivery(False, "status 401"))), (), "failure"),
    ],
)
def test_alerts_reach_somebody(looks: tuple[tuple[str, Delivery], ...], problems: tuple[str, ...], level: str) -> None:
    """Nobody is a warning, half a setting too; a channel that refuses is a failure."""
    assert machine_checks.alerts(looks, problems).level == level
