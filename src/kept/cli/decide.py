"""`kept decide`: what only a person may decide, proposed, looked at, and decided by name."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kept.cli.company import at_work, directory, formats, opened
from kept.controls.purposes.decisions import deciding, queue
from kept.controls.purposes.decisions.carrying import carry
from kept.controls.rights.people import resolve
from kept.errors import KeptError

PSEUDONYM = 64  # characters


@click.group()
def decide() -> None:
    """What a purpose `sets` is decided by people: somebody proposes, somebody else with a name says yes or no."""


@decide.command("list")
@directory
@click.option("--all", "every", is_flag=True, help="Those that are over, too.")
@formats("text", "json")
def listed(folder: Path | None, every: bool, form: str) -> None:
    """What waits for a decision."""
    with opened(folder, None) as company:
        found = queue.listing(company, states=queue.ALL if every else (queue.OPEN, queue.ACCEPTED))
    if form == "json":
        click.echo(json.dumps([one.as_json() for one in found]))
        return
    if not found:
        click.echo("Nothing was ever proposed." if every else "Nothing waits for a decision.")
        return
    for one in found:
        who = str(one.change.person) if one.change is not None else "somebody no longer named"
        by = f" by {one.proposed_by}" if one.proposed_by else ""
        told = f"{one.purpose}: {who}, proposed {one.proposed:%Y-%m-%d}{by}, {_state(one)}"
        click.echo(f"{one.id}  {_plain(told)}")
        if one.change is not None:
            cells = "; ".join(f"{name} = {value or '(nothing)'}" for name, value in one.change.cells.items())
            row = f" (row {one.change.row})" if one.change.row is not None else ""
            click.echo(_plain(f"  would set: {cells}{row}" if cells else "  would end their account"))


@decide.command()
@click.argument("purpose")
@click.argument("who")
@directory
@click.option(
    "--set", "cells", metavar="COLUMN=VALUE", multiple=True, help="STORE.TABLE.COLUMN and what it is to hold."
)
@click.option("--row", metavar="KEY", help="Which of their rows, where they have several.")
@click.option("--case", metavar="LINK:KEY", help="The case it belongs to.")
@click.option(
    "--evidence", metavar="NAME=WORDS", multiple=True, help="What the purpose needs, such as asked=WORDS."
)
@click.option("--by", required=True, metavar="NAME", help="Who or what proposes it.")
def propose(
    purpose: str,
    who: str,
    folder: Path | None,
    cells: tuple[str, ...],
    row: str | None,
    case: str | None,
    evidence: tuple[str, ...],
    by: str,
) -> None:
    """Propose a change of WHO's data or the end of their account; nothing changes until a person decides."""
    with opened(folder, None) as company:
        found = resolve(company, [who])
        if found.wrong:
            raise KeptError(found.wrong[0][1], where="WHO")
        id = queue.propose(
            company,
            purpose,
            found.people[0],
            _pairs(cells, "--set"),
            by=by,
            row=row,
            case=case,
            evidence=_pairs(evidence, "--evidence"),
        )
    click.echo(f"{id} waits for a decision: kept decide yes {id} --as ROLE --by NAME")


def _answering(answer: deciding.Answer) -> click.Command:
    then = "it is carried out" if answer == "yes" else "nothing is changed"

    @click.command(
        answer, help=f"Say {answer} to a proposal, by name; {then}, and whom `tells` names is told."
    )
    @click.argument("id")
    @directory
    @click.option(
        "--as", "role", required=True, metavar="ROLE[:KEY]", help="In which role: one of the purpose's."
    )
    @click.option("--by", required=True, metavar="NAME", help="The name of the person who decides.")
    @click.option("--why", metavar="TEXT", help="The reason; the person is told it.")
    def command(id: str, folder: Path | None, role: str, by: str, why: str | None) -> None:
        with at_work(folder) as (company, workflows):
            deciding.decide(company, id, answer, role, by, why)
            problem = carry(company, workflows, id)
        if problem is not None:
            click.echo(f"Decided, and not carried out yet: {problem}. `kept work` tries again.", err=True)
            raise SystemExit(1)
        click.echo(f"{id}: {answer}, by {by}; on record.")

    return command


decide.add_command(_answering("yes"))
decide.add_command(_answering("no"))


def _state(one: queue.Proposal) -> str:
    """What became of it; who decided is named where it was one of the staff."""
    if one.altered:
        return queue.ALTERED
    named = one.decided_by if one.decided_by and len(one.decided_by) != PSEUDONYM else one.role
    decided = f"{one.state} by {named}" if one.decided_by else one.state
    return f"{decided}: {one.problem}" if one.problem else decided


def _plain(text: str) -> str:
    """Text as it may stand on a terminal, where control characters do something."""
    return "".join(one if one.isprintable() else " " for one in text)


def _pairs(given: tuple[str, ...], where: str) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise KeptError(f'"{name}" has no value', help="write NAME=VALUE", where=where)
        found[name.strip()] = value
    return found


COMMANDS = (decide,)
