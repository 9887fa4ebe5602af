"""Every bad setting gives one clear line with file, key, value, what is allowed and the nearest valid name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.config.load import load_config, resolved, section_fields
from perp_bot.config.model import Config, PredictionMarket
from perp_bot.core.errors import ConfigError

KEY = "0x" + "ab" * 32
ADDRESS = "0x" + "cd" * 20

Load = Callable[[str], Config]
Fault = Callable[[str], str]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a YAML text from a file."""

    def from_text(text: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, env={})

    return from_text


@pytest.fixture
def fault(load: Load) -> Fault:
    """Return the one line that a YAML text is refused with."""

    def line(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text)
        assert caught.value.exit_code == 2
        message = str(caught.value)
        assert "\n" not in message, "one fault, one line"
        assert "config.yaml" in message
        return message

    return line


# ---------------------------------------------------------------- good settings


def test_the_defaults_are_the_issues(load: Load) -> None:
    """Names and defaults as promised; written out here independently of the model."""
    config = load("")
    assert config.trading.symbols == ("BTC", "ETH")
    assert (config.trading.leverage, config.trading.capital_usd, config.trading.margin_usage_limit) == (3, 670, 0.5)
    signals = config.signals
    assert (signals.zscore_lookback, signals.bollinger_period, signals.rsi_period, signals.adx_period) == (
        20,
        20,
        14,
        14,
    )
    assert (signals.zscore_entry_threshold, signals.zscore_exit_threshold, signals.zscore_stop_threshold) == (2, 0.3, 3)
    assert (signals.rsi_overbought, signals.rsi_oversold, signals.adx_threshold, signals.bollinger_std) == (
        70,
        30,
        25,
        2,
    )
    assert config.trading.strategy == "mean_reversion"
    macd = config.macd
    assert (macd.fast, macd.slow, macd.signal, macd.volume_bars, macd.max_trades_per_day) == (12, 26, 9, 20, 10)
    assert (macd.rsi_overbought, macd.rsi_oversold, macd.reward_risk, macd.stop_atr) == (70, 30, 2, 2)
    assert (macd.stop_min_pct, macd.stop_max_pct) == (0.001, 0.1)
    assert (macd.trail_after_pct, macd.trail_distance_pct, macd.trail_step_pct) == (0.01, 0.02, 0.005)
    risk = config.risk
    assert (risk.max_loss_per_trade_pct, risk.daily_loss_limit_pct, risk.session_drawdown_pct) == (0.03, 0.08, 0.05)
    assert (risk.max_drawdown_pct, risk.max_positions, risk.cooldown_seconds) == (0.25, 1, 1800)
    assert (risk.position_timeout_hours, risk.losing_weeks) == (24, 3)
    assert config.data.timeframes == ("1m", "5m", "15m", "1h")
    assert (config.data.primary_timeframe, config.data.close_confirm_timeout_seconds) == ("15m", 5)
    assert (config.data.history_days, config.data.db_path.name) == (90, "perp_bot.db")
    execution = config.execution
    assert (execution.order_type, execution.taker_fallback_seconds, execution.use_server_side_stop) == (
        "limit",
        30,
        True,
    )
    assert (execution.entry_delay_candles, execution.cancel_if_signal_gone) == (0, True)
    prediction = config.prediction
    assert (prediction.enabled, prediction.poll_interval_minutes, prediction.war_risk_threshold) == (False, 15, 0.4)
    assert (prediction.war_risk_crisis_threshold, prediction.rate_change_threshold) == (0.7, 0.3)
    assert (prediction.position_size_reduction, prediction.max_age_minutes, prediction.markets) == (0.5, 120, ())
    backtest = config.backtest
    assert (backtest.maker_fee_rate, backtest.taker_fee_rate) == (0.00015, 0.00045)
    assert (backtest.slippage_min_pct, backtest.slippage_max_pct) == (0.0001, 0.0005)
    assert (backtest.train_days, backtest.test_days, backtest.step_days, backtest.seed) == (60, 15, 15, 42)
    service = config.signal_service
    assert (service.collection_timeout_seconds, service.enable_caching) == (30, True)
    assert (service.fast_timeout_seconds, service.medium_timeout_seconds, service.slow_timeout_seconds) == (5, 15, 30)
    assert (config.venue, config.mode) == ("practice", "paper")


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ./config.yaml is no error."""
    monkeypatch.chdir(tmp_path)
    config = load_config(None, env={})
    assert config.source_path is None
    assert config.data.db_path == tmp_path / "perp_bot.db"


def test_the_file_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./config.yaml is read when no path is given."""
    (tmp_path / "config.yaml").write_text("trading: {leverage: 5}")
    monkeypatch.chdir(tmp_path)
    config = load_config(None, env={})
    assert (config.trading.leverage, config.source_path) == (5, tmp_path / "config.yaml")


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A wrong --config is not replaced by defaults silently."""
    with pytest.raises(ConfigError, match="no such config file"):
        load_config(tmp_path / "other.yaml", env={})


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command sees the same database from anywhere."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.yaml").write_text("data: {db_path: store/bot.db}")
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("here/config.yaml"), env={})
    assert config.data.db_path == tmp_path / "here" / "store" / "bot.db"
    assert config.signal_service.cache_db_path == tmp_path / "here" / "signal_cache.db"


@pytest.mark.parametrize("written", ["BTC", "btc", "BTC-PERP", "BTCUSDT", "BTC/USDC"])
def test_symbols_may_be_written_in_every_usual_form(load: Load, written: str) -> None:
    """The venue's name is what counts inside."""
    assert load(f"trading: {{symbols: ['{written}']}}").trading.symbols == ("BTC",)


def test_whole_numbers_are_taken_for_fractions(load: Load) -> None:
    """670 is as good as 670.0, and becomes a float."""
    value = load("trading: {capital_usd: 1000}").trading.capital_usd
    assert (value, type(value)) == (1000.0, float)


def test_an_empty_section_is_the_defaults(load: Load) -> None:
    """A section whose keys are all commented out is fine."""
    assert load("risk:\ntrading:\n  leverage: 2\n").risk == Config().risk


def test_the_venue_of_the_command_line_wins(tmp_path: Path) -> None:
    """--venue overrides the file."""
    (tmp_path / "config.yaml").write_text("venue: practice")
    assert load_config(tmp_path / "config.yaml", env={}, venue="mainnet").venue == "mainnet"
    with pytest.raises(ConfigError, match=r"^--venue: 'mainet' is not a venue.*did you mean mainnet\?"):
        load_config(tmp_path / "config.yaml", env={}, venue="mainet")


@pytest.mark.parametrize(
    "venue", ["mainnet", "testnet", "practice", "http://127.0.0.1:9000", "https://venue.example", "http://[::1]:8642"]
)
def test_venues_that_are_allowed(load: Load, venue: str) -> None:
    """Names and base URLs."""
    assert load(f"venue: '{venue}'").venue == venue


def test_prediction_markets_are_read(load: Load) -> None:
    """A list of mappings becomes typed markets."""
    config = load(
        "prediction:\n  enabled: true\n  markets:\n"
        "    - {slug: conflict, source: kalshi, market_id: KX-1, category: rate_change, weight: 2}\n"
    )
    assert config.prediction.markets == (PredictionMarket("conflict", "kalshi", "KX-1", "rate_change", 2.0),)


# ---------------------------------------------------------------- bad settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tradng: {leverage: 3}", ["tradng: unknown section", "did you mean trading?", "allowed: trading, signals"]),
        ("risk: {max_position: 3}", ["risk.max_position: unknown key (value 3)", "did you mean max_positions?"]),
        ("trading: {db_path: x}", ["trading.db_path: unknown key", "it belongs to data"]),
        ("trading: {5: x}", ["trading.5: unknown key"]),
        ('trading: {"a\\nb": x}', ["trading.a_b: unknown key"]),
        ("trading: {leverage: 0}", ["trading.leverage: 0 is not allowed; expected a whole number from 1 to 50"]),
        ("trading: {leverage: 51}", ["trading.leverage: 51", "from 1 to 50"]),
        ("trading: {leverage: 3.0}", ["trading.leverage: 3.0", "a whole number"]),
        ("trading: {leverage: true}", ["trading.leverage: True", "a whole number"]),
        ('trading: {leverage: "3"}', ["trading.leverage: '3'", "write it as 3 without quotes"]),
        ("trading: {leverage: }", ["trading.leverage: is empty"]),
        ("trading: {leverage: [3]}", ["trading.leverage: [3]"]),
        ("trading: {capital_usd: 0}", ["trading.capital_usd: 0.0", "a number above 0"]),
        ("trading: {capital_usd: .nan}", ["trading.capital_usd: nan", "finite"]),
        ("trading: {capital_usd: .inf}", ["trading.capital_usd: inf", "finite"]),
        ("trading: {capital_usd: 5e2}", ["trading.capital_usd: '5e2'", "write it as 500 without quotes"]),
        ("trading: {margin_usage_limit: 1.5}", ["trading.margin_usage_limit: 1.5", "above 0 and at most 1"]),
        ("trading: {symbols: BTC}", ["trading.symbols: 'BTC'", "write it as [a, b]"]),
        ("trading: {symbols: []}", ["trading.symbols: is empty"]),
        ("trading: {symbols: [BTC, BTC-PERP]}", ["trading.symbols: BTC is given twice"]),
        ("trading: {symbols: ['B T C']}", ["trading.symbols: 'B T C' is not a coin name"]),
        ("trading: {symbols: [on]}", ["trading.symbols: True", "put it in quotes"]),
        ("signals: {zscore_lookback: 1}", ["signals.zscore_lookback: 1", "from 2 to 500"]),
        (
            "signals: {zscore_exit_threshold: 2.5}",
            ["signals.zscore_exit_threshold: 2.5 must be below zscore_entry_threshold (2)"],
        ),
        ("signals: {zscore_exit_threshold: 2.0}", ["signals.zscore_exit_threshold: 2 must be below"]),
        ("signals: {zscore_stop_threshold: 1.5}", ["signals.zscore_stop_threshold: 1.5 must be above"]),
        ("signals: {rsi_overbought: 50}", ["signals.rsi_overbought: 50"]),
        ("trading: {strategy: macd_crss}", ["trading.strategy: 'macd_crss'", "did you mean macd_cross?"]),
        ("macd: {fast: 26}", ["macd.fast: 26 must be below slow (26)"]),
        ("macd: {stop_min_pct: 0.1}", ["macd.stop_min_pct: 0.1 must be below stop_max_pct (0.1)"]),
        ("macd: {max_trades_per_day: 0}", ["macd.max_trades_per_day: 0", "from 1 to 1000"]),
        ("risk: {max_loss_per_trade_pct: 3}", ["risk.max_loss_per_trade_pct: 3.0", "at most 1"]),
        ("data: {primary_timeframe: 7m}", ["data.primary_timeframe: '7m'", "one of 1m, 3m, 5m"]),
        ("data: {timeframes: [1m, 5min]}", ["data.timeframes: '5min'", "did you mean 5m?"]),
        ("data: {timeframes: [1m]}", ["data.primary_timeframe: '15m' must be one of data.timeframes (1m)"]),
        ("data: {timeframes: [15m, 15m]}", ["data.timeframes: 15m is given twice"]),
        ("data: {db_path: 5}", ["data.db_path: 5", "a path", "quotes"]),
        ("data: {db_path: ''}", ["data.db_path: ''", "a path"]),
        ("data: {db_path: .}", ["data.db_path:", "is a folder"]),
        ("data: {db_path: config.yaml/x.db}", ["data.db_path:", "is not a folder"]),
        ("data: {db_path: signal_cache.db}", ["signal_service.cache_db_path:", "is the database itself"]),
        ("execution: {order_type: market}", ["execution.order_type: 'market'", "one of limit, taker"]),
        ("execution: {use_server_side_stop: 1}", ["execution.use_server_side_stop: 1", "true or false"]),
        ("prediction: {enabled: true}", ["prediction.markets: is empty while prediction.enabled is true"]),
        ("prediction: {war_risk_threshold: 0.9}", ["prediction.war_risk_crisis_threshold: 0.7 must not be below"]),
        ("prediction: {markets: {a: 1}}", ["prediction.markets:", "expected a list of markets"]),
        ("prediction: {markets: [{sorce: kalshi}]}", ["prediction.markets[0].sorce: unknown key", "source?"]),
        (
            "prediction: {enabled: true, markets: [{slug: war, market_id: YOUR_MARKET_ID}]}",
            ["prediction.markets[0].market_id: 'YOUR_MARKET_ID' is a placeholder"],
        ),
        ("backtest: {slippage_min_pct: 0.01}", ["backtest.slippage_min_pct: 0.01 must not be above"]),
        ("backtest: {maker_fee_rate: 0.001}", ["backtest.maker_fee_rate: 0.001 must not be above taker_fee_rate"]),
        ("tui: {log_level: info}", ["tui.log_level: 'info'", "did you mean INFO?"]),
        ("venue: mainet", ["venue: 'mainet' is not a venue", "did you mean mainnet?"]),
        ("venue: http://127.0.0.1:8642/", ["venue:", "without a trailing slash"]),
        ("venue: https://api.example/v1", ["venue:", "goes on after host and port"]),
        ("venue: ftp://x", ["venue:", "not an http(s) URL"]),
        ("venue: http://x:99999", ["venue:", "is not a URL"]),
        ("venue: http://", ["venue:", "not an http(s) URL"]),
        ("venue: 5", ["venue: 5", "text"]),
        ("mode: demo", ["mode: 'demo'", "one of paper, live"]),
        ("trading: 5", ["trading: expected keys below it, found 5"]),
        ("[1, 2]", ["expected sections like `trading:`"]),
        ("just words", ["expected sections like `trading:`"]),
        ("trading:\n  leverage: 3\n  leverage: 4\n", ["config.yaml:3:3:", "'leverage' is given twice"]),
        ("trading: {leverage: 1}\ntrading: {leverage: 2}\n", ["config.yaml:2:1:", "'trading' is given twice"]),
        ("trading: {leverage: 3", ["config.yaml:2:1:", "not valid YAML", "is the file complete?"]),
        ("trading:\n\tleverage: 3\n", ["config.yaml:2:1:", "not valid YAML"]),
        ("a: !!python/object/apply:os.system ['true']", ["config.yaml:1:4:", "not valid YAML"]),
        ("--- {}\n--- {}\n", ["not valid YAML"]),
        ("a: &a [*a]", ["a: unknown section"]),
    ],
)
def test_a_bad_setting_is_one_clear_line(fault: Fault, text: str, expected: list[str]) -> None:
    """File, key, value, what is allowed, and the nearest valid name."""
    line = fault(text)
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00\x01", b"trading: \x00", b"\x80abc", b"a: " + b"[" * 5000, b"x" * 1_100_000]
)
def test_a_file_that_is_not_text_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """Binary, truncated and absurd files end as ConfigError, never as a traceback."""
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, env={})
    assert "\n" not in str(caught.value)


def test_a_folder_instead_of_a_file_is_one_clear_line(tmp_path: Path) -> None:
    """--config on a folder."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, env={})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The database could never be created there."""
    (tmp_path / "locked").mkdir(mode=0o500)
    path = tmp_path / "config.yaml"
    path.write_text("data: {db_path: locked/deeper/bot.db}")
    with pytest.raises(ConfigError, match=r"data\.db_path: .*locked is not writable"):
        load_config(path, env={})


def test_a_read_only_file_system_is_refused_even_for_root(fault: Fault) -> None:
    """/proc accepts no new files whoever asks; where it does not exist there is nothing to test."""
    if not Path("/proc/self").exists() or os.access("/proc", os.W_OK):
        pytest.skip("no read-only file system at hand")
    assert "is not writable" in fault("data: {db_path: /proc/bot.db}")


def test_all_faults_are_listed_first_one_first(load: Load) -> None:
    """One run shows everything that has to be mended."""
    with pytest.raises(ConfigError) as caught:
        load("trading: {leverage: 0, symbols: []}\nrisk: {wrong: 1}\nvenue: nowhere\n")
    lines = str(caught.value).splitlines()
    assert [re.sub(r"^.*config\.yaml: ([\w.]+): .*$", r"\1", line) for line in lines] == [
        "trading.leverage",
        "risk.wrong",
        "venue",
        "trading.symbols",
    ]


# ---------------------------------------------------------------- secrets


def test_secrets_come_from_the_env_file_beside_the_config(tmp_path: Path) -> None:
    """Taken as written: dollars, quotes and hashes are not expanded."""
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / ".env").write_text(
        f"# a comment\nHL_PRIVATE_KEY={KEY}\nexport HL_WALLET_ADDRESS='{ADDRESS}'\nTELEGRAM_BOT_TOKEN=a$b${{HOME}}\n"
    )
    secrets = load_config(tmp_path / "config.yaml", env={}).secrets
    assert (secrets.hl_private_key, secrets.hl_wallet_address) == (KEY, ADDRESS)
    assert secrets.telegram_bot_token == "a$b${HOME}"
    assert secrets.discord_webhook_url is None


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """And an empty variable counts as not set."""
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / ".env").write_text("TELEGRAM_CHAT_ID=1\nTELEGRAM_BOT_TOKEN=file\n")
    secrets = load_config(tmp_path / "config.yaml", env={"TELEGRAM_CHAT_ID": "2", "TELEGRAM_BOT_TOKEN": ""}).secrets
    assert (secrets.telegram_chat_id, secrets.telegram_bot_token) == ("2", "file")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HL_PRIVATE_KEY", "0x" + "ab" * 31),
        ("HL_PRIVATE_KEY", "zz" * 32),
        ("HL_PRIVATE_KEY", "correct horse battery staple"),
        ("HL_WATCHDOG_PRIVATE_KEY", "zz" * 32),
        ("HL_WALLET_ADDRESS", "cd" * 20),
        ("HL_WALLET_ADDRESS", KEY),
        ("DISCORD_WEBHOOK_URL", "discord-webhook-canary"),
    ],
)
def test_a_malformed_secret_is_refused_without_showing_it(tmp_path: Path, name: str, value: str) -> None:
    """The line names the variable and where it came from, never the value."""
    (tmp_path / "config.yaml").write_text("")
    for env, dotenv in (({name: value}, ""), ({}, f"{name}={value}\n")):
        (tmp_path / ".env").write_text(dotenv)
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path / "config.yaml", env=env)
        line = str(caught.value)
        assert name in line
        assert ("the environment" if env else ".env") in line
        assert value not in line


@pytest.mark.parametrize(
    "text",
    [
        f"HL_PRIVATE_KEY: '{KEY}'",
        f"trading: {{hl_private_key: '{KEY}'}}",
        f"secrets: {{x: '{KEY}'}}",
        f"trading: {{capital_usd: '{KEY}'}}",
        f"wallet: '{KEY}'",
        f"trading: {{'{KEY}': 1}}",
        f"venue: https://user:{'s' * 20}@host",
        f"'{KEY}': 1\n'{KEY}': 2",
        f"x: *{'ab' * 32}",
    ],
)
def test_a_secret_in_the_yaml_is_refused_and_never_printed(load: Load, text: str) -> None:
    """It points to .env; the value appears in no message."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert "ab" * 16 not in str(caught.value)
    assert "s" * 20 not in str(caught.value)
    if "private_key" in text.lower():
        assert ".env" in str(caught.value)


def test_a_broken_env_file_is_one_line_without_its_text(tmp_path: Path) -> None:
    """File and line, not what stands there."""
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / ".env").write_text("TELEGRAM_CHAT_ID=1\n=topsecret value\n")
    with pytest.raises(ConfigError, match=r"\.env:2: expected NAME=value") as caught:
        load_config(tmp_path / "config.yaml", env={})
    assert "topsecret" not in str(caught.value)


def test_no_secret_is_in_a_repr_or_in_the_resolved_settings(tmp_path: Path) -> None:
    """I9: repr and `config check` say set or not set."""
    (tmp_path / "config.yaml").write_text("")
    config = load_config(tmp_path / "config.yaml", env={"HL_PRIVATE_KEY": KEY, "TELEGRAM_BOT_TOKEN": "canary-token"})
    shown = repr(config) + repr(config.secrets) + str(resolved(config)) + str(dataclasses.fields(config))
    assert "ab" * 8 not in shown
    assert "canary" not in shown
    assert resolved(config)["secrets"] == {
        "hl_private_key": "set",
        "hl_wallet_address": "not set",
        "hl_watchdog_private_key": "not set",
        "discord_webhook_url": "not set",
        "telegram_bot_token": "set",
        "telegram_chat_id": "not set",
    }


# ---------------------------------------------------------------- properties


_SECTION_KEYS = [(section, item.name) for section, kind in section_fields().items() for item in fields(kind)]
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.one_of(st.integers(), st.text(max_size=5), st.booleans()), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(_SECTION_KEYS), value=_VALUES)
def test_any_value_is_either_taken_or_refused_in_lines(
    tmp_path_factory: pytest.TempPathFactory, key: tuple[str, str], value: Any
) -> None:
    """No YAML value at any key ends in anything but settings or a ConfigError naming the section."""
    import yaml

    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump({key[0]: {key[1]: value}}, allow_unicode=True), encoding="utf-8")
    try:
        config = load_config(path, env={})
    except ConfigError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        named = (f"{key[0]}.", "data.primary_timeframe", "signal_service.cache_db_path", "not valid YAML")
        assert any(name in refusal for name in named)
        return
    taken = getattr(getattr(config, key[0]), key[1])
    assert isinstance(taken, (bool, int, float, str, tuple, Path))
    assert taken == taken, "NaN was taken"


def test_resolving_twice_gives_the_same_settings(load: Load, tmp_path: Path) -> None:
    """What `config check` prints can be loaded again, and means the same."""
    import yaml

    config = load("trading: {symbols: [eth-perp]}\ndata: {db_path: deep/x.db}")
    plain = {key: value for key, value in resolved(config).items() if key not in ("source", "secrets")}
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(plain))
    assert replace(load_config(path, env={}), source_path=config.source_path) == config
