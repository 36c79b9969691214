"""`kept choice`, `kept may`, `kept audience`: what people chose, what that allows now, and who may be written to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import click

from kept.cli.company import declared, directory, formats, opened
from kept.company import Company
from kept.controls.choices.messages import confirm, preferences
from kept.controls.choices.messages.audience import audience as everybody
from kept.controls.choices.records import notices
from kept.controls.choices.records.answers import WITH
from kept.controls.choices.records.book import New
from kept.controls.choices.records.history import Event, history
from kept.controls.choices.records.receipt import receipt
from kept.controls.purposes.enforce import Gate
from kept.controls.rights import addresses
from kept.controls.rights.people import Person, person_of, resolve
from kept.errors import KeptError, TransientError
from kept.policy import words as policy_words

AT_ONCE: Final = 1000


@click.group()
def choice() -> None:
    """What people can switch: how it stands, what they were asked, and a page on which they switch it themselves."""


@choice.command("show")
@click.argument("who")
@directory
@formats("text", "json")
def show(who: str, folder: Path | None, form: str) -> None:
    """Everything WHO (kind:key or an identifier) ever chose, oldest first, with what did not count."""
    with opened(folder) as company:
        events = history(company, _anybody(company, who))
    if form == "json":
        click.echo(json.dumps([event.as_json() for event in events]))
        return
    rows = [_row(event) for event in events]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not events:
        click.echo("Nothing was ever chosen.")


@choice.command("set")
@click.argument("who")
@click.argument("name", metavar="CHOICE")
@click.argument("answer", type=click.Choice(["yes", "no"]))
@directory
@click.option("--words", metavar="TEXT", help="What they were asked, word for word; needed for a yes.")
@click.option("--by", required=True, metavar="NAME", help="Who writes it down, or agrees for a party.")
@click.option("--scope", default="", metavar="SCOPE", help="The channel or purpose, where each is chosen.")
@click.option("--as", "party", metavar="PARTY", help="A party's own agreement, beside that of WHO.")
@click.option("--guardian", metavar="WHO", help="The guardian who answers for WHO.")
@click.option("--language", default="en", show_default=True, help="In which they were asked.")
@click.option("--region", metavar="REGION", help="Where they are, as the policy file writes it.")
def set_(
    who: str,
    name: str,
    answer: Literal["yes", "no"],
    folder: Path | None,
    words: str | None,
    by: str,
    scope: str,
    party: str | None,
    guardian: str | None,
    language: str,
    region: str | None,
) -> None:
    """Record what WHO said to somebody of the staff about CHOICE; of a double opt-in the letter goes out."""
    if answer == "yes" and not words:
        raise KeptError("a yes is to something", help='say what they were asked: --words "…"')
    if party is not None and scope:
        raise KeptError("a party agrees to the whole choice", help="leave out --scope or --as")
    if region is not None and region not in policy_words.regions():
        raise KeptError("no such region is known", where="--region")
    with opened(folder) as company:
        person = _one(company, who)
        notice = None
        if name not in company.policy.section("choices"):
            known = ", ".join(company.policy.section("choices"))
            raise KeptError("the policy has no such choice", help=f"known: {known}", where="CHOICE")
        if words:
            shown = notices.of_words(company.policy, words, choices=[name], language=language, region=region)
            notice = notices.keep(company, shown)
        asked = confirm.ask(
            company,
            New(
                person,
                name,
                answer,
                "staff",
                scope if party is None else f"{WITH}{party}",
                notice=notice,
                region=region,
                by=by,
                decider=_one(company, guardian) if guardian is not None else None,
            ),
            language=language,
        )
    for one in asked.recorded:
        about = f"{name} ({one.new.scope})" if one.new.scope else name
        click.echo(
            f"{about}: {one.state}{'' if one.took else ', which changes nothing'}, record {one.record}"
        )
    if asked.written:
        click.echo("It counts once they have opened the link in the letter that is on its way to them.")
    elif asked.why_not is not None:
        click.echo(f"No letter asks them to confirm it: {asked.why_not}.", err=True)
        raise SystemExit(1)


@choice.command("receipt")
@click.argument("record")
@directory
def receipt_(record: str, folder: Path | None) -> None:
    """Print the receipt of RECORD, which its person may keep, and `kept verify` checks."""
    with opened(folder) as company:
        click.echo(receipt(company, record), nl=False)  # a line end would be a changed byte


@choice.command("link")
@click.argument("who")
@directory
def link(who: str, folder: Path | None) -> None:
    """The address of WHO's own page of choices, to be put at the end of a letter to them and nobody else."""
    with opened(folder) as company:
        page = preferences.page_of(company, _one(company, who))
    if page is None:
        raise KeptError("no pages are served", help="set KEPT_PUBLIC_URL")
    click.echo(page)


@click.command()
@click.argument("purpose")
@click.argument("who", required=False)
@directory
@click.option(
    "--data", "names", metavar="DATA", multiple=True, help="Only this of the purpose's data; again for more."
)
@click.option(
    "--by", metavar="ROLE[:KEY]", help="Who asks: `engineer:4`, `user:17` for themselves, or a link's end."
)
@click.option(
    "--case", "case", metavar="CASE", help="Their reason: a row of a link (`error:81`), or `case:ID`."
)
@click.option(
    "--group", type=int, metavar="N", help="In place of WHO: how many people an answer about groups counts."
)
@click.option("--evidence", metavar="NAME=WORDS", multiple=True, help="What the purpose needs, in words.")
@click.option("--channel", metavar="CHANNEL", help="Through which something is sent, such as email.")
@formats("text", "json")
def may(
    purpose: str,
    who: str | None,
    folder: Path | None,
    names: tuple[str, ...],
    by: str | None,
    case: str | None,
    group: int | None,
    evidence: tuple[str, ...],
    channel: str | None,
    form: str,
) -> None:
    """Whether PURPOSE may use WHO's data now, of it which columns, and why not; exits with 1 if not. Nothing is noted
    as sent or looked at."""
    if who is None and group is None:
        raise KeptError("nobody is named", help="name WHO, or --group N for groups", where="WHO")
    said = dict(_said(one) for one in evidence)
    with opened(folder) as company:
        declared(company, purpose, "PURPOSE")
        decision = Gate.of(company).decide(
            purpose,
            names or None,
            person=_one(company, who) if who is not None else None,
            by=by,
            case=case,
            group=group,
            channel=channel,
            evidence=said,
        )
    if decision.unsure:
        raise TransientError(decision.reason)
    if form == "json":
        told = {"allowed": decision.allowed, "reason": decision.reason, "clause": list(decision.clause)}
        more = {"rule": decision.rule or None, "fields": dict(decision.fields), "floor": decision.floor}
        click.echo(json.dumps(told | {"choice": decision.choice} | more))
    else:
        clause = f" ({', '.join(decision.clause)})" if decision.clause else ""
        click.echo(f"{'yes' if decision.allowed else 'no'}: {decision.reason}{clause}")
        width = max(map(len, decision.fields), default=0)
        for field, how in decision.fields.items():
            click.echo(f"  {field.ljust(width)}  {how}")
    if not decision.allowed:
        raise SystemExit(1)


def _said(one: str) -> tuple[str, str]:
    name, equals, words = one.partition("=")
    if not equals or name not in policy_words.NEEDS:
        known = ", ".join(policy_words.NEEDS)
        raise KeptError("evidence is a name and words", help=f"NAME=WORDS, of {known}", where="--evidence")
    return name, words


@click.command()
@click.argument("purpose")
@directory
@click.option("--channel", metavar="CHANNEL", help="Through which they are written to, such as email.")
@click.option(
    "--addresses", "with_address", is_flag=True, help="The e-mail address beside each, after a tab."
)
def audience(purpose: str, folder: Path | None, channel: str | None, with_address: bool) -> None:
    """Everybody whom PURPOSE may use the data of, or write to, now: one kind:key a line."""
    with opened(folder) as company:
        declared(company, purpose, "PURPOSE")
        for part in _parts(everybody(company, purpose, channel)):
            known = addresses.of(company, part) if with_address else {}
            for person in part:
                if not with_address:
                    click.echo(str(person))
                elif person in known:
                    click.echo(f"{person}\t{known[person]}")


def _parts(people: Iterator[Person]) -> Iterator[list[Person]]:
    while part := list(islice(people, AT_ONCE)):
        yield part


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


def _row(event: Event) -> tuple[str, ...]:
    about = f"{event.choice} {event.scope}" if event.scope else event.choice
    by = f"by {event.by}" if event.by is not None else ""
    counted = "" if event.took else "did not count"
    return f"{event.at:%Y-%m-%d %H:%M:%S}", about, event.answer, event.state, event.way, by, counted


COMMANDS = (choice, may, audience)
