"""`kept disclose`: hand a party what the policy says it gets; `kept disclosures`: what went to whom so far."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from kept.cli.company import directory, formats, opened
from kept.company import Company
from kept.controls.disclosure import register
from kept.controls.disclosure.enforce import Disclosed, Way, decisions, planned
from kept.controls.disclosure.enforce import disclose as give
from kept.controls.disclosure.register import Row
from kept.controls.refused import Refused
from kept.controls.rights.people import Person, is_missing, person_of, resolve
from kept.errors import KeptError


@click.command()
@click.argument("recipient")
@click.argument("whos", metavar="WHO…", nargs=-1, required=True)
@directory
@click.option("--for", "purpose", metavar="PURPOSE", help="What it is for.")
@click.option(
    "--data", multiple=True, metavar="NAME", help="Data it is given; all that is declared when left out."
)
@click.option(
    "--evidence", multiple=True, metavar="WORD=TEXT", help="What is needed: document=TEXT, reason=TEXT …"
)
@click.option("--by", metavar="ROLE:KEY", help="Who gives it, such as support:4.")
@click.option("--case", metavar="CASE", help="The reason: LINK:KEY, or case:ID of `kept case`.")
@click.option("--key", metavar="TEXT", help="Yours: the same disclosure again is one.")
@click.option("--dry-run", is_flag=True, help="Say what would be given of whom; nothing is read or written.")
@formats("json", "text")
def disclose(
    recipient: str,
    whos: tuple[str, ...],
    folder: Path | None,
    purpose: str | None,
    data: tuple[str, ...],
    evidence: tuple[str, ...],
    by: str | None,
    case: str | None,
    key: str | None,
    dry_run: bool,
    form: str,
) -> None:
    """Read what RECIPIENT gets of WHO (kind:key, an identifier, or @FILE of many), put it on the register, print it.

    Exits with 1 where it is refused, or some of the people are.
    """
    said = dict(_pair(one) for one in evidence)
    with opened(folder) as company:
        try:
            people = _people(company, whos)
            if dry_run:
                way = planned(company, recipient, purpose=purpose, data=data or None, evidence=said, by=by)
                refused = decisions(company, way, people, by=by, case=case, evidence=said)
                _show_plan(way, people, {str(who): one.reason for who, one in refused.items()}, form)
            else:
                done = give(
                    company,
                    recipient,
                    people,
                    purpose=purpose,
                    data=data or None,
                    by=by,
                    case=case,
                    evidence=said,
                    key=key,
                )
                refused = done.refused
                _show(done, form)
        except Refused as wrong:
            clause = f" ({', '.join(wrong.clause)})" if wrong.clause else ""
            click.echo(f"refused, {wrong.reason}: {wrong.message}{clause}", err=True)
            if wrong.help:
                click.echo(f"  help: {wrong.help}", err=True)
            raise SystemExit(1) from None
    if refused:
        raise SystemExit(1)


@click.command()
@directory
@click.option("--to", metavar="RECIPIENT", help="To one party.")
@click.option("--of", "who", metavar="WHO", help="Of one person (kind:key or an identifier).")
@click.option("--since", metavar="DATE", help="From a day on: 2026-03-01.")
@click.option("--evidence", is_flag=True, help="With what was said as evidence, opened.")
@formats("text", "json")
def disclosures(
    folder: Path | None, to: str | None, who: str | None, since: str | None, evidence: bool, form: str
) -> None:
    """What was given to whom, oldest first: the register. People stand in it under pseudonyms."""
    with opened(folder) as company:
        if to is not None and not register.is_recipient(company, to):
            known = ", ".join(map(str, company.policy.parties))
            raise KeptError("no such recipient", help=f"known: {known}", where="--to")
        of, missing = None, False
        if who is not None:
            person = _anybody(company, who)
            of, missing = list(company.pseudonyms.find([str(person)]).values()), is_missing(company, person)
        rows = list(register.rows(company, to=to, of=of, since=_day(since), evidence=evidence))
    if form == "json":
        click.echo(json.dumps([row.as_json() for row in rows], ensure_ascii=False))
        return
    cells = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        click.echo("Nothing was given.")
    if missing:
        click.echo("Nobody with that key is there now.")


def as_json(done: Disclosed) -> dict[str, Any]:
    """What was disclosed, for programs; with the values, which are what the recipient gets."""
    return {
        "id": done.id,
        "disclosure": done.disclosure,
        "recipient": done.recipient,
        "purpose": done.purpose,
        "safeguard": done.safeguard,
        "clause": list(done.clause),
        "again": done.again,
        "columns": list(done.columns),
        "stripped": list(done.stripped),
        "records": {str(who): dict(record) for who, record in done.records.items()},
        "refused": {str(who): one.reason for who, one in done.refused.items()},
    }


def _show(done: Disclosed, form: str) -> None:
    if form == "json":
        click.echo(json.dumps(as_json(done), ensure_ascii=False, default=str))
        return
    for who, record in done.records.items():
        click.echo(f"{who}: {json.dumps(dict(record), ensure_ascii=False, default=str)}")
    given = "was given before" if done.again else "is on the register"
    click.echo(f"{done.disclosure}: to {done.recipient}, for {done.purpose}; {given} as {done.id}.", err=True)
    _refusals({str(who): one.reason for who, one in done.refused.items()})


def _show_plan(way: Way, people: Iterable[Person], refused: Mapping[str, str], form: str) -> None:
    given = [str(who) for who in people if str(who) not in refused]
    name = str(way.disclosure.name)
    if form == "json":
        told = {"disclosure": name, "data": list(way.data), "people": given, "refused": dict(refused)}
        click.echo(json.dumps(told))
        return
    click.echo(f"{name} would give {', '.join(way.data)} of {len(given)} people to {way.party.name}.")
    _refusals(refused)


def _refusals(refused: Mapping[str, str]) -> None:
    for why, number in Counter(refused.values()).items():
        click.echo(f"not given of {number}: {why}", err=True)


def _cells(row: Row) -> tuple[str, ...]:
    whom = row.pseudonym[:12] if row.pseudonym else f"{row.people} people"
    said = "" if row.evidence is None else "; ".join(f"{word}: {text}" for word, text in row.evidence.items())
    told = (
        f"{row.at:%Y-%m-%d %H:%M}",
        row.recipient,
        row.purpose,
        row.ground,
        row.safeguard or "",
        whom,
        row.way,
    )
    return tuple(_plain(cell) for cell in (*told, " ".join(row.fields), said))


def _plain(text: str) -> str:
    """Text as it may stand on a terminal, where control characters do something."""
    return "".join(one if one.isprintable() else " " for one in text)


def _people(company: Company, whos: tuple[str, ...]) -> list[Person]:
    named = [one for who in whos for one in _named(who)]
    found = resolve(company, named)
    if found.wrong:
        place, why = found.wrong[0]
        raise KeptError(f"{why}; nothing was given", where=f"WHO {place}")
    return list(found.people)


def _named(who: str) -> list[str]:
    if not who.startswith("@"):
        return [who]
    try:
        text = sys.stdin.read() if who == "@-" else Path(who[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise KeptError(f"the file can't be read ({type(wrong).__name__})", help="one WHO a line") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _anybody(company: Company, who: str) -> Person:
    """Somebody who needn't stand in the company's database any more: a kind and key are enough."""
    kind, colon, key = who.partition(":")
    root = company.policy.root(kind) if colon else None
    if root is not None and key:
        return person_of(company.policy, f"{root.name}:{key}")
    found = resolve(company, [who])
    if found.wrong:
        raise KeptError(found.wrong[0][1], where="--of")
    return found.people[0]


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise KeptError("that is no day", help="write it as 2026-03-01", where="--since") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _pair(text: str) -> tuple[str, str]:
    word, equals, said = text.partition("=")
    if not equals:
        raise KeptError("evidence is written WORD=TEXT", where="--evidence")
    return word, said


COMMANDS = (disclose, disclosures)
