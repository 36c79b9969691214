"""`kept hold`: what has to stay although its person wants it erased, set, listed and ended by name."""

from __future__ import annotations

import getpass
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from kept.cli.company import at_work, directory, formats, opened
from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.retention import placed
from kept.controls.retention.placed import Placed
from kept.controls.rights import register
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person, resolve
from kept.errors import KeptError

_by = click.option("--by", metavar="NAME", default=getpass.getuser, show_default="who runs the command")


@click.group()
def hold() -> None:
    """What has to stay for a legal duty or legal claims: who set it, for what, until when."""


@hold.command("set")
@click.argument("who")
@directory
@click.option(
    "--purpose", required=True, metavar="PURPOSE", help="A purpose on a legal duty or legal claims."
)
@click.option("--data", multiple=True, metavar="NAME", help="Data it uses; all of it when left out.")
@click.option(
    "--until",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The last day, YYYY-MM-DD.",
)
@click.option("--why", required=True, metavar="TEXT", help="The reason; sealed, and gone at the end.")
@_by
@formats("text", "json")
def set_(
    who: str,
    folder: Path | None,
    purpose: str,
    data: tuple[str, ...],
    until: datetime,
    why: str,
    by: str,
    form: str,
) -> None:
    """Keep data of WHO (kind:key or an identifier), closed to every use but PURPOSE, through DATE."""
    with opened(folder) as company:
        placed.refuse_ground(company.policy, purpose)
        person = _one(company, who)
        made = placed.place(company, person, purpose, data, until.date(), why, by)
        closed, left = _closed_to(company, made), _left_out(company, made)
        shown = _as_json(company, made)
    if form == "json":
        click.echo(json.dumps(shown | {"closed_to": closed, "not_held": left}))
        return
    click.echo(f"{_line(company, made)}")
    if closed:
        click.echo(f"  closed to: {', '.join(closed)}")
    for reason in left:
        click.echo(f"  not held: {reason}")


def _one(company: Company, who: str) -> Person:
    found = resolve(company, [who])
    if found.gone:
        waiting = register.open_of(company, "erase", [person for _, person in found.gone])
        if waiting:
            placed.refuse_too_late(company, next(iter(waiting)))
    if found.wrong:
        raise KeptError(found.wrong[0][1], where="WHO")
    return found.people[0]


def _closed_to(company: Company, made: Placed) -> list[str]:
    """The purposes that used the held data until now."""
    return [
        str(name)
        for name, purpose in company.policy.section("purposes").items()
        if isinstance(purpose, Purpose) and name != made.purpose and set(purpose.uses) & set(made.data)
    ]


def _left_out(company: Company, made: Placed) -> list[str]:
    """Why data that the purpose uses is not held."""
    purpose, person = company.policy.section("purposes")[made.purpose], made.person
    assert isinstance(purpose, Purpose) and person is not None
    reasons = (
        placed.holdable(company, person.kind, str(name)) for name in purpose.uses if name not in made.data
    )
    return [reason for reason in reasons if reason is not None]


@hold.command("list")
@directory
@click.option("--all", "everything", is_flag=True, help="Those that are over too.")
@formats("text", "json")
def list_(folder: Path | None, everything: bool, form: str) -> None:
    """The holds in force, by their ends; names the people, so mind who reads over your shoulder."""
    with opened(folder) as company:
        found = placed.listing(company, everything=everything)
        shown = [_as_json(company, one) for one in found]
    if form == "json":
        click.echo(json.dumps(shown))
        return
    for one in found:
        click.echo(_line(company, one))
        if one.why is not None:
            click.echo(f"  because: {one.why}")
    if not found:
        click.echo("No hold is in force.")


@hold.command("end")
@click.argument("id")
@directory
@_by
def end(id: str, folder: Path | None, by: str) -> None:
    """End a hold before its day; who was erased meanwhile is erased in full now."""
    with at_work(folder) as (company, workflows):
        ended = placed.end(company, id, by)
        result = Desk.at_work(company, workflows).work()
    click.echo(f"{ended.id}  over.")
    if result.problem is not None:
        click.echo(f"not done: {result.problem}", err=True)
        raise SystemExit(1)


def _line(company: Company, one: Placed) -> str:
    last = one.last_day(company.policy)
    who = str(one.person) if one.person is not None else "somebody no longer known"
    state = "over" if one.ended is not None else f"through {last}"
    return f"{one.id}  {who}: {', '.join(one.data)} for `{one.purpose}`, {state}, set by {one.by}"


def _as_json(company: Company, one: Placed) -> dict[str, Any]:
    return {
        "id": one.id,
        "who": str(one.person) if one.person is not None else None,
        "purpose": one.purpose,
        "data": list(one.data),
        "since": one.since.isoformat(),
        "until": one.last_day(company.policy).isoformat(),
        "ended": one.ended.isoformat() if one.ended is not None else None,
        "by": one.by,
        "why": one.why,
    }


COMMANDS = (hold,)
