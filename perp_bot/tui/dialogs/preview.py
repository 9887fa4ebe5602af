"""The daemon's preview as rows: what would be closed and cancelled, by its own reckoning."""

from __future__ import annotations

from perp_bot.core.money import usd
from perp_bot.ipc.protocol import Preview
from perp_bot.tui.controls import Prepared, Trouble
from perp_bot.tui.dialogs.base import figure
from perp_bot.tui.spans import Row, message, row, wrap

MAX_ROWS = 8


def rows(found: Prepared | Trouble | None, width: int) -> list[Row]:
    """Return the preview, the reason for having none, or that it is awaited."""
    if found is None:
        return [message("asking the daemon for its preview…", "warn", "preview")]
    if isinstance(found, Trouble):
        return [
            message(line, "warn", f"trouble:{i}") for i, line in enumerate(wrap(f"no preview: {found.text}", width - 2))
        ]
    preview = found.preview
    built = [message(line, "strong", f"text:{i}") for i, line in enumerate(wrap(preview.text, width - 2))]
    built += _positions(preview)
    built += _orders(preview)
    return built


def _positions(preview: Preview) -> list[Row]:
    built = [
        row(
            f"position:{position.get('symbol')}",
            (f"   {position.get('symbol', '?')!s:<6}", "strong"),
            (f"{position.get('side', '?')!s:<6}{position.get('size', '?')!s:>12}", "text"),
            (f"  {usd(figure(position, 'notional_usd'))} USD", "text"),
            (f"  fee ~{usd(figure(position, 'est_fee_usd'))}", "muted"),
            (f"  slip ~{usd(figure(position, 'est_slippage_usd'))}", "muted"),
        )
        for position in preview.positions[:MAX_ROWS]
    ]
    if len(preview.positions) > MAX_ROWS:
        built.append(message(f"  and {len(preview.positions) - MAX_ROWS} positions more", "warn", "more-positions"))
    return built


def _orders(preview: Preview) -> list[Row]:
    if not preview.orders:
        return []
    named = ", ".join(f"{item.get('symbol', '?')} {item.get('role', '?')}" for item in preview.orders[:MAX_ROWS])
    more = f" and {len(preview.orders) - MAX_ROWS} more" if len(preview.orders) > MAX_ROWS else ""
    return [message(f"  orders concerned: {named}{more}", "muted", "orders")]
