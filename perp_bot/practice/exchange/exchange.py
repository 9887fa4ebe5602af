"""The exchange as the server sees it: who may act, actions, time, answers and what users are told."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import actions, booking, budget, clockwork, lifecycle, liquidation, margin, reads, state
from perp_bot.practice.exchange.accounts import MODES, Account
from perp_bot.practice.exchange.amounts import money, money_steps
from perp_bot.practice.exchange.core import Core, UserEvent
from perp_bot.practice.exchange.feed import Feed
from perp_bot.practice.market.market import Market

Json = dict[str, Any]

OPEN_ACCOUNT_USD = Decimal(10_000)


class Exchange:
    """Every account of the venue. Addresses are lower case, times the venue's."""

    def __init__(self, market: Market, now_ms: int, *, open_accounts: bool = False) -> None:
        self._core = Core(Feed(market), now_ms, market.seed)
        self._nobody = Account("0x" + "0" * 40)
        self.open_accounts = open_accounts

    # ------------------------------------------------------------ setting up

    def fund(self, address: str, usd: Decimal) -> None:
        """Deposit money, opening the account if there is none."""
        account = self._core.accounts.setdefault(address, Account(address))
        usd = money_steps(usd)
        account.cash_usd += usd
        row = {
            "time": self._core.now_ms,
            "hash": self._core.next_hash(),
            "delta": {"type": "deposit", "usdc": money(usd)},
        }
        account.ledger.append(row)
        self._core.tell(address, "userNonFundingLedgerUpdates", [row])

    def approve_agent(self, master: str, agent: str, name: str | None, valid_until_ms: int | None) -> None:
        """Let a key act for an account."""
        actions.approve(self._account(master), agent, name, valid_until_ms, self._core.now_ms)

    def set_mode(self, address: str, mode: str) -> None:
        """Make an account standard or unified."""
        if mode not in MODES:
            raise ValueError(f"mode {mode!r}: expected standard or unified")
        self._account(address).mode = mode

    def give_position(
        self, address: str, coin: str, szi: Decimal, entry_px: Decimal, leverage: int, is_cross: bool
    ) -> None:
        """Give an account a position as if it had been opened at a price, without a fee."""
        account = self._account(address)
        account.leverage[coin] = (is_cross, leverage)
        booking.book(
            self._core, account, coin, is_buy=szi > 0, px=entry_px, size=abs(szi), is_taker=True,
            oid=self._core.next_oid(), tid=self._core.next_tid(), tx=self._core.next_hash(), is_free=True,
        )  # fmt: skip
        lifecycle.fit_to_position(self._core, account, coin)

    def _account(self, address: str) -> Account:
        return self._core.accounts.setdefault(address, Account(address))

    # ------------------------------------------------------------ who is it

    def knows(self, address: str) -> bool:
        """Return whether an address has an account."""
        return address in self._core.accounts

    def role(self, address: str) -> Json:
        """Return what an address is."""
        if address in self._core.accounts:
            return {"role": "user"}
        for account in self._core.accounts.values():
            if address in account.agents:
                return {"role": "agent", "data": {"user": account.address}}
        return {"role": "missing"}

    def master_of(self, signer: str, now_ms: int) -> str | None:
        """Return the account a signer acts for; None when the venue does not know it, or its approval has ended."""
        if signer in self._core.accounts:
            return signer
        for account in self._core.accounts.values():
            agent = account.agents.get(signer)
            if agent is not None and now_ms < agent.valid_until_ms:
                return account.address
        if self.open_accounts:
            self.fund(signer, OPEN_ACCOUNT_USD)
            return signer
        return None

    # ------------------------------------------------------------ acting, and time

    def act(self, user: str, action: Mapping[str, Any], now_ms: int, *, actions_cost: int | None = None) -> Json:
        """Perform a verified action of an account; return the answer's body.

        `actions_cost` is what the address's budget is charged; None: one for each order or cancel of the batch.

        Raises:
            wishes.Unreadable: a field is missing or wrong.
        """
        self.advance(now_ms)
        account = self._core.accounts.get(user)
        if account is None or not (account.ledger or account.fills):
            return {"status": "err", "response": f"Must deposit before performing actions. User: {user}"}
        refusal = budget.refusal(account, action, self._core.now_ms, actions_cost)
        if refusal is not None:
            return {"status": "err", "response": refusal}
        return actions.perform(self._core, account, action)

    def advance(self, now_ms: int) -> None:
        """Let time pass up to a moment; nothing happens twice."""
        clockwork.advance(self._core, now_ms)

    def drain(self) -> list[UserEvent]:
        """Return, once, what happened to whom, in order."""
        return self._core.drain()

    # ------------------------------------------------------------ faults

    def reject_next(self, text: str, count: int = 1) -> None:
        """Refuse the next orders with a text, in whatever batches they come."""
        self._core.rejections += [text] * count

    def force_liquidation(self, user: str, coin: str) -> None:
        """Liquidate a position on the book whatever its margin."""
        account = self._core.accounts.get(user)
        if account is not None:
            liquidation.force(self._core, account, coin)

    def adl(self, user: str, coin: str, share: Decimal) -> None:
        """Close a share of a position at the mark: auto-deleveraging."""
        account = self._core.accounts.get(user)
        if account is not None:
            liquidation.deleverage(self._core, account, coin, share)

    def manual_order(
        self, user: str, coin: str, *, is_buy: bool, size: Decimal, px: Decimal, now_ms: int, reduce_only: bool = False
    ) -> Json:
        """Send an order as the owner would in the web app: at the market, at the most for a price."""
        order = {
            "a": self._core.feed.asset(coin), "b": is_buy, "p": f"{px.normalize():f}", "s": f"{size.normalize():f}",
            "r": reduce_only, "t": {"limit": {"tif": "FrontendMarket"}},
        }  # fmt: skip
        return self.act(user, {"type": "order", "orders": [order], "grouping": "na"}, now_ms)

    def set_leverage_outside(self, user: str, coin: str, value: int, *, is_cross: bool) -> None:
        """Change leverage as the owner would in the web app; an open position keeps its margin mode."""
        account = self._account(user)
        position = account.positions.get(coin)
        if position is not None and position.szi:
            position.leverage, is_cross = value, position.is_cross
        account.leverage[coin] = (is_cross, value)

    # ------------------------------------------------------------ reads

    def _of(self, user: str, now_ms: int | None = None) -> Account:
        if now_ms is not None:
            self.advance(now_ms)
        return self._core.accounts.get(user, self._nobody)

    def clearinghouse_state(self, user: str, now_ms: int | None = None) -> Json:
        """Return balances and positions."""
        return state.clearinghouse(self._core, self._of(user, now_ms))

    def spot_clearinghouse_state(self, user: str) -> Json:
        """Return spot balances."""
        return state.spot(self._core, self._of(user))

    def open_orders(self, user: str) -> list[Json]:
        """Return open orders, plain."""
        return reads.open_orders(self._of(user))

    def frontend_open_orders(self, user: str) -> list[Json]:
        """Return open orders, whole."""
        return reads.frontend_orders(self._of(user))

    def order_status(self, user: str, oid_or_cloid: int | str, now_ms: int | None = None) -> Json:
        """Return what became of an order."""
        key = oid_or_cloid.lower() if isinstance(oid_or_cloid, str) else oid_or_cloid
        return reads.order_status(self._of(user, now_ms), key)

    def historical_orders(self, user: str) -> list[Json]:
        """Return past and open orders, newest first."""
        return reads.historical_orders(self._of(user))

    def user_fills(self, user: str) -> list[Json]:
        """Return the newest fills, newest first."""
        return reads.fills(self._of(user))

    def user_fills_by_time(self, user: str, start_ms: int, end_ms: int, is_reversed: bool = False) -> list[Json]:
        """Return the fills of a stretch of time, oldest first unless reversed."""
        return reads.fills_between(self._of(user), start_ms, end_ms, is_reversed=is_reversed)

    def user_funding(self, user: str, start_ms: int, end_ms: int) -> list[Json]:
        """Return the funding payments of a stretch of time."""
        return reads.between(self._of(user).fundings, start_ms, end_ms)

    def ledger_updates(self, user: str, start_ms: int, end_ms: int) -> list[Json]:
        """Return deposits and what the liquidator took."""
        return reads.between(self._of(user).ledger, start_ms, end_ms)

    def rate_limit(self, user: str) -> Json:
        """Return the budget of actions."""
        return reads.rate_limit(self._of(user))

    def fees(self, user: str, now_ms: int | None = None) -> Json:
        """Return fee rates and volumes."""
        return reads.user_fees(self._core, self._of(user, now_ms))

    def portfolio(self, user: str, now_ms: int | None = None) -> list[Any]:
        """Return the histories of value and profit."""
        return reads.portfolio(self._core, self._of(user, now_ms))

    def active_asset_data(self, user: str, coin: str, now_ms: int | None = None) -> Json:
        """Return leverage and room to trade of a coin."""
        return {**state.active_asset(self._core, self._of(user, now_ms), coin), "user": user}

    def extra_agents(self, user: str) -> list[Json]:
        """Return the named agents of an account."""
        return [
            {"name": agent.name, "address": agent.address, "validUntil": agent.valid_until_ms}
            for agent in self._of(user).agents.values()
            if agent.name is not None
        ]

    def value_usd(self, user: str) -> Decimal:
        """Return the account's value at the marks of now."""
        return margin.account_value(self._of(user), self._core.mark)
