"""`kept consents`: what people chose, as consent records that other systems read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from kept.cli.company import directory, formats, opened
from kept.company import Company
from kept.controls.choices.records import dpv, iso27560
from kept.controls.rights.people import Person, person_of, resolve
from kept.errors import KeptError


@click.command()
@click.argument("who", required=False)
@formats("json", "dpv")
@directory
def consents(who: str | None, form: str, folder: Path | None) -> None:
    """Print every consent record of WHO (kind:key, or an identifier such as an address), or of everybody.

    `json` has the fields of ISO/IEC TS 27560 and the GDPR; `dpv` is JSON-LD in the Data Privacy Vocabulary 2.3. People
    are pseudonyms in both.
    """
    with opened(folder) as company:
        records = iso27560.export(company, None if who is None else [_named(company, who)])
        if form == "json":
            _list("[", records, "]")
        else:
            context = json.dumps(dict(dpv.CONTEXT))
            _list(f'{{"@context": {context}, "@graph": [', map(dpv.node, records), "]}")


def _list(begin: str, values: Iterable[Mapping[str, Any]], end: str) -> None:
    """Print values one a line as they come, so that nobody's memory is the limit."""
    click.echo(begin)
    comma = ""
    for value in values:
        click.echo(comma + json.dumps(value, ensure_ascii=False), nl=False)
        comma = ",\n"
    click.echo(("\n" if comma else "") + end)


def _named(company: Company, who: str) -> Person:
    """Whom WHO means; one that names a kind and key need not be in the company's database any more."""
    kind, colon, key = who.partition(":")
    root = company.policy.root(kind) if colon else None
    if root is not None and key:
        return person_of(company.policy, f"{root.name}:{key}")
    found = resolve(company, [who])
    if found.wrong:
        raise KeptError(f"WHO: {found.wrong[0][1]}")
    return found.people[0]


COMMANDS = (consents,)
