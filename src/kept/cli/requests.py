"""`kept request`: a person uses a right; one person, or a file of thousands."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kept.cli.company import at_work, directory, formats
from kept.company import Company
from kept.controls.rights import desk
from kept.controls.rights.people import Found
from kept.errors import KeptError


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.argument("who"),
        directory,
        click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing."),
        click.option(
            "--by",
            default=getpass.getuser,
            show_default="who runs the command",
            help="Who validated the request with the person.",
        ),
        formats("text", "json"),
    ):
        command = option(command)
    return command


@click.group()
def request() -> None:
    """Carry out a person's right: access or erase.

    WHO is kind:key (user:17), an identifier such as an e-mail address, or @FILE with one of these a line
    (@- reads standard input, so that no address stands in the list of processes).
    """


@request.command()
@_options
def access(who: str, folder: Path | None, dry_run: bool, by: str, form: str) -> None:
    """Everything held about a person, as a zip: a page to read, JSON and CSV."""
    _carry_out("access", who, folder, dry_run, by, form)


@request.command()
@_options
def erase(who: str, folder: Path | None, dry_run: bool, by: str, form: str) -> None:
    """Remove a person's data everywhere, then look for what remains; done only when nothing does."""
    _carry_out("erase", who, folder, dry_run, by, form)


@request.command()
@directory
def resume(folder: Path | None) -> None:
    """Go on with every request that is open: what failed before is tried again."""
    with at_work(folder) as (company, workflows):
        results = desk.resume(company, workflows)
    for result in results:
        if result.problem is not None:
            click.echo(f"not done: {result.problem}", err=True)
    done = sum(result.done for result in results)
    click.echo(f"{done} of {len(results)} open acts carried out." if results else "No request is open.")
    raise SystemExit(0 if done == len(results) else 1)


def _carry_out(verb: str, who: str, folder: Path | None, dry_run: bool, by: str, form: str) -> None:
    with at_work(folder) as (company, workflows):
        found = desk.find(company, verb, _whos(who))
        many = who.startswith("@")
        if found.wrong and not many:
            raise KeptError(found.wrong[0][1], where="WHO")
        if dry_run:
            plan = desk.plan(company, verb, found.people)
            _show_plan(plan, found, form)
            raise SystemExit(1 if plan.unreached else 0)
        result = desk.carry_out(company, workflows, verb, found.people, by)
    _show(verb, result, found, form, company)
    raise SystemExit(0 if result.done and not found.wrong else 1)


def _whos(who: str) -> list[str]:
    if not who.startswith("@"):
        return [who]
    try:
        text = sys.stdin.read() if who == "@-" else Path(who[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise KeptError(
            f"the file of people can't be read ({type(wrong).__name__})", help="one WHO a line, in UTF-8"
        ) from None
    whos = [line.strip() for line in text.splitlines() if line.strip()]
    if not whos:
        raise KeptError("the file of people is empty", help="one WHO a line")
    return whos


def _show_plan(plan: desk.Plan, found: Found, form: str) -> None:
    if form == "json":
        click.echo(
            json.dumps(
                {
                    "people": len(found.people),
                    "plan": plan.tables,
                    "unreached": plan.unreached,
                    "unknown": _wrong(found),
                }
            )
        )
        return
    click.echo(
        f"{len(found.people)} {'person' if len(found.people) == 1 else 'people'}; nothing is changed by a dry run."
    )
    for table, counts in plan.tables.items():
        click.echo(
            f"  {table}: "
            + (", ".join(f"{number} {what}" for what, number in counts.items() if number) or "nothing")
        )
    if plan.unreached:
        click.echo("  It can't be carried out in full:")
    for reason in plan.unreached:
        click.echo(f"  out of reach: {reason}")
    _tell_wrong(found)


def _show(verb: str, result: desk.Result, found: Found, form: str, company: Company) -> None:
    if form == "json":
        told = {
            "verb": verb,
            "state": "done" if result.done else "failed",
            "people": len(found.people),
            "requests": result.requests,
            "counts": result.counts,
            "answers": [str(company.answers / f"{request}.zip") for request in result.requests]
            if verb == "access" and result.done
            else [],
            "problem": result.problem,
            "unknown": _wrong(found),
            "seconds": round(result.seconds, 3),
        }
        click.echo(json.dumps(told))
        return
    if result.problem is not None:
        click.echo(f"not done: {result.problem}", err=True)
        click.echo("  The request stays open; `kept request resume` goes on where it stopped.", err=True)
    elif found.people:
        number = len(found.people)
        click.echo(
            f"done: {verb} for {number} {'person' if number == 1 else 'people'} in {result.seconds:.1f} s."
        )
        for table, counts in result.counts.items():
            click.echo(
                f"  {table}: " + (", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing")
            )
        if verb == "access":
            for request in result.requests[:10]:
                click.echo(f"  answer: {company.answers / f'{request}.zip'}")
            if number > 10:
                click.echo(f"  … and {number - 10} more in {company.answers}")
        else:
            click.echo("  Looked afterwards in every declared place and in the files: nothing remains.")
    _tell_wrong(found)


def _wrong(found: Found) -> list[dict[str, object]]:
    return [{"line": place, "why": why} for place, why in found.wrong]


def _tell_wrong(found: Found) -> None:
    for place, why in found.wrong:
        click.echo(f"line {place}: {why}", err=True)


COMMANDS = (request,)
