"""`kept request VERB WHO`: a person uses a right; one person, or a file of thousands."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from kept.cli.company import at_work, directory, formats
from kept.company import Company
from kept.controls.rights import addresses, register
from kept.controls.rights.desk import Desk
from kept.controls.rights.outcome import Result
from kept.controls.rights.people import Found
from kept.controls.rights.planning import Plan, plan
from kept.controls.rights.register import Request, Subject
from kept.errors import KeptError


@dataclass(frozen=True)
class Asked:
    """What every verb's command line says."""

    verb: str
    who: str
    folder: Path | None
    dry_run: bool
    by: str | None
    form: str
    changes: tuple[tuple[str, str], ...] = ()
    scope: tuple[str, ...] = ()
    words: str | None = None
    copy_offered: bool = False


@click.group()
def request() -> None:
    """Carry out a person's right, and see to what is open.

    WHO is kind:key (user:17), an identifier such as an e-mail address, or @FILE with one of these a line
    (@- reads standard input, so that no address stands in the list of processes).
    """


def _verb(name: str, help: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A verb of `kept request`, with what all verbs take."""

    def made(command: Callable[..., Any]) -> click.Command:
        for option in (
            click.argument("who"),
            directory,
            click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing."),
            click.option(
                "--by", metavar="NAME", help="The member of staff who validated it with the person."
            ),
            formats("text", "json"),
        ):
            command = option(command)
        return request.command(name, help=help)(command)

    return made


def _plain(verb: str, help: str) -> None:
    """A verb that takes nothing besides."""

    @_verb(verb, help)
    def command(who: str, folder: Path | None, dry_run: bool, by: str | None, form: str) -> None:
        _carry_out(Asked(verb, who, folder, dry_run, by, form))


_plain("access", "Everything held about a person, as a zip: a page to read, JSON and CSV.")
_plain("export", "What a person provided, as a zip to take elsewhere: JSON by a published schema, and CSV.")
_plain(
    "restrict", "From now on a person's data is stored, and used for nothing but what the law still allows."
)
_plain("human-decision", "No decision with legal or like effect on a person by a machine alone.")


@_verb("erase", "Remove a person's data everywhere, then look for what remains; done only when nothing does.")
@click.option("--copy-offered", is_flag=True, help="They were offered a copy before, as the policy promises.")
def erase(
    who: str, folder: Path | None, dry_run: bool, by: str | None, form: str, copy_offered: bool
) -> None:
    _carry_out(Asked("erase", who, folder, dry_run, by, form, copy_offered=copy_offered))


@_verb("object", "Stop the uses that rest on a legitimate interest, or those named.")
@click.option(
    "--purpose", "scope", multiple=True, metavar="NAME", help="A purpose objected to; all when left out."
)
def object_(
    who: str, folder: Path | None, dry_run: bool, by: str | None, form: str, scope: tuple[str, ...]
) -> None:
    _carry_out(Asked("object", who, folder, dry_run, by, form, scope=scope))


@_verb("withdraw", "Take back a consent, or every one.")
@click.option(
    "--choice", "scope", multiple=True, metavar="NAME", help="A choice taken back; all when left out."
)
def withdraw(
    who: str, folder: Path | None, dry_run: bool, by: str | None, form: str, scope: tuple[str, ...]
) -> None:
    _carry_out(Asked("withdraw", who, folder, dry_run, by, form, scope=scope))


@_verb("correct", "Write what is right into a person's own rows, and tell whoever got the old.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="STORE.TABLE.COLUMN=VALUE",
    help="What is right; may be given several times.",
)
def correct(
    who: str, folder: Path | None, dry_run: bool, by: str | None, form: str, changes: tuple[str, ...]
) -> None:
    told = []
    for change in changes:
        column, equals, value = change.partition("=")
        if not equals or column.count(".") != 2:
            raise KeptError("a correction is written store.table.column=value", where="--set")
        told.append((column.strip(), value))
    _carry_out(Asked("correct", who, folder, dry_run, by, form, changes=tuple(told)))


@_verb("complain", "Take in a complaint; a member of staff answers it (`kept request answer`).")
@click.option("--words", required=True, help="What the person says; @FILE reads a file, @- standard input.")
def complain(who: str, folder: Path | None, dry_run: bool, by: str | None, form: str, words: str) -> None:
    _carry_out(Asked("complain", who, folder, dry_run, by, form, words=_text(words)))


def _carry_out(asked: Asked) -> None:
    with at_work(asked.folder) as (company, workflows):
        desk = Desk.at_work(company, workflows)
        found = desk.find(asked.verb, _whos(asked.who))
        many = asked.who.startswith("@")
        if found.wrong and not many:
            raise KeptError(found.wrong[0][1], where="WHO")
        subjects = [
            Subject(person, words=asked.words, changes=asked.changes, scope=asked.scope)
            for person in found.people
        ]
        if asked.dry_run:
            planned = plan(desk.company, asked.verb, subjects)
            _show_plan(planned, found, asked.form)
            raise SystemExit(1 if planned.unreached else 0)
        if company.can_write:
            known = addresses.of(company, found.people)
            subjects = [replace(subject, reply=known.get(subject.who)) for subject in subjects]
        by = asked.by or getpass.getuser()
        result = desk.carry_out(
            asked.verb, subjects, by, confirmed=asked.by is not None, copy_offered=asked.copy_offered
        )
        _show(asked, result, found, company)
    waits = all(request.is_open for request in result.requests) and result.problem is None
    raise SystemExit(0 if (result.done or waits) and not found.wrong else 1)


def _whos(who: str) -> list[str]:
    if not who.startswith("@"):
        return [who]
    whos = [line.strip() for line in _text(who).splitlines() if line.strip()]
    if not whos:
        raise KeptError("the file of people is empty", help="one WHO a line")
    return whos


def _text(given: str) -> str:
    """A text, or what stands in @FILE or on standard input."""
    if not given.startswith("@"):
        return given
    try:
        return sys.stdin.read() if given == "@-" else Path(given[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise KeptError(
            f"the file can't be read ({type(wrong).__name__})", help="it is text in UTF-8"
        ) from None


def _show_plan(plan: Plan, found: Found, form: str) -> None:
    if form == "json":
        told = {
            "people": len(found.people),
            "plan": plan.tables,
            "by_hand": plan.by_hand,
            "on_device": plan.on_device,
            "passed_on": plan.passed_on,
            "stays": plan.stays,
            "unasked": plan.unasked,
            "unreached": plan.unreached,
            "unknown": _wrong(found),
        }
        click.echo(json.dumps(told))
        return
    people = "person" if len(found.people) == 1 else "people"
    click.echo(f"{len(found.people)} {people}; nothing is changed by a dry run.")
    _counts(plan.tables)
    for sentence in plan.stays:
        click.echo(f"  stays: {sentence}")
    for store in plan.unasked:
        click.echo(f"  {store}: can't be asked what it holds; it is told to do it")
    for place in plan.by_hand:
        click.echo(f"  by hand: {place}, a task for a member of staff")
    for place in plan.on_device:
        click.echo(f"  on the person's own device: {place}, which only they can clear")
    for client in plan.passed_on:
        click.echo(f"  passed on to {client}, whose instructions rule: they answer, and nothing is done here")
    if plan.unreached:
        click.echo("  It can't be carried out in full:")
    for reason in plan.unreached:
        click.echo(f"  out of reach: {reason}")
    _tell_wrong(found)


def _counts(tables: dict[str, dict[str, int]]) -> None:
    for table, counts in tables.items():
        counted = [(number, what) for what, number in counts.items() if number]
        told = (
            ", ".join(f"{n} {'row' if (n, what) == (1, 'rows') else what}" for n, what in counted)
            or "nothing"
        )
        click.echo(f"  {table}: {told}")


def _show(asked: Asked, result: Result, found: Found, company: Company) -> None:
    answers = [str(company.answers / f"{one.id}.zip") for one in result.requests if one.state == "done"]
    if asked.verb not in ("access", "export"):
        answers = []
    if asked.form == "json":
        state = "done" if result.done else "failed" if result.problem else _common(result.requests)
        told = {
            "verb": asked.verb,
            "state": state,
            "people": len(found.people),
            "requests": [one.id for one in result.requests],
            "awaits": sorted({str(one.awaits) for one in result.requests if one.awaits}),
            "counts": result.counts,
            "answers": answers,
            "problem": result.problem,
            "unknown": _wrong(found),
            "seconds": round(result.seconds, 3),
        }
        click.echo(json.dumps(told))
        return
    if result.problem is not None:
        click.echo(f"not done: {result.problem}", err=True)
        click.echo("  The request stays open; `kept work` goes on where it stopped.", err=True)
    elif result.done and found.people:
        number = len(found.people)
        people = "person" if number == 1 else "people"
        click.echo(f"done: {asked.verb} for {number} {people} in {result.seconds:.1f} s.")
        _counts(result.counts)
        for answer in answers[:10]:
            click.echo(f"  answer: {answer}")
        if len(answers) > 10:
            click.echo(f"  … and {len(answers) - 10} more in {company.answers}")
        if asked.verb == "erase":
            click.echo(
                "  Looked afterwards in every declared place and in the files: nothing remains"
                + _held(result)
            )
    else:
        _show_waiting(result)
    _tell_wrong(found)


def _held(result: Result) -> str:
    staying = any(request.outcome.get("stays") for request in result.requests)
    return " but what has to stay (`kept request show`)." if staying else "."


def _common(requests: list[Request]) -> str:
    states = {request.state for request in requests}
    return states.pop() if len(states) == 1 else "open"


def _show_waiting(result: Result) -> None:
    for request in result.requests[:10]:
        awaited = register.AWAITED[request.awaits] if request.awaits else request.state
        until = f", until {request.until:%Y-%m-%d}" if request.until else ""
        due = f"; to be answered before {request.due:%Y-%m-%d}" if request.due else ""
        click.echo(f"request {request.id} is open: it awaits {awaited}{until}{due}.")
    if len(result.requests) > 10:
        click.echo(f"… and {len(result.requests) - 10} more (`kept request list`).")


def _wrong(found: Found) -> list[dict[str, object]]:
    return [{"line": place, "why": why} for place, why in found.wrong]


def _tell_wrong(found: Found) -> None:
    for place, why in found.wrong:
        click.echo(f"line {place}: {why}", err=True)
