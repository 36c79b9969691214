"""`kept look`: one person's data for a member of staff, in a case; and who looked at somebody."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click

from kept.cli.company import declared, directory, formats, opened
from kept.company import Company
from kept.controls.purposes.cases import recorded
from kept.controls.purposes.cases.looks import Look
from kept.controls.purposes.cases.looks import look as look_at
from kept.controls.purposes.cases.recorded import Seen
from kept.controls.rights.people import Person, is_missing, person_of, resolve
from kept.errors import KeptError, TransientError


@click.command()
@click.argument("who")
@directory
@click.option("--for", "purpose", metavar="PURPOSE", help="What it is for.")
@click.option("--data", multiple=True, metavar="NAME", help="Data it uses; all of it when left out.")
@click.option("--by", metavar="ROLE:KEY", help="Who looks, such as engineer:4.")
@click.option("--case", metavar="CASE", help="The reason: LINK:KEY, or case:ID of `kept case`.")
@click.option("--evidence", multiple=True, metavar="WORD=TEXT", help="What the purpose `needs`: reason=TEXT.")
@click.option("--of", "listed", is_flag=True, help="Show nothing of WHO but who looked at them.")
@formats("text", "json")
def look(
    who: str,
    folder: Path | None,
    purpose: str | None,
    data: tuple[str, ...],
    by: str | None,
    case: str | None,
    evidence: tuple[str, ...],
    listed: bool,
    form: str,
) -> None:
    """Show data of WHO (kind:key or an identifier) to a member of staff; on record first. Exits with 1 if refused."""
    with opened(folder) as company:
        if listed:
            _list(company, who, form)
            return
        if purpose is None:
            raise KeptError("a look is for a purpose", help="name it: --for PURPOSE, or ask with --of")
        declared(company, purpose, "--for")
        if case is not None and not all(case.partition(":")):
            raise KeptError("a case is written `error:81` or `case:ID`", where="--case")
        said = dict(_pair(one) for one in evidence)
        seen = look_at(company, purpose, data or None, _one(company, who), by=by, case=case, evidence=said)
    decision = seen.decision
    if decision.unsure:
        raise TransientError(decision.reason)
    if form == "json":
        click.echo(json.dumps(as_json(seen), default=_plain))
    elif not decision.allowed:
        clause = f" ({', '.join(decision.clause)})" if decision.clause else ""
        click.echo(f"no: {decision.reason}{clause}")
    else:
        _show(seen)
    if not decision.allowed:
        raise SystemExit(1)


def as_json(seen: Look) -> dict[str, Any]:
    """A look for programs."""
    decision = seen.decision
    return {
        "allowed": decision.allowed,
        "reason": decision.reason,
        "rule": decision.rule,
        "clause": list(decision.clause),
        "look": seen.id,
        "rows": {place: [dict(row) for row in rows] for place, rows in seen.rows.items()},
        "left_out": seen.left_out,
        "elsewhere": list(seen.elsewhere),
        "undated": list(seen.undated),
    }


def _show(seen: Look) -> None:
    for place, rows in seen.rows.items():
        click.echo(place)
        _table([{column: _plain(value) for column, value in row.items()} for row in rows])
    if not seen.rows:
        click.echo("There is nothing of theirs.")
    if seen.left_out:
        click.echo(f"{seen.left_out} rows are past their limit, and left out.")
    if seen.undated:
        click.echo(f"Which rows are past their limit can't be told: {', '.join(seen.undated)}")
    if seen.elsewhere:
        click.echo(f"Not read from here: {', '.join(seen.elsewhere)}")
    click.echo(f"On record as {seen.id}.")


def _table(rows: Sequence[Mapping[str, str]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        told = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(f"  {told}".rstrip())


def _plain(value: object) -> str:
    """A value as a line of a terminal shows it, which it must not steer."""
    if value is None:
        return ""
    if isinstance(value, bytes | memoryview):
        return f"{len(bytes(value))} bytes"
    text = value.isoformat() if isinstance(value, date) else str(value)
    return "".join(one if one.isprintable() else " " for one in text)


def _list(company: Company, who: str, form: str) -> None:
    person = _anybody(company, who)
    found = recorded.of(company, [person])
    looks = [one for seen in found.values() for one in seen]
    if form == "json":
        click.echo(json.dumps([_seen(one) for one in looks]))
        return
    for one in looks:
        reason = f" in {one.case}" if one.case is not None else ""
        click.echo(
            f"{one.at:%Y-%m-%d %H:%M:%S}  {one.role}:{one.staff} for {one.purpose}{reason}: {_fields(one)}"
        )
    if not looks:
        click.echo("Nobody looked at them.")
    if is_missing(company, person):
        click.echo("Nobody with that key is there now.")


def _fields(one: Seen) -> str:
    return ", ".join(f"{field} (masked)" if field in one.masked else field for field in one.fields)


def _seen(one: Seen) -> dict[str, Any]:
    return {
        "look": one.id,
        "at": one.at.isoformat(),
        "purpose": one.purpose,
        "case": one.case,
        "by": f"{one.role}:{one.staff}",
        "fields": list(one.fields),
        "masked": list(one.masked),
    }


def _pair(text: str) -> tuple[str, str]:
    word, equals, said = text.partition("=")
    if not equals:
        raise KeptError("evidence is written WORD=TEXT", where="--evidence")
    return word, said


def _one(company: Company, who: str) -> Person:
    found = resolve(company, [who])
    if found.wrong:
        raise KeptError(found.wrong[0][1], where="WHO")
    return found.people[0]


def _anybody(company: Company, who: str) -> Person:
    """Somebody who needn't stand in the company's database any more: a kind and key are enough."""
    kind, colon, key = who.partition(":")
    root = company.policy.root(kind) if colon else None
    return person_of(company.policy, f"{root.name}:{key}") if root is not None and key else _one(company, who)


COMMANDS = (look,)
