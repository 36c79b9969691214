"""`kept prove`: the board, on a terminal, as JSON, or as JUnit for a build server."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import click
from rich.console import Console
from rich.table import Table

from kept.cli.company import directory, file, formats, opened
from kept.controls.collection.browser import scan
from kept.errors import KeptError
from kept.evidence.board import Board
from kept.evidence.board import prove as measure

STYLES = {"kept": "green", "broken": "bold red", "attested": "yellow", "unproven": "dim"}


@click.command()
@file
@directory
@click.option("--scan", "look", is_flag=True, help="Look at the company's sites in a real browser first.")
@formats("table", "json", "junit")
def prove(file: Path | None, folder: Path | None, look: bool, form: str) -> None:
    """Show the board: every promise, measured now. Exits with 1 if any is broken."""
    with opened(folder, file) as company:
        for store in scan.browser_stores(company.policy) if look else ():
            try:
                scan.scan(company, store)
            except (
                KeptError
            ) as wrong:  # what wasn't looked at is unproven, or as it was seen less than a day ago
                click.echo(f"{store} could not be looked at: {wrong}", err=True)
        board = measure(company)
    match form:
        case "json":
            click.echo(json.dumps(board.as_json(), indent=1))
        case "junit":
            click.echo(junit(board))
        case _:
            show(board)
    raise SystemExit(1 if board.counts["broken"] else 0)


def show(board: Board) -> None:
    """Print a board for people."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 1, 0))
    for title in ("verdict", "promise", "what was seen"):
        table.add_column(title, overflow="fold", header_style="bold")
    for row in board.rows:
        style = STYLES[row.verdict]
        clause = f"\n[dim]{row.promise.id}{' · ' + ', '.join(row.promise.clause) if row.promise.clause else ''}[/dim]"
        says = "\n".join(f"{proof.kind}: {proof.says}" for proof in row.proofs)
        table.add_row(f"[{style}]{row.verdict}[/{style}]", _plain(row.sentence) + clause, _plain(says))
    console.print(table)
    counts = ", ".join(f"[{STYLES[v]}]{number} {v}[/{STYLES[v]}]" for v, number in board.counts.items())
    console.print(f"{board.policy} {board.version}: {counts}")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def junit(board: Board) -> str:
    """The board as JUnit XML: broken is a failure, unproven is skipped."""
    counts = board.counts
    suite = ElementTree.Element(
        "testsuite",
        name=f"{board.policy} {board.version}",
        tests=str(len(board.rows)),
        failures=str(counts["broken"]),
        skipped=str(counts["unproven"]),
        timestamp=board.at.isoformat(timespec="seconds"),
    )
    for row in board.rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=row.control, name=f"{row.promise.id}: {row.sentence}"
        )
        says = " ".join(proof.says for proof in row.proofs)
        if row.verdict == "broken":
            ElementTree.SubElement(case, "failure", message=says)
        elif row.verdict == "unproven":
            ElementTree.SubElement(case, "skipped", message=says)
        else:
            ElementTree.SubElement(case, "system-out").text = f"{row.verdict}: {says}"
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, "unicode", xml_declaration=True)


COMMANDS = (prove,)
