"""What an operator asks of the daemon, done by the loop: pause, resume, kill, close, flatten, cancel, unkill."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from perp_bot.core.errors import IpcError, StoreError
from perp_bot.core.types import Order, OrderIntent, OrderRole, Position
from perp_bot.data.db.rows import StateRow
from perp_bot.decision.delay import pending_to_json
from perp_bot.execution import fills
from perp_bot.execution.closing import exit_intent
from perp_bot.ipc.control import ControlArgs, ControlRequest
from perp_bot.ipc.protocol import TOKEN_TTL_S, ControlResult, Preview
from perp_bot.ipc.tokens import Prepared, TokenStore
from perp_bot.risk import kill_switch
from perp_bot.risk.manager import Pause
from perp_bot.trading.answers import Later
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.desk import Desk
from perp_bot.trading.journal import Journal
from perp_bot.trading.killing import KillFollower
from perp_bot.trading.notes import Notes

SendExit = Callable[[OrderIntent, int], None]

PREVIEW_FRESH_S = 15.0  # the venue sends a book every 5.4 s


class Controls:
    """Handles control requests on the loop's thread; every one is noted with who asked."""

    def __init__(
        self, desk: Desk, journal: Journal, notes: Notes, books: Bookkeeper, tokens: TokenStore, venue: str
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._notes = notes
        self._books = books
        self._tokens = tokens
        self._venue = venue
        self.latch = KillFollower(desk, journal, notes, self.cancel_entries)
        self.send_exit: SendExit | None = None  # the loop sets it

    @property
    def unkill_phrase(self) -> str:
        """What must be typed to come back from a kill."""
        return f"resume {self._venue}"

    def handle(self, request: ControlRequest, now_ms: int) -> ControlResult | Later:
        """Do what is asked; IpcError when it is refused. What must be on disk or flat first is answered later."""
        args, who = request.args, request.peer.text
        if request.cmd == "pause":
            return self._pause(args, who, now_ms)
        if request.cmd == "resume":
            return self._resume(args, who, now_ms)
        if request.cmd == "kill":
            return self._kill(args, who, now_ms)
        if request.cmd == "prepare":
            return self._prepare(args)
        if request.cmd == "commit":
            return self._commit(args, who, now_ms)
        raise IpcError(f"the loop does not know {request.cmd!r}", code="unknown_command")

    # ------------------------------------------------------------ pause and resume

    def _pause(self, args: ControlArgs, who: str, now_ms: int) -> ControlResult | Later:
        pause = Pause(*self._scope(args), args.reason or "")
        if any((item.scope, item.name) == (pause.scope, pause.name) for item in self._desk.pauses):
            return ControlResult("already", f"{_words(args.scope)} is paused already")
        self._set_pauses((*self._desk.pauses, pause), now_ms)
        cancelled = self.cancel_entries(now_ms, "paused", pause)
        why = f": {args.reason}" if args.reason else ""
        text = f"{_words(args.scope)} paused by {who}{why}; {cancelled} entry orders cancelled"
        self._notes.say("PAUSED", text, now_ms, args.symbol)
        return self._once_stored(
            ControlResult("done", f"{_words(args.scope)} paused: no new entries; stops and exits go on")
        )

    def _resume(self, args: ControlArgs, who: str, now_ms: int) -> ControlResult | Later:
        desk = self._desk
        scope, name = self._scope(args)
        kept = tuple(item for item in desk.pauses if scope != "all" and (item.scope, item.name) != (scope, name))
        was_paused = len(kept) < len(desk.pauses)
        risk_paused = scope == "all" and (desk.risk.session_paused or desk.risk.drawdown_paused)
        if risk_paused:
            equity = desk.equity_usd()
            if equity is None:
                raise IpcError("equity is not known (a mark is missing): cannot resume from a drawdown pause yet")
            self._books.take(desk.risk.on_operator_resume(now_ms, equity), now_ms)
            self._journal.put(self._books.risk_row(now_ms))
        if not was_paused and not risk_paused:
            text = f"{_words(args.scope)} is not paused"
            killed = "; a kill is latched: use perpbot unkill" if desk.killed else ""
            return ControlResult("already", text + self._still_paused() + killed)
        self._set_pauses(kept, now_ms)
        self._notes.say("RESUMED", f"{_words(args.scope)} resumed by {who}", now_ms, args.symbol)
        left = f"; still killed ({desk.killed})" if desk.killed else ""
        return self._once_stored(ControlResult("done", f"{_words(args.scope)} resumed{self._still_paused()}{left}"))

    def _once_stored(self, result: ControlResult) -> Later:
        """Answer `result` once it is on disk: what an operator was told must survive a crash."""

        def look(is_last: bool) -> ControlResult | None:
            if self._journal.is_on_disk():
                return result
            trouble = self._journal.trouble_now
            return _not_stored(result, trouble) if trouble is not None or is_last else None

        return Later(look)

    def _still_paused(self) -> str:
        """Say which pauses are left: a coin that is resumed alone stays under a pause of everything."""
        pauses = "; ".join(pause.text for pause in self._desk.pauses)
        return f"; still in force: {pauses}" if pauses else ""

    def _scope(self, args: ControlArgs) -> tuple[str, str | None]:
        if args.symbol is not None:
            if args.symbol not in self._desk.symbols:
                raise IpcError(f"{args.symbol} is not traded here; traded: {', '.join(self._desk.symbols)}", "bad_args")
            return "symbol", args.symbol
        if args.strategy is not None:
            self._check_strategy(args.strategy)
            return "strategy", args.strategy
        return "all", None

    def _check_strategy(self, name: str) -> None:
        if name != self._desk.strategy.name:
            raise IpcError(f"no strategy {name!r} runs here; running: {self._desk.strategy.name}", "bad_args")

    def _set_pauses(self, pauses: tuple[Pause, ...], now_ms: int) -> None:
        self._desk.pauses = pauses
        stored = [{"scope": item.scope, "name": item.name, "reason": item.reason} for item in pauses]
        self._journal.put(StateRow("pauses", stored, now_ms))

    # ------------------------------------------------------------ kill

    def cancel_entries(self, now_ms: int, why: str, pause: Pause | None = None) -> int:
        """Cancel entry orders (those a pause covers, or all) and forget entries that wait; return how many."""
        desk = self._desk

        def covered(symbol: str, strategy: str) -> bool:
            return pause is None or pause.covers(symbol, strategy)

        working = [o for o in desk.entries_working() if covered(o.intent.symbol, o.intent.strategy)]
        for order in working:
            desk.executor.cancel(order.intent.cloid, now_ms, why)
        waiting = tuple(item for item in desk.pending if not covered(item.symbol, item.strategy))
        if waiting != desk.pending:
            desk.pending = waiting
            self._journal.put(StateRow(desk.state_key("pending"), pending_to_json(waiting), now_ms))
        self._books.settle(now_ms)
        return len(working)

    def cancel_forbidden(self, now_ms: int) -> None:
        """After a start: cancel entries that a kill or a pause of the downtime, or one cut short by a crash, covers."""
        self.latch.remember(now_ms)
        for order in self._desk.entries_working():
            if order.intent.symbol not in self._desk.symbols:
                self._desk.executor.cancel(order.intent.cloid, now_ms, "not in trading.symbols any more")
        self._books.settle(now_ms)
        if self._desk.killed is not None:
            self.cancel_entries(now_ms, "killed")
        for pause in self._desk.pauses:
            self.cancel_entries(now_ms, "paused", pause)

    def _kill(self, args: ControlArgs, who: str, now_ms: int) -> ControlResult:
        """Mostly the latch is on disk already (the socket thread put it there) and the pass has followed it.

        Where its file could not be created, or an unkill in this very pass removed it, this is the kill.
        """
        self.latch.make_sure(who, args.reason or "", now_ms)
        if not args.flatten:
            return ControlResult(
                "killed",
                f"killed: entries are blocked; stops stay. Come back with perpbot unkill, phrase: {self.unkill_phrase}",
            )
        return ControlResult("killed", "killed; confirm to flatten", self._preview("flatten", args))

    # ------------------------------------------------------------ prepare and commit

    def _prepare(self, args: ControlArgs) -> ControlResult:
        assert args.action is not None
        if args.action == "unkill":
            return self._prepare_unkill(args)
        preview = self._preview(args.action, args)
        if not preview.positions and not preview.orders:
            return ControlResult("already", _nothing_to(args.action, args.scope))
        return ControlResult("done", preview.text, preview)

    def _prepare_unkill(self, args: ControlArgs) -> ControlResult:
        if self._desk.killed is None:
            return ControlResult("already", "nothing is killed")
        if args.phrase != self.unkill_phrase:
            raise IpcError(f"coming back from a kill needs the phrase {self.unkill_phrase!r}", code="refused")
        text = f"{self._desk.killed}. Entries will be allowed again on {self._venue}."
        token = self._issue("unkill", "all", self._desk.killed)
        preview = Preview("unkill", "all", token, TOKEN_TTL_S, (), (), text, self.unkill_phrase)
        return ControlResult("done", text, preview)

    def _preview(self, action: str, args: ControlArgs) -> Preview:
        self._scope(args)
        positions = () if action == "cancel_orders" else self._positions(args)
        orders = self._orders(args)
        rows = tuple(self._position_row(position) for position in positions)
        order_rows = tuple(
            {
                "cloid": order.intent.cloid,
                "symbol": order.intent.symbol,
                "side": str(order.intent.side),
                "size": float(order.remaining),
                "role": str(order.intent.role),
            }
            for order in orders
        )
        closing = ", ".join(f"{p.side} {p.size} {p.symbol}" for p in positions) or "no position"
        text = f"{action.replace('_', ' ')} {_words(args.scope)}: closes {closing}; cancels {len(orders)} entry orders"
        if action == "cancel_orders":
            text = f"cancels {len(orders)} entry orders of {_words(args.scope)}; protective stops stay"
        text += "".join(self._old_price(position.symbol) for position in positions)
        token = self._issue(action, args.scope, _fingerprint(positions, orders))
        return Preview(action, args.scope, token, TOKEN_TTL_S, rows, order_rows, text)

    def _issue(self, action: str, scope: str, fingerprint: str) -> str:
        return self._desk.outside.ask("token", str, lambda: self._tokens.issue(action, scope, fingerprint))

    def _spend(self, token: str) -> Prepared:
        """Return what a token stands for, or raise IpcError."""

        def spend() -> list[str]:
            try:
                prepared = self._tokens.spend(token)
            except IpcError as error:
                return [error.code, str(error)]
            return [prepared.action, prepared.scope, prepared.fingerprint]

        found = self._desk.outside.ask("token spent", list[str], spend)
        if len(found) == 2:
            raise IpcError(found[1], code=found[0])
        return Prepared(*found)

    def _old_price(self, symbol: str) -> str:
        """Return a warning when what the preview is priced from is old; an estimate must look its age."""
        ages = (self._desk.market.mark_age_s(symbol), self._desk.market.book_age_s(symbol))
        known = [age for age in ages if age is not None]
        if len(known) == len(ages) and max(known) <= PREVIEW_FRESH_S:
            return ""
        how_old = f"{max(known):.0f} s old" if known else "missing"
        return f" [STALE: {symbol} is priced from a mark and book up to {how_old}]"

    def _positions(self, args: ControlArgs) -> tuple[Position, ...]:
        return _within(args, self._desk.account.positions)

    def _orders(self, args: ControlArgs) -> tuple[Order, ...]:
        return tuple(
            order
            for order in self._desk.entries_working()
            if args.symbol in (None, order.intent.symbol) and args.strategy in (None, order.intent.strategy)
        )

    def _position_row(self, position: Position) -> dict[str, Any]:
        book = self._desk.market.book(position.symbol)
        context = self._desk.market.context(position.symbol)
        row: dict[str, Any] = {
            "symbol": position.symbol,
            "side": str(position.side),
            "size": float(position.size),
            "notional_usd": None,
            "est_fee_usd": None,
            "est_slippage_usd": None,
            "mark_age_s": self._desk.market.mark_age_s(position.symbol),
            "book_age_s": self._desk.market.book_age_s(position.symbol),
        }
        if context is None:
            return row
        mark = Decimal(repr(context.mark_px))
        row["notional_usd"] = float(position.size * mark)
        row["est_fee_usd"] = float(position.size * mark * Decimal(repr(self._desk.config.backtest.taker_fee_rate)))
        if book is not None:
            levels = book.bids if position.side.sign > 0 else book.asks
            average = fills.average_px(fills.walk(levels, position.side.closing, position.size, None))
            if average is not None:
                row["est_slippage_usd"] = float((mark - average) * position.signed_size)
        return row

    def _commit(self, args: ControlArgs, who: str, now_ms: int) -> ControlResult | Later:
        assert args.token is not None
        prepared = self._spend(args.token)
        if prepared.action == "unkill":
            return self._unkill(prepared.fingerprint, who, now_ms)
        scope = _args_of(prepared.scope)
        positions = () if prepared.action == "cancel_orders" else self._positions(scope)
        orders = self._orders(scope)
        if _fingerprint(positions, orders) != prepared.fingerprint:
            raise IpcError("positions or orders have changed since the preview; prepare again", code="changed")
        for order in orders:
            self._desk.executor.cancel(order.intent.cloid, now_ms, f"{prepared.action} by operator")
        self._books.settle(now_ms)
        for position in positions:
            self._close(position, prepared.action, now_ms)
        self._notes.say("OPERATOR", f"{prepared.action} {_words(prepared.scope)} by {who}", now_ms, scope.symbol)
        if prepared.action == "cancel_orders":
            done = ControlResult("done", f"{len(orders)} entry orders cancelled; protective stops stay")
            return self._once_stored(done)
        return Later(_Flattening(self._desk, self._journal, scope, len(orders)).look)

    def _close(self, position: Position, action: str, now_ms: int) -> None:
        assert self.send_exit is not None
        if self._desk.is_exiting(position.symbol):
            return
        reason = f"operator_{action}"
        decision_id = f"{position.strategy}:{position.symbol}:{reason}:{now_ms}"
        self.send_exit(exit_intent(position, reason, now_ms, decision_id), now_ms)

    def _unkill(self, killed_text: str, who: str, now_ms: int) -> Later:
        if self._desk.killed != killed_text:
            raise IpcError("the kill latch has changed since the preview; prepare again", code="changed")
        failure = self._desk.outside.ask("latch not cleared", str | None, self._clear_latch)
        if failure is not None:
            raise IpcError(failure)
        self._desk.killed = None
        self._journal.put(StateRow("kill", None, now_ms))
        self._notes.say("UNKILLED", f"kill lifted by {who}", now_ms)
        return self._once_stored(
            ControlResult("done", "the kill is lifted; entries are allowed again" + self._what_else())
        )

    def _clear_latch(self) -> str | None:
        """Remove the latch file; return why that failed."""
        try:
            kill_switch.clear(self._desk.kill_latch)
        except StoreError as error:
            return str(error)
        return None

    def _what_else(self) -> str:
        pauses = "; ".join(pause.text for pause in self._desk.pauses)
        return f", but {pauses}" if pauses else ""


class _Flattening:
    """Closing orders of a scope under way, until it was seen flat twice: by the books and by the venue's own word."""

    def __init__(self, desk: Desk, journal: Journal, scope: ControlArgs, cancelled: int) -> None:
        self._desk = desk
        self._journal = journal
        self._scope = scope
        self._cancelled = cancelled
        self._flat_looks = 0
        self._reads_before: int | None = None

    def look(self, is_last: bool) -> ControlResult | None:
        """Return the outcome: flat, or at the last look what is still open."""
        left = [*_within(self._scope, self._desk.account.positions)]
        if left or _within(self._scope, self._desk.executor.positions):
            self._flat_looks = 0
            return self._open(left) if is_last or not self._is_working(left) else None
        if not self._is_flat_twice():
            return None if not is_last else self._unconfirmed()
        flat = ControlResult("flat", self._flat_text)
        if self._journal.is_on_disk():
            return flat
        trouble = self._journal.trouble_now
        return _not_stored(flat, trouble) if trouble is not None or is_last else None

    def _is_flat_twice(self) -> bool:
        """Whether it was seen flat twice: live, in two reads of the venue's account made after the books were flat."""
        live = self._desk.live
        if live is None:
            self._flat_looks += 1
            return self._flat_looks >= 2
        if self._reads_before is None:
            self._reads_before = live.account_reads
        if live.account_reads > self._reads_before and live.account is not None:
            self._reads_before = live.account_reads
            held = any(self._covers(position.symbol) for position in live.account.positions)
            self._flat_looks = 0 if held else self._flat_looks + 1
        if self._flat_looks < 2:
            live.confirm_flat()
        return self._flat_looks >= 2

    def _covers(self, symbol: str) -> bool:
        """Whether a position of the account is in scope: a strategy's positions are known by the books alone."""
        return self._scope.strategy is None and self._scope.symbol in (None, symbol)

    def _unconfirmed(self) -> ControlResult:
        if self._desk.live is None:
            return ControlResult("flat", self._flat_text)
        return ControlResult("unknown", "the books say flat, the venue's account was not seen flat twice in time")

    @property
    def _flat_text(self) -> str:
        return f"{_words(self._scope.scope)} is flat; {self._cancelled} entry orders cancelled"

    def _is_working(self, left: list[Position]) -> bool:
        return all(self._desk.is_exiting(position.symbol) for position in left)

    def _open(self, left: list[Position]) -> ControlResult:
        text = ", ".join(f"{p.side} {p.size} {p.symbol}" for p in left)
        if not left:
            return ControlResult("unknown", "the books say flat, the account does not: see the log")
        if self._is_working(left):
            return ControlResult("partly_flat", f"closing orders are working, still open: {text}")
        return ControlResult("partly_flat", f"still open, and a closing order was refused (see the log): {text}")


def _within(scope: ControlArgs, positions: tuple[Position, ...]) -> tuple[Position, ...]:
    return tuple(p for p in positions if scope.symbol in (None, p.symbol) and scope.strategy in (None, p.strategy))


def _not_stored(result: ControlResult, trouble: str | None) -> ControlResult:
    """Return the result with the truth about the disk."""
    why = trouble or "the disk is slow"
    return msgspec.structs.replace(result, text=f"{result.text}; NOT stored yet, a crash now would forget it: {why}")


def _words(scope: str) -> str:
    """Return a scope in words: `everything`, `BTC`, `strategy mean_reversion`."""
    kind, _, name = scope.partition(":")
    return "everything" if kind == "all" else name if kind == "symbol" else f"strategy {name}"


def _nothing_to(action: str, scope: str) -> str:
    """Say that a scope has nothing that `action` would change."""
    of = "" if scope == "all" else f" for {_words(scope)}"
    if action == "cancel_orders":
        return f"nothing to cancel: no entry order is working{of}; protective stops stay"
    return f"nothing to {action}: no open position and no entry order{of}"


def _args_of(scope: str) -> ControlArgs:
    kind, _, name = scope.partition(":")
    if kind == "symbol":
        return ControlArgs(symbol=name)
    return ControlArgs(strategy=name) if kind == "strategy" else ControlArgs()


def _fingerprint(positions: tuple[Position, ...], orders: tuple[Order, ...]) -> str:
    """Return a digest of what a preview showed: sides and sizes of positions, cloids of entry orders."""
    parts = [f"{p.symbol}:{p.side}:{p.size}" for p in positions]
    parts += [order.intent.cloid for order in orders if order.intent.role is OrderRole.ENTRY]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
