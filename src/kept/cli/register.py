"""`kept request list`, `show` and what staff do with a request that is open; `kept task`; `kept work`."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from kept.cli.company import at_work, directory, formats, opened
from kept.cli.requests import request
from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.rights import batches, intake, recipients, register, tasks
from kept.controls.rights.desk import Desk
from kept.controls.rights.erasing.replay import restored
from kept.controls.rights.register import Request
from kept.errors import KeptError


def _staff(
    name: str, help: str, words: str | None = None
) -> Callable[[Callable[..., Request | None]], click.Command]:
    """A command of staff's on one open request; `words` is the option they write their words in."""

    def made(act: Callable[..., Request | None]) -> click.Command:
        def command(id: str, folder: Path | None, by: str, said: str = "", **given: Any) -> None:
            with at_work(folder) as (company, workflows):
                desk = Desk.at_work(company, workflows)
                act(desk, _one(company, id), said, by, **given)
                found = register.get(company, _one(company, id).id)
            click.echo(_line(found))

        options = [
            click.argument("id"),
            directory,
            click.option(
                "--by", metavar="NAME", default=getpass.getuser, show_default="who runs the command"
            ),
        ]
        if words is not None:
            options.append(click.option(words, "said", required=True, metavar="TEXT"))
        command.__doc__ = help
        made_command: Any = command
        for option in reversed(options):
            made_command = option(made_command)
        return request.command(name, help=help)(made_command)

    return made


@_staff("confirm", "A member of staff validated with the person that it is they who ask.")
def confirm(desk: Desk, found: Request, said: str, by: str) -> Request:
    return _met(desk, found, "confirmation", by)


@_staff("approve", "A member of staff approves what the policy wants approved.")
def approve(desk: Desk, found: Request, said: str, by: str) -> Request:
    return _met(desk, found, "approval", by)


def _met(desk: Desk, found: Request, awaited: str, by: str) -> Request:
    if found.awaits != awaited:
        raise KeptError(f"this request does not await {awaited}", help=_line(found), where=found.id)
    met = desk.met(found, by)
    if met.awaits == "work":
        result = desk.work()
        if result.problem is not None:
            click.echo(f"not done: {result.problem}", err=True)
    return register.get(desk.company, found.id)


@_staff("extend", "Take longer, for a reason the person is told (GDPR Art. 12(3)).", "--why")
def extend(desk: Desk, found: Request, said: str, by: str) -> Request:
    return desk.extend(found, said, by)


@_staff("ask", "Ask the person what they mean; under UK law the clock stands still meanwhile.", "--question")
def ask(desk: Desk, found: Request, said: str, by: str) -> Request:
    return desk.ask(found, said, by)


@_staff("heard", "Note what the person said they mean; the request goes on.", "--words")
def heard(desk: Desk, found: Request, said: str, by: str) -> Request:
    return desk.heard(found, said, by)


@_staff("answer", "Answer what only a person can: a complaint, or what a client answered.", "--words")
def answer(desk: Desk, found: Request, said: str, by: str) -> Request:
    return desk.answer(found, said, by)


@_staff(
    "refuse", "Refuse for a reason the law accepts; the person is told it, and where to complain.", "--reason"
)
def refuse(desk: Desk, found: Request, said: str, by: str) -> Request:
    return desk.refuse(found, said, by)


@_staff("undo", "The person changed their mind: what hasn't begun ends, what waits comes back.")
def undo(desk: Desk, found: Request, said: str, by: str) -> None:
    result = desk.call_off(found, by)
    if result.problem is not None:
        raise KeptError(result.problem)


@_staff("lift", "End a restriction or an objection; the person is told before.", "--why")
def lift(desk: Desk, found: Request, said: str, by: str) -> None:
    if not desk.lift(found, said, by):
        raise KeptError("nothing of this request is in force", where=found.id)


@request.command("settle")
@click.argument("id")
@directory
@click.option("--by", metavar="NAME", default=getpass.getuser, show_default="who runs the command")
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="STORE.TABLE.COLUMN=VALUE",
    help="What is right; may be given several times.",
)
def settle(id: str, folder: Path | None, by: str, changes: tuple[str, ...]) -> None:
    """Put into columns what a person asked in their own words to have corrected; `kept work` then does it."""
    pairs = [(column.strip(), value) for column, _, value in (change.partition("=") for change in changes)]
    if any(column.count(".") != 2 for column, _ in pairs):
        raise KeptError("a correction is written store.table.column=value", where="--set")
    with opened(folder) as company:
        desk = Desk(company, kinds(company))
        click.echo(_line(intake.settle(desk, _one(company, id), pairs, by)))


def _one(company: Company, id: str) -> Request:
    """A request by its id, or by the beginning of it."""
    found = register.beginning(company, id)
    if len(found) != 1:
        said = "there is no such request" if not found else f"{len(found)} requests begin so"
        raise KeptError(said, help="`kept request list` names those that are open")
    return found[0]


@request.command("list")
@directory
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
@formats("text", "json")
def list_(folder: Path | None, everything: bool, form: str) -> None:
    """The requests that are open, the most urgent first."""
    with opened(folder) as company:
        found = register.listing(company, state=None if everything else "open")
        problems = batches.problems(company)
        unread = intake.waiting(company)
    if form == "json":
        click.echo(json.dumps([_as_json(one) | {"problem": problems.get(one.act or "")} for one in found]))
        return
    for one in found:
        click.echo(_line(one))
        if one.is_open and one.act in problems:
            click.echo(f"  not done so far: {problems[one.act]}")
    if not found:
        click.echo("No request is open.")
    if unread.number:
        click.echo(f"{unread.number} that came in by form or e-mail wait to be looked at (`kept work`).")
        if unread.problem is not None:
            click.echo(f"  not done so far: {unread.problem}")


@request.command("show")
@click.argument("id")
@directory
@formats("text", "json")
def show(id: str, folder: Path | None, form: str) -> None:
    """One request: its clock, what happened, who was told, what stays."""
    with opened(folder) as company:
        found = _one(company, id)
        history = register.history(company, found.id)
        told = recipients.listing(company, found.id)
        letters = company.outbox.entries(found.id)
        words = found.subject(company).words if found.is_open else None
    if form == "json":
        shown = _as_json(found) | {
            "history": [
                {"at": event.at.isoformat(), "what": event.what, "by": event.who, "words": event.words}
                for event in history
            ],
            "told": told,
            "letters": [{"what": one.what, "state": one.state, "problem": one.problem} for one in letters],
        }
        click.echo(json.dumps(shown))
        return
    click.echo(_line(found))
    if words is not None:
        click.echo("  in their words:\n" + "\n".join(f"    {line}" for line in words.splitlines()))
    for event in history:
        by = f" by {event.who}" if event.who else ""
        click.echo(
            f"  {event.at:%Y-%m-%d %H:%M} {event.what}{by}" + (f": {event.words}" if event.words else "")
        )
    for one in told:
        click.echo(f"  told: {one['party']} ({one['how']}, {one['state']})")
    for letter in letters:
        click.echo(
            f"  letter: {letter.what}, {letter.state}" + (f": {letter.problem}" if letter.problem else "")
        )
    for line in _staying(found.outcome.get("stays", {})):
        click.echo(f"  stays: {line}")


def _staying(stays: Mapping[str, Any]) -> list[str]:
    """What stays of a person: rows under a hold by table, and what another company keeps, with its reason."""
    lines = [f"{rows} rows of {table}, under a hold" for table, rows in stays.get("held", {}).items()]
    for place, kept in stays.items():
        for one in kept if isinstance(kept, list) and place != "holds" else ():
            until = f", until {one['until']}" if one.get("until") else ""
            lines.append(f"{one['rows']} rows of {place}.{one['table']}: {one['reason']}{until}")
    return lines


def _line(found: Request) -> str:
    state: str = found.state
    if found.is_open and found.awaits:
        state = f"open, awaits {register.AWAITED[found.awaits]}"
        if found.until is not None:
            state += f" ({found.until:%Y-%m-%d})"
    due = f"; due before {found.due:%Y-%m-%d}" if found.is_open and found.due else ""
    law = f" under {found.law}" if found.law else ""
    return (
        f"{found.id}  {found.verb}, received {found.received:%Y-%m-%d} ({found.channel}){law}: {state}{due}"
    )


def _as_json(found: Request) -> dict[str, object]:
    def time(at: datetime | None) -> str | None:
        return at.isoformat() if at else None

    return {
        "id": found.id,
        "verb": found.verb,
        "channel": found.channel,
        "law": found.law,
        "region": found.region,
        "state": found.state,
        "awaits": found.awaits,
        "until": time(found.until),
        "received": time(found.received),
        "due": time(found.due),
        "closed": time(found.closed),
        "outcome": dict(found.outcome),
    }


@click.group()
def task() -> None:
    """What members of staff do by hand, where no program reaches."""


@task.command("list")
@directory
def tasks_open(folder: Path | None) -> None:
    """The tasks that are open, by their due dates; names the people, so mind who reads over your shoulder."""
    with opened(folder) as company:
        found = tasks.listing(company)
    for one in found:
        click.echo(f"{one.id}  due {one.due:%Y-%m-%d}: {one.what} in {one.place}: {', '.join(one.whom)}")
    if not found:
        click.echo("No task is open.")


@task.command("done")
@click.argument("id")
@directory
@click.option("--by", metavar="NAME", default=getpass.getuser, show_default="who runs the command")
def task_done(id: str, folder: Path | None, by: str) -> None:
    """A task is done; its request goes on when it was the last."""
    with at_work(folder) as (company, workflows):
        result = Desk.at_work(company, workflows).task_done(id, by)
    for one in result.requests:
        click.echo(_line(one))
    if result.problem is not None:
        click.echo(f"not done: {result.problem}", err=True)
        raise SystemExit(1)


@click.command()
@directory
@click.option(
    "--watch", type=click.FloatRange(1), metavar="SECONDS", help="Go on, looking every so many seconds."
)
def work(folder: Path | None, watch: float | None) -> None:
    """Do what is due: requests that are ready or failed before, periods that are over, letters, mail."""
    while True:
        with at_work(folder) as (company, workflows):
            desk = Desk.at_work(company, workflows)
            looked = intake.look(desk)
            result = desk.work(patient=watch is not None)
            sent = desk.post()
        if looked:
            click.echo(f"Looked at what came in: {', '.join(f'{n} {what}' for what, n in looked.items())}.")
        if result.problem is not None:
            click.echo(f"not done: {result.problem}", err=True)
        done = sum(not one.is_open for one in result.requests)
        if result.requests:
            click.echo(f"{done} of {len(result.requests)} requests that were due are closed.")
        else:
            click.echo("No request was due.")
        if sent is not None and (sent.sent or sent.failed):
            click.echo(f"{sent.sent} letters sent, {sent.waiting} wait, {sent.failed} could not be sent.")
        if watch is None:
            raise SystemExit(1 if result.problem is not None else 0)
        time.sleep(watch)


@click.command()
@directory
@click.option("--by", metavar="NAME", default=getpass.getuser, show_default="who runs the command")
@click.option("--dry-run", is_flag=True, help="Show who is there again; change nothing.")
def replay(folder: Path | None, by: str, dry_run: bool) -> None:
    """After a backup was restored: find everybody who was erased since, and erase them again."""
    with at_work(folder) as (company, workflows):
        found = restored(company)
        click.echo(
            f"{found.looked_at} people looked at; {len(found.people)} were erased before and are there again."
        )
        result = (
            Desk.at_work(company, workflows).replay(found.people, by)
            if found.people and not dry_run
            else None
        )
    if result is not None and result.problem is None:
        click.echo(f"erased again: {len(result.requests)}.")
    if result is not None and result.problem is not None:
        click.echo(f"not done: {result.problem}", err=True)
    if found.doubtful:
        click.echo(
            f"{len(found.doubtful)} more have the key of somebody who was erased, and another address or none: "
            "somebody else, or the same who moved. See who they are, and erase them yourself where they are the same:",
            err=True,
        )
        for person in found.doubtful[:20]:
            named = all(map(str.isdecimal, person.key))  # another key may be somebody's address
            click.echo(f"  {person}" if named else f"  one of kind {person.kind}", err=True)
    raise SystemExit(1 if found.doubtful or (result is not None and result.problem) else 0)


COMMANDS = (request, task, work, replay)
