"""bench."""

from __future__ import annotations

from pathlib import Path

import click

from perp_bot.cli import options


class _BenchCommand(click.Command):
    """Lists the subjects in the help, and reads them only there."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subjects, then the examples."""
        from perp_bot.cli.bench_subjects import bench_subjects

        with formatter.section("Subjects"):
            formatter.write_dl(
                [
                    (item.name, f"{item.help} (only when named)" if item.only_when_named else item.help)
                    for item in bench_subjects()
                ]
            )
        super().format_epilog(ctx, formatter)


@click.command(
    cls=_BenchCommand,
    epilog="""\b
Examples:
  perpbot bench
  perpbot bench ingest ipc --json
  perpbot bench --baseline
  perpbot bench backtest sweep --markdown docs/performance.md
""",
)
@click.argument("subjects", nargs=-1, metavar="[SUBJECT]...")
@click.option("--baseline", is_flag=True, help="Store the figures, or compare them with the stored ones.")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the tables into this page, between the markers of each subject.",
)
@options.as_json
def bench(subjects: tuple[str, ...], baseline: bool, markdown: Path | None, as_json: bool) -> int:
    """Measure speed on this machine: n, median and p95 of every subject."""
    from perp_bot.bench.runner import main

    return main(subjects, as_json, baseline, markdown=markdown)
