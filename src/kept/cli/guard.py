"""`kept guard`: the policy inside PostgreSQL itself, planned, read by eye, applied, taken away again."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import click

from kept.cli.company import directory, formats, opened
from kept.company import Company
from kept.controls.purposes.guard import applying, plan
from kept.controls.purposes.guard.plan import Plan
from kept.errors import KeptError

_store = click.argument("store", required=False)
_by = click.option("--by", metavar="NAME", default=getpass.getuser, show_default="who runs the command")


@click.group()
def guard() -> None:
    """The policy inside PostgreSQL: so that it holds when an application forgets, or somebody opens psql."""


@guard.command("plan")
@_store
@directory
@click.option("--sql", is_flag=True, help="Print the migration alone.")
@formats("text", "json")
def plan_(store: str | None, folder: Path | None, sql: bool, form: str) -> None:
    """Show the migration for STORE, what roles could see and no longer will, and what stays unguarded.

    Exit code 1 where it isn't in place yet. Nothing is changed.
    """
    with opened(folder) as company:
        made = plan.make(company, _chosen(company, store))
        plan.show(company, made)
    if sql:
        click.echo(made.sql())
    elif form == "json":
        click.echo(json.dumps(_told(made)))
    else:
        _show(made)
    raise SystemExit(0 if made.stands else 1)


@guard.command("apply")
@_store
@directory
@_by
@formats("text", "json")
def apply_(store: str | None, folder: Path | None, by: str, form: str) -> None:
    """Carry out the plan that was shown last, in one transaction; refused where anything changed since."""
    with opened(folder) as company:
        name = _chosen(company, store)
        before = plan.recorded(company, name)
        made = applying.apply(company, name, by)
    done = not (made.stands and before is not None)
    if form == "json":
        click.echo(json.dumps({"store": name, "plan": made.digest, "applied": done, "stands": True}))
    elif done:
        many = len(made.statements)
        click.echo(
            f"{name}: the guard stands ({many} statements). `kept serve` carries over what people choose."
        )
    else:
        click.echo(f"{name}: the guard stands already; nothing was changed.")


@guard.command("remove")
@_store
@directory
@_by
@formats("text", "json")
def remove_(store: str | None, folder: Path | None, by: str, form: str) -> None:
    """Take the guard away: rights, policies and roles are as they were before it."""
    with opened(folder) as company:
        name = _chosen(company, store)
        statements = applying.remove(company, name, by)
    if form == "json":
        click.echo(json.dumps({"store": name, "removed": statements > 0}))
    else:
        click.echo(f"{name}: the guard is gone; what stood before it stands again.")


def _chosen(company: Company, store: str | None) -> str:
    if store is not None:
        return store
    able = plan.guardable(company)
    if len(able) == 1:
        return able[0]
    declared = [str(name) for name, one in company.policy.stores.items() if one.roles]
    if not able and len(declared) == 1:
        return declared[0]  # and say why it can't be guarded
    raise KeptError(
        "say which store is meant" if able else "no store of the file has roles",
        help=", ".join(able) if able else "add roles: {role: [purposes]} to a PostgreSQL store",
        where="STORE",
    )


def _told(made: Plan) -> dict[str, Any]:
    return {
        "store": made.store,
        "plan": made.digest,
        "stands": made.stands,
        "replaces": made.replaces,
        "roles_made": list(made.made),
        "statements": list(made.statements),
        "loses": [
            {"role": one.role, "table": one.table, "columns": list(one.columns), "rows": one.rows}
            for one in made.losses
        ],
        "unguarded": list(made.unguarded),
    }


def _show(made: Plan) -> None:
    click.echo(made.sql())
    if made.losses:
        click.echo("What roles can see now, and no longer will:")
    for one in made.losses:
        table = one.table.replace('"', "")
        if one.columns:
            click.echo(f"  {one.role}: {table}: {', '.join(one.columns)}")
        if one.rows:
            click.echo(f"  {one.role}: {table}: of its rows it keeps {one.rows}")
    click.echo("What stays unguarded, and what only the gate can open:")
    for line in made.unguarded:
        click.echo(f"  {line}")
    click.echo()
    if made.stands:
        click.echo(f"It stands. Plan {made.digest[:12]}.")
    else:
        again = "Another guard stands, and goes first. " if made.replaces else ""
        click.echo(
            f"{again}Not applied: `kept guard apply {made.store}` carries it out. Plan {made.digest[:12]}."
        )


COMMANDS = (guard,)
