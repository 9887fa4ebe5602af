"""What `perpbot review` prints."""

from __future__ import annotations

import sys
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from perp_bot.cli.output import put_json, say
from perp_bot.config.model import Config
from perp_bot.core.errors import EXIT_OK
from perp_bot.data.db.review_reader import ReviewReader
from perp_bot.reporting.labelled import labelled
from perp_bot.reporting.review import review
from perp_bot.reporting.review_text import headline, lines


def show(config: Config, weeks: int, source: str | None, *, as_json: bool) -> int:
    """Print the review.

    Raises:
        StoreError: there is no database, or it cannot be read.
    """
    with ReviewReader(config.data.db_path) as reader:
        found = review(reader, weeks, source)
    if found is None:
        say(f"nothing was traded or decided{f' in mode {source}' if source else ''} in {config.data.db_path}")
        if as_json:
            put_json({"begin_ms": None, "end_ms": None, "modes": [], "events": {}})
        return EXIT_OK
    if as_json:
        put_json(asdict(found))
        return EXIT_OK
    console = Console(file=sys.stdout)
    console.print(Text(headline(found), style="bold"))
    console.print(labelled(list(lines(found))))
    return EXIT_OK
