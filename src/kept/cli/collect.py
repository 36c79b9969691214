"""`kept collect`: what of a form would be taken, to try a policy's steps before an application does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from kept.cli.company import directory, formats, opened
from kept.controls.collection.enforce import Collected, collect, only_source, why
from kept.controls.collection.persons.age import answer
from kept.controls.refused import Refused
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError
from kept.policy.policy import Policy


@click.command(name="collect")
@click.argument("step")
@directory
@click.option("--as", "who", metavar="WHO", help="kind:key of the person or visitor, if there is one yet.")
@click.option("--source", metavar="FROM", help="One of the step's `from`; the only one when left out.")
@click.option("--region", metavar="REGION", help="Where they are, such as fr.")
@click.option("--born", metavar="DATE", help="The answer to the question of age, YYYY-MM-DD; it is not kept.")
@click.option("--guardian", metavar="WHO", help="kind:key of whoever permitted it beforehand.")
@click.option("--signal", "signals", multiple=True, type=click.Choice(["gpc", "device"]), help="A signal.")
@click.option("--evidence", multiple=True, metavar="NEED=WORDS", help="What the step needs: a claim, words.")
@click.option("--role", metavar="ROLE", help="Who enters it, where the step says `by`.")
@click.option("--strict", is_flag=True, help="Refuse what isn't declared, in place of dropping it.")
@formats("text", "json")
def run_collect(
    step: str,
    folder: Path | None,
    who: str | None,
    source: str | None,
    region: str | None,
    born: str | None,
    guardian: str | None,
    signals: tuple[str, ...],
    evidence: tuple[str, ...],
    role: str | None,
    strict: bool,
    form: str,
) -> None:
    """Judge a form, JSON on standard input, by STEP of the policy. Prints names, never what was filled in."""
    given = _read()
    pairs = [one.partition("=") for one in evidence]
    with opened(folder) as company:
        policy = company.policy
        try:
            found = collect(
                company,
                step,
                given,
                source=source if source is not None else only_source(policy, step),
                who=_person(policy, who),
                region=region,
                signals=frozenset(signals),
                strict=strict,
                evidence={need: words for need, _, words in pairs},
                age=answer(company, born, region) if born is not None else None,
                guardian=_person(policy, guardian),
                role=role,
            )
        except Refused as wrong:
            if form == "json":
                click.echo(json.dumps({"taken": None, **why(wrong)}))
            else:
                _refused(wrong)
            sys.exit(1)
    if form == "json":
        click.echo(json.dumps(_as_json(found)))
        return
    _told(found)


def _read() -> dict[str, Any]:
    try:
        given = json.load(sys.stdin)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise KeptError(
            "a form is a JSON object: names of fields and what was filled in", where="standard input"
        )
    return given


def _person(policy: Policy, who: str | None) -> Person | None:
    if who is None:
        return None
    kind, colon, key = who.partition(":")
    if not colon or not key or policy.root(kind) is None:
        raise KeptError("a person is written kind:key here", where="WHO")
    return person_of(policy, who)


def _as_json(found: Collected) -> dict[str, Any]:
    return {
        "taken": {table: list(columns) for table, columns in found.taken.items()},
        "source": found.source,
        "clause": list(found.clause),
        "dropped": dict(found.dropped),
        "optional_missing": list(found.optional_missing),
        "blotted": list(found.blotted),
        "unseen": list(found.unseen),
    }


def _told(found: Collected) -> None:
    said = f" ({', '.join(found.clause)})" if found.clause else ""
    click.echo(f"taken by `{found.step}`, from {found.source}{said}:")
    for table, columns in found.taken.items():
        click.echo(f"  {table}: {', '.join(columns)}")
    for name, reason in found.dropped.items():
        click.echo(f"dropped: {name}, {reason}")
    for name in found.optional_missing:
        click.echo(f"not given, and needn't be: {name}")
    for name in found.blotted:
        click.echo(f"a card number was blotted out in {name}")
    for name in found.unseen:
        click.echo(f"nobody can look into {name}")


def _refused(wrong: Refused) -> None:
    said = f" ({', '.join(wrong.clause)})" if wrong.clause else ""
    click.echo(f"refused, {wrong.reason}: {wrong.message}{said}")
    if wrong.help:
        click.echo(f"  help: {wrong.help}")


COMMANDS = (run_collect,)
