"""`kept end PURPOSE WHO`: somebody's end is set, by a decision the policy allows or upon the event it names."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import click

from kept.cli.company import at_work, directory, formats
from kept.company import Company
from kept.controls.purposes.ends import ending
from kept.controls.purposes.ends.ending import Decision, Outcome
from kept.controls.purposes.ends.endings import purpose_named
from kept.controls.rights.people import Person, resolve
from kept.errors import KeptError
from kept.policy.policy import STAFF

HINDERED = {
    "gone": "there is no such row any more",
    "ended already": "they have an end already",
    "not meant": "not of the kind that is meant, or no tie to whoever decides (who must not have ended) stands there",
}


@click.command()
@click.argument("purpose")
@click.argument("whos", metavar="[WHO]...", nargs=-1)
@directory
@click.option("--as", "role", metavar="ROLE", help="Who decides: one of the purpose's `by`.")
@click.option(
    "--by",
    metavar="NAME",
    help="The member of staff who decides or enters it; for a ROLE such as administers.admin the WHO of that person.",
)
@click.option(
    "--why", metavar="TEXT", help="The reason; the person is told it, and it is kept sealed on record."
)
@click.option("--dry-run", is_flag=True, help="Show whom it is about; change nothing.")
@formats("text", "json")
def end(
    purpose: str,
    whos: tuple[str, ...],
    folder: Path | None,
    role: str | None,
    by: str | None,
    why: str | None,
    dry_run: bool,
    form: str,
) -> None:
    """Set the end of people, as a purpose of the file that `sets: KIND.ended` allows; they are told by letter.

    With WHO it is a decision, by somebody in a ROLE. Without, it is about everybody whose end has come by itself, as
    `upon: company.ended` says; `kept work` sees to those too.
    """
    with at_work(folder) as (company, workflows):
        found = purpose_named(company.policy, purpose)
        wrong: list[str] = []
        if not whos:
            people = ending.waiting(company, found)
            if dry_run:
                _show([Outcome(purpose, people=people)], form, dry_run=True)
                raise SystemExit(0)
            done = ending.fall_due(company, workflows, found)
        else:
            decision = _decision(company, purpose, whos, role, by, why)
            hindered = ending.hindrances(company, decision)
            wrong = [f"{_shown(who)}: {HINDERED[word]}" for who, word in hindered.items()]
            done = (
                [Outcome(purpose, people=len(decision.whos) - len(wrong))]
                if dry_run
                else [ending.decide(company, workflows, decision)]
            )
        _show(done, form, wrong, dry_run=dry_run)
    raise SystemExit(1 if wrong or any(outcome.problem for outcome in done) else 0)


def _decision(
    company: Company, purpose: str, whos: tuple[str, ...], role: str | None, by: str | None, why: str | None
) -> Decision:
    found = resolve(company, whos)
    if found.wrong:
        raise KeptError(found.wrong[0][1], where="WHO")
    allowed = [str(who) for who in purpose_named(company.policy, purpose).by]
    if role is None and allowed:
        raise KeptError("say who decides", help=f"--as {' or '.join(allowed)}", where="--as")
    role = role or STAFF
    decider: Person | None = None
    if "." in role:
        if by is None:
            raise KeptError(f"say which `{role}` decides", help="--by WHO", where="--by")
        deciding = resolve(company, [by])
        if deciding.wrong:
            raise KeptError(deciding.wrong[0][1], where="--by")
        [decider] = deciding.people
    return Decision(
        purpose, found.people, role, by if decider is None and by else getpass.getuser(), decider, why
    )


def _shown(who: Person) -> str:
    """A person by their key, where that is a number: another may be somebody's address."""
    return str(who) if all(part.isdecimal() for part in who.key) else f"one of kind {who.kind}"


def _show(done: list[Outcome], form: str, wrong: list[str] | None = None, *, dry_run: bool) -> None:
    if form == "json":
        told = [
            {
                "purpose": outcome.purpose,
                "people": outcome.people,
                "letters": outcome.letters,
                "by_hand": outcome.by_hand,
                "problem": outcome.problem,
            }
            for outcome in done
        ]
        click.echo(json.dumps({"dry_run": dry_run, "ends": told, "left": wrong or []}))
        return
    for outcome in done:
        if outcome.problem is not None:
            click.echo(f"not done: {outcome.problem}", err=True)
            click.echo("  `kept work` goes on where it stopped.", err=True)
            continue
        people = f"{outcome.people} {'person' if outcome.people == 1 else 'people'}"
        if dry_run:
            click.echo(f"{outcome.purpose}: it would end for {people}; nothing is changed by a dry run.")
            continue
        click.echo(f"{outcome.purpose}: ended for {people}, {outcome.letters} letters wait to be sent.")
        if outcome.by_hand:
            click.echo(
                f"  {outcome.by_hand} can't be written to (no mail server, or no address on record): "
                "a task for a member of staff (`kept task list`)."
            )
    if not done:
        click.echo("Nobody's end has come.")
    for line in wrong or []:
        click.echo(f"left as it is: {line}", err=True)


COMMANDS = (end,)
