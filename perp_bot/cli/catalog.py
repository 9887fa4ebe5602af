"""The catalog of commands: what exists, in which group of the help, and where its code is, imported only when used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click

_COMMANDS = "perp_bot.cli.commands"


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: the sentence shown in the overview, and `module:attribute` of its code."""

    group: str
    name: str
    help: str
    where: str


ENTRIES: tuple[Entry, ...] = (
    Entry("Trading", "trade", "Run the trading daemon.", "trade:trade"),
    Entry("Trading", "status", "Show what the daemon is doing.", "status:status"),
    Entry("Trading", "tui", "Open the dashboard.", "tui:tui"),
    Entry("Trading", "doctor", "Check settings, account and machine; each with its fix.", "doctor:doctor"),
    Entry("Control", "pause", "Stop new entries; stops and exits go on.", "controls:pause"),
    Entry("Control", "resume", "Allow entries again after a pause.", "controls:resume"),
    Entry("Control", "kill", "Latch the kill: no new exposure until unkill.", "kill:kill"),
    Entry("Control", "unkill", "Come back from a kill (asks for a phrase).", "kill:unkill"),
    Entry("Control", "close", "Close the position in one symbol.", "controls:close"),
    Entry("Control", "cancel-orders", "Cancel resting orders; protective orders stay.", "controls:cancel_orders"),
    Entry("Control", "reconcile", "Compare the live books with the venue; --apply acts.", "reconcile:reconcile"),
    Entry("Control", "watchdog", "Protect the account when the daemon is gone.", "watchdog:watchdog"),
    Entry("Data", "backfill", "Fetch the history that the store is missing.", "backfill:backfill"),
    Entry("Data", "data", "Show, check and import stored market data.", "data:data"),
    Entry("Research", "backtest", "Simulate a strategy on the stored candles.", "backtest:backtest"),
    Entry(
        "Research",
        "walkforward",
        "Choose parameters on the past, judge them on what follows.",
        "walkforward:walkforward",
    ),
    Entry("Research", "sensitivity", "Vary parameters and see what stays.", "sensitivity:sensitivity"),
    Entry("Research", "screen", "Rank the stored markets for mean reversion.", "screen:screen"),
    Entry("Research", "lookahead", "Disprove look-ahead, or name the bar.", "lookahead:lookahead"),
    Entry("Research", "compare", "Decide a recorded session again and compare.", "compare:compare"),
    Entry("Research", "replay", "Run a recorded session again, event by event.", "replay:replay"),
    Entry("Research", "review", "Say what was traded, and whether it was luck.", "review:review"),
    Entry("Research", "runs", "List, show and compare stored results.", "runs:runs"),
    Entry("Research", "bench", "Measure this machine.", "bench:bench"),
    Entry("Practice", "demo", "Practice venue, paper daemon and dashboard in one.", "demo:demo"),
    Entry("Practice", "practice", "The practice venue alone.", "practice:practice"),
    Entry("Project", "config", "Validate and show the settings.", "config:config"),
    Entry("Project", "completion", "Print the completion script of a shell.", "completion:completion"),
)
_BY_NAME = {entry.name: entry for entry in ENTRIES}


class Catalog(click.Group):
    """A group whose commands are imported when they are run, never for the overview."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the help's order."""
        return [entry.name for entry in ENTRIES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None."""
        entry = _BY_NAME.get(cmd_name)
        if entry is None:
            return None
        module, attribute = entry.where.split(":")
        command = getattr(importlib.import_module(f"{_COMMANDS}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and args[0] not in _BY_NAME and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], list(_BY_NAME), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their groups, from the table alone."""
        for group in dict.fromkeys(entry.group for entry in ENTRIES):
            with formatter.section(group):
                formatter.write_dl([(entry.name, entry.help) for entry in ENTRIES if entry.group == group], col_max=14)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        """Complete command names from the table, importing none of them."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(e.name, help=e.help) for e in ENTRIES if e.name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)
