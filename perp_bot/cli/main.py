"""The command line's front door: the group, its options, and how every error becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click

from perp_bot.cli.catalog import Catalog
from perp_bot.cli.failures import report_unexpected
from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, PerpBotError
from perp_bot.version import VERSION

_EPILOG = """\b
Examples:
  perpbot demo                          see it work: practice venue, daemon and dashboard
  perpbot practice serve                the venue alone; then, in other terminals:
  perpbot trade --paper                 the daemon
  perpbot tui                           the dashboard
  perpbot kill                          stop everything that adds exposure, now
\b
Exit codes: 0 ok, 1 failure, 2 usage or config, 3 daemon or venue away, 4 halted by risk, 5 warnings, 130 interrupted.
Tab completion: perpbot completion bash|zsh|fish
"""


@click.group(cls=Catalog, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Settings file; .env is read beside it. Default: ./config.yaml if there, else built-in defaults.",
)
@click.version_option(VERSION, prog_name="perpbot", message="%(prog)s %(version)s")
@click.pass_context
def perpbot(context: click.Context, config_path: Path | None) -> None:
    """Trade Hyperliquid perpetual futures from one terminal, on paper or against a practice venue."""
    context.obj.config_path = config_path


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are one line on stderr each."""
    invocation = Invocation()
    try:
        code = perpbot.main(arguments, prog_name="perpbot", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
        return code if isinstance(code, int) else EXIT_OK
    except PerpBotError as error:
        say_error(str(error))
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        say_error(error.format_message())
        return EXIT_FAILURE
    except (click.Abort, KeyboardInterrupt):
        say_error("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has left: nothing to say, and no second error at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except OSError as error:
        from perp_bot.cli.places import place_fault

        fault = place_fault(error, invocation.config)
        say_error(fault if fault is not None else report_unexpected(error, invocation))
        return EXIT_USAGE if fault is not None else EXIT_FAILURE
    except Exception as error:  # noqa: BLE001 - the outermost edge: one line for people, the rest for the log
        say_error(report_unexpected(error, invocation))
        return EXIT_FAILURE


def say_error(text: str) -> None:
    """Write one `perpbot: …` line per line of `text` on stderr."""
    with contextlib.suppress(OSError):
        for line in text.splitlines() or [""]:
            print(f"perpbot: {line}", file=sys.stderr)


def _usage(error: click.UsageError) -> int:
    command = error.ctx.command_path if error.ctx is not None else "perpbot"
    say_error(f"{' '.join(error.format_message().split())} (see: {command} --help)")
    return EXIT_USAGE
