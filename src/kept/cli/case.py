"""`kept case`: reasons for one member of staff to look at one person, opened, listed and closed by name."""

from __future__ import annotations

import getpass
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from kept.cli.company import directory, formats, opened
from kept.controls.purposes.cases import opening
from kept.controls.purposes.cases.opening import Kept
from kept.controls.rights.people import resolve
from kept.errors import KeptError
from kept.policy.expressions import Malformed, read_period

UNITS: Final = ("hours", "days", "weeks")
PERIODS: Final = f"hours, days or weeks, up to {opening.LONGEST.days} days: `3 days`"

_by = click.option("--by", metavar="NAME", default=getpass.getuser, show_default="who runs the command")


@click.group()
def case() -> None:
    """Reasons to look at one person: for whom on the staff, why, and until when."""


@case.command("open")
@click.argument("link")
@click.argument("who")
@directory
@click.option("--for", "staff", required=True, metavar="ROLE:KEY", help="Whose it is, such as engineer:4.")
@click.option("--why", required=True, metavar="TEXT", help="The reason; sealed, and gone at the end.")
@click.option("--ticket", metavar="LINK:KEY", help="A row it is over with, such as ticket:12.")
@click.option("--until", default="2 days", show_default=True, metavar="PERIOD", help="At most 30 days.")
@_by
@formats("text", "json")
def open_(
    link: str,
    who: str,
    folder: Path | None,
    staff: str,
    why: str,
    ticket: str | None,
    until: str,
    by: str,
    form: str,
) -> None:
    """Open a case of LINK about WHO (kind:key or an identifier), for one member of staff."""
    lasts = _lasts(until)
    with opened(folder) as company:
        opening.end_due(company)
        found = resolve(company, [who])
        if found.wrong:
            raise KeptError(found.wrong[0][1], where="WHO")
        made = opening.open_case(company, link, found.people[0], staff, why, by, ticket=ticket, lasts=lasts)
    if form == "json":
        click.echo(json.dumps(as_json(made)))
    else:
        click.echo(_line(made))


@case.command("close")
@click.argument("id")
@directory
@_by
def close(id: str, folder: Path | None, by: str) -> None:
    """Close a case before its end, by its id or how that begins."""
    with opened(folder) as company:
        closed = opening.close(company, id.removeprefix(f"{opening.KEPT}:"), by)
    click.echo(f"{closed.case}  over.")


@case.command("list")
@directory
@click.option("--all", "everything", is_flag=True, help="Those that are over too.")
@formats("text", "json")
def list_(folder: Path | None, everything: bool, form: str) -> None:
    """The open cases that Kept keeps, by their ends; names the people, so mind who reads over your shoulder."""
    with opened(folder) as company:
        opening.end_due(company)
        found = opening.listing(company, everything=everything)
    if form == "json":
        click.echo(json.dumps([as_json(one) for one in found]))
        return
    for one in found:
        click.echo(_line(one))
        if one.why is not None:
            click.echo(f"  because: {one.why}")
    if not found:
        click.echo("No case is open here; those that stand in your own tables aren't listed.")


def as_json(one: Kept) -> dict[str, Any]:
    """A case for programs."""
    return {
        "case": one.case,
        "link": one.link,
        "who": str(one.person) if one.person is not None else None,
        "for": f"{one.role}:{one.staff}",
        "ticket": one.ticket,
        "why": one.why,
        "opened": one.opened.isoformat(),
        "opened_by": one.opened_by,
        "until": one.until.isoformat(),
        "closed": one.closed.isoformat() if one.closed is not None else None,
        "closed_by": one.closed_by,
    }


def _lasts(text: str) -> timedelta:
    try:
        period = read_period(text)
    except Malformed:
        raise KeptError("that is no period", help=PERIODS, where="--until") from None
    if period.unit not in UNITS or not period.amount:
        raise KeptError("a case is open for a time", help=PERIODS, where="--until")
    return timedelta(**{period.unit: period.amount})


def _line(one: Kept) -> str:
    who = str(one.person) if one.person is not None else "somebody no longer named"
    state = f"over, by {one.closed_by}" if one.closed is not None else f"until {one.until:%Y-%m-%d %H:%M} UTC"
    tied = f", with {one.ticket}" if one.ticket is not None else ""
    return (
        f"{one.case}  {one.link}: {who} for {one.role}:{one.staff}, {state}{tied}, opened by {one.opened_by}"
    )


COMMANDS = (case,)
