"""`kept sweep` carries out retention; `kept mend` what only a person may decide."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from kept.cli.company import at_work, directory, file, formats, opened
from kept.controls.collection import mend as mending
from kept.controls.retention.enforce import due, sweep
from kept.errors import TransientError

DONE = {
    "delete": "deleted, or emptied where other rows hang on them",
    "anonymise": "made anonymous",
    "destroy": "deleted, and made unreadable",
}


@click.command(name="sweep")
@file
@directory
@click.option("--dry-run", is_flag=True, help="Count what is past its limit, exactly; change nothing.")
@formats("text", "json")
def run_sweep(file: Path | None, folder: Path | None, dry_run: bool, form: str) -> None:
    """Remove what is past its limit, in short transactions; stopped at any point, the next run goes on."""
    if dry_run:
        with opened(folder, file) as company:
            lines, gaps = due(company)
            silent = company.silent()
    else:
        with at_work(folder, file) as (company, workflows):
            company.agree()
            lines, gaps = sweep(company, workflows, _progress if form == "text" else None)
            silent = company.silent()
    if form == "json":
        told = [
            {"promise": line.promise, "place": line.place, "then": line.then, "rows": line.rows}
            for line in lines
        ]
        click.echo(
            json.dumps(
                {
                    "dry_run": dry_run,
                    "swept": told,
                    "not_measured": [{"place": g.place, "why": g.reason} for g in gaps],
                }
            )
        )
        _not_silent(silent)
        return
    for line in lines:
        said = "past their limit" if dry_run else DONE[line.then]
        click.echo(f"{line.promise}: {line.place}: {line.rows} {'row' if line.rows == 1 else 'rows'} {said}")
    if not any(line.rows for line in lines):
        click.echo("Nothing is past its limit in the stores that can be asked.")
    for gap in gaps:
        click.echo(f"not swept: {gap.place}: {gap.reason}", err=True)
    _not_silent(silent)


def _not_silent(silent: list[str]) -> None:
    """A store that didn't answer ends the command with an error, whatever was done in the others."""
    if silent:
        raise TransientError(
            f"not everything was looked at: {'; '.join(silent)}", help="mend it, run this again"
        )


def _progress(place: str, rows: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{place}: {rows} rows", err=True, nl=False)


@click.group()
def mend() -> None:
    """Mend what was collected without a promise; each act is asked for by name and goes on the ledger."""


@mend.command()
@click.argument("column")
@directory
def clear(column: str, folder: Path | None) -> None:
    """Empty an undeclared COLUMN (store.table.column) in every row."""
    with opened(folder) as company:
        rows = mending.clear(company, column)
    click.echo(f"{column}: {rows} rows cleared.")


@mend.command()
@click.argument("table")
@click.argument("source")
@directory
def source(table: str, source: str, folder: Path | None) -> None:
    """Say of the rows of TABLE (store.table) without a source that they came from SOURCE."""
    with opened(folder) as company:
        rows = mending.name_source(company, table, source)
    click.echo(f"{table}: {rows} rows now say that they came from {source}.")


COMMANDS = (run_sweep, mend)
