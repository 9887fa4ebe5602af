"""How the verdicts of `perpbot doctor` are shown: as text or JSON, a line each, and no secret in either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from perp_bot.cli.output import put, put_json, say
from perp_bot.config.model import Secrets
from perp_bot.ops.redaction import Redactor
from perp_bot.trading.doctor.verdict import Level, Verdict, exit_code

_WORDS = {Level.OK: "ok", Level.WARNING: "WARNING", Level.FAILURE: "FAILURE", Level.SKIPPED: "-"}
_COUNTED = {Level.OK: "ok", Level.WARNING: "warning", Level.FAILURE: "failure", Level.SKIPPED: "not checked"}


def show(verdicts: Sequence[Verdict], secrets: Secrets, *, as_json: bool) -> int:
    """Write every verdict on stdout and return the exit code; people get the count on stderr."""
    # The account's address is public, and the verdicts are about it: it is the one that is not taken out.
    hidden = (secrets.hl_private_key, secrets.discord_webhook_url, secrets.telegram_bot_token)
    clean = Redactor(value for value in hidden if value).text
    width = max(len(verdict.name) for verdict in verdicts)
    for verdict in verdicts:
        text, fix = clean(verdict.text), clean(verdict.fix)
        if as_json:
            put_json({"name": verdict.name, "level": verdict.level, "text": text, "fix": fix})
        else:
            put(f"{_WORDS[verdict.level]:<8} {verdict.name:<{width}}  {text}" + (f"; fix: {fix}" if fix else ""))
    if not as_json:
        counts = Counter(verdict.level for verdict in verdicts)
        say(", ".join(f"{counts[level]} {word}" for level, word in _COUNTED.items() if counts[level]))
    return exit_code(verdicts)
