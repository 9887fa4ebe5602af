"""The one error tree.

PerpBotError
|- UsageError                 2   the command or its arguments are wrong
|  `- ConfigError             2   a setting is unknown, mistyped or impossible
|- DaemonAway                 3   no daemon answers on the socket
|- DaemonBusy                 1   another daemon holds the instance lock
|- VenueError                 3   the venue did not answer as it should
|  |- VenueAway               3   nothing answers at the address (may be retried)
|  |- VenueTimeout            3   no answer in time; the outcome is unknown (reads may be retried)
|  |- RateLimited             3   429, or our own budget would be exceeded (may be retried)
|  |- VenueRefused            1   the venue understood and said no
|  `- BadAnswer               3   the answer is not what the protocol promises (may be retried)
|- ClusterAway                3   the Dask cluster of a sweep does not answer
|- StoreError                 1   the database failed
|  |- StoreBusy               1   another process holds it (may be retried)
|  |- StoreFull               1   disk full or read-only: entries stop
|  `- SchemaNewer             1   written by a newer perpbot
|- HaltedByRisk               4   a latch or a halt forbids it
|- OrderRuleError             1   price or size breaks the venue's rules
`- IpcError                   1   a control request was refused or malformed

Each class says whether the caller may try again (`retryable`), whether trading has to halt (`halts`), and the
exit code of a command that ends with it. Messages say what was expected, what was found, where, and what to do.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_AWAY = 3
EXIT_HALTED = 4
EXIT_WARNINGS = 5
EXIT_INTERRUPTED = 130


class PerpBotError(Exception):
    """Say in one line what is wrong, where and what to do."""

    exit_code = EXIT_FAILURE
    retryable = False
    halts = False


class UsageError(PerpBotError):
    """The command or its arguments are wrong."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """A setting is unknown, mistyped or impossible; names file, key, value and what is allowed."""


class DaemonAway(PerpBotError):
    """No daemon answers on the socket."""

    exit_code = EXIT_AWAY


class DaemonBusy(PerpBotError):
    """Another daemon already holds the instance lock."""


class VenueError(PerpBotError):
    """The venue did not answer as it should."""

    exit_code = EXIT_AWAY


class VenueAway(VenueError):
    """Nothing answers at the venue's address."""

    retryable = True


class VenueTimeout(VenueError):
    """No answer in time; for an action the outcome is unknown."""

    retryable = True


class RateLimited(VenueError):
    """The venue answered 429, or our own budget would be exceeded."""

    retryable = True


class VenueRefused(VenueError):
    """The venue understood the request and said no."""

    exit_code = EXIT_FAILURE


class BadAnswer(VenueError):
    """The answer is not what the protocol promises (HTML, null, NaN, a missing key)."""

    retryable = True


class ClusterAway(PerpBotError):
    """The Dask cluster of a sweep does not answer."""

    exit_code = EXIT_AWAY


class StoreError(PerpBotError):
    """The database failed."""

    halts = True


class StoreBusy(StoreError):
    """Another process holds the database."""

    retryable = True


class StoreFull(StoreError):
    """The disk is full or read-only."""


class SchemaNewer(StoreError):
    """The database was written by a newer perpbot."""


class HaltedByRisk(PerpBotError):
    """A latch or a halt forbids it."""

    exit_code = EXIT_HALTED


class OrderRuleError(PerpBotError):
    """A price or size breaks the venue's rules, or rounds to zero."""


class IpcError(PerpBotError):
    """A control request was refused or malformed; `code` is the stable name of the reason."""

    def __init__(self, message: str, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code
