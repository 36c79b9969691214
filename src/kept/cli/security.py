"""`kept seal`, `kept access-review`: sealed columns and their keys, and who has access that nobody uses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import click

from kept.cli.company import directory, formats, opened
from kept.controls.security import access
from kept.controls.security.sealing import resealing
from kept.controls.security.sealing.resealing import Resealed
from kept.errors import KeptError
from kept.evidence import attestations


@click.group()
def seal() -> None:
    """Columns the policy seals: seal what stands open, and change their keys while applications go on."""


@seal.command("apply")
@click.argument("store")
@directory
@formats("text", "json")
def apply(store: str, folder: Path | None, form: str) -> None:
    """Seal every value of STORE's sealed columns that stands open. Exits with 1 where one can't be opened or sealed."""
    with opened(folder) as company:
        found = resealing.apply(company, store, _progress)
    _told(found, form)


@seal.command("rotate")
@click.argument("store")
@directory
@click.option(
    "--grace",
    type=click.IntRange(min=0),
    default=int(resealing.GRACE.total_seconds() // 60),
    show_default=True,
    metavar="MINUTES",
    help="How long the old key stays for transactions that were begun before; 0 where no application is at work.",
)
@formats("text", "json")
def rotate(store: str, folder: Path | None, grace: int, form: str) -> None:
    """Seal all of STORE anew with a new key, then destroy the old one.

    Stopped or killed, the same command goes on. Exits with 1 while an old key is left: run it again when it says.
    """
    with opened(folder) as company:
        found = resealing.rotate(company, store, grace=timedelta(minutes=grace), progress=_progress)
    _told(found, form)


def _progress(field: str, rows: int) -> None:
    if rows and rows % (20 * resealing.BATCH) == 0:
        click.echo(f"{field}: {rows} …", err=True)


def _told(found: Resealed, form: str) -> None:
    spoilt = sum(found.spoilt.values())
    if form == "json":
        due = found.due.isoformat(timespec="seconds") if found.waiting and found.due else None
        told = {"sealed": dict(found.values), "spoilt": dict(found.spoilt)}
        click.echo(
            json.dumps(
                told | {"destroyed": list(found.destroyed), "waiting": list(found.waiting), "due": due}
            )
        )
    else:
        for field, number in found.values.items():
            rest = f", {found.spoilt[field]} can't be opened" if found.spoilt.get(field) else ""
            click.echo(f"{field}: {number} sealed{rest}")
        if found.destroyed:
            click.echo(f"Destroyed: key {', '.join(map(str, found.destroyed))}.")
        if found.waiting and spoilt:
            click.echo(
                "The old key stays: what can't be opened was altered or moved from elsewhere; mend or empty it."
            )
        elif found.waiting and found.due:
            click.echo(f"The old key stays until {found.due:%Y-%m-%d %H:%M} UTC; run this again then.")
    if spoilt or found.waiting:
        raise SystemExit(1)


@click.command("access-review")
@directory
@click.option("--days", type=click.IntRange(min=1), default=access.UNUSED.days, show_default=True)
@click.option("--name", metavar="NAME", help="Who reviewed it; noted on the ledger that it was done.")
@click.option(
    "--promise", metavar="ID", help="The promise this confirms, such as security.reviews; needs --name."
)
@formats("table", "json")
def access_review(folder: Path | None, days: int, name: str | None, promise: str | None, form: str) -> None:
    """List who has access, and which of it nobody used: the kinds of staff, and the log-ins of each database."""
    if promise is not None and name is None:
        raise click.UsageError("--promise needs --name: somebody confirms it")
    if name is not None and not name.strip():
        raise KeptError("somebody reviews it, by name", where="--name")
    within = timedelta(days=days)
    with opened(folder) as company:
        found, now, until = access.review(company), company.clock(), None
        if name is not None:
            access.note(company, found, within)
        if promise is not None and name is not None:
            until = attestations.attest(company.state, company.ledger, company.policy, promise, name, now)
    if form == "json":
        roles = [role.as_json(now, within) for role in found.roles]
        click.echo(json.dumps({"roles": roles, "gaps": list(found.gaps)}))
        return
    rows = [("", "where", "role", "last seen", "may")]
    for role in found.roles:
        last = f"{role.last:%Y-%m-%d}" if role.last else "never seen"
        unused = {True: "unused", False: "", None: "unknown"}[role.is_unused(now, within)]
        rows.append((unused, role.where, role.role, last, role.may))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for note in dict.fromkeys((*(f"{r.role}: {r.gap}" for r in found.roles if r.gap), *found.gaps)):
        click.echo(f"not seen: {note}")
    if name is not None:
        click.echo(f"Access was reviewed by {name}: noted on the ledger, without the name.")
    if until is not None:
        click.echo(f"Confirmed until {until:%Y-%m-%d}.")


COMMANDS = (seal, access_review)
