"""`kept groups`: answers about groups of people, and files of rows without anybody in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

import click

from kept.cli.company import declared, directory, formats, opened
from kept.controls.disclosure.exports.export import Export, Exported, export
from kept.controls.purposes.groups.asked import Answer, answer
from kept.controls.purposes.groups.question import Every, Measure, Noise, Question
from kept.errors import KeptError

DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("purpose")
@click.argument("data")
@directory
@click.option(
    "--to", "recipient", required=True, metavar="NAME", help="Who gets the answer; it is on record."
)
@click.option("--count", type=click.Choice(["people", "rows"]), help="How many of them there are.")
@click.option("--sum", "sum_", metavar="COLUMN", help="A column added up.")
@click.option("--mean", metavar="COLUMN", help="A column's mean.")
@click.option(
    "--by", "names", multiple=True, metavar="COLUMN", help="A column, a link, or `time`; up to two."
)
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only these groups.")
@click.option(
    "--every",
    type=click.Choice(["day", "week", "month", "whole"]),
    default="month",
    show_default=True,
    help="How time is cut into stretches; each is counted once, for good.",
)
@click.option("--since", type=DAY, metavar="DAY", help="The first day; the last stretch alone when left out.")
@click.option("--until", type=DAY, metavar="DAY", help="The day after the last.")
@click.option("--table", metavar="TABLE", help="Which, of data that stands in several.")
@click.option("--as", "by", metavar="ROLE:KEY", help="Who asks, where the purpose is for some of the staff.")
@click.option("--epsilon", type=float, help="Noise is added, and so much of the recipient's budget spent.")
@click.option("--cells", type=int, default=1, show_default=True, help="With noise: groups one person is in.")
@click.option(
    "--rows", type=int, default=1, show_default=True, help="With noise: rows of one person in each."
)
@click.option("--least", type=float, default=0.0, help="With noise: the least one person adds to a sum.")
@click.option("--most", type=float, default=0.0, help="With noise: the most one person adds to a sum.")
@click.option(
    "--export",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write rows with the columns of --by, made coarse and checked, to this file instead.",
)
@formats("text", "json")
def groups(
    purpose: str,
    data: str,
    folder: Path | None,
    recipient: str,
    count: Measure | None,
    sum_: str | None,
    mean: str | None,
    names: tuple[str, ...],
    where: tuple[str, ...],
    every: Every,
    since: datetime | None,
    until: datetime | None,
    table: str | None,
    by: str | None,
    epsilon: float | None,
    cells: int,
    rows: int,
    least: float,
    most: float,
    file: Path | None,
    form: str,
) -> None:
    """Figures about groups of people in DATA that PURPOSE uses: never about fewer than its floor, nor worked out from
    two answers. Groups that are too small are left out, of sums too, and their number is told."""
    figures = [one for one in (count, sum_, mean) if one is not None]
    if len(figures) > 1 or (file is not None and (figures or where or epsilon is not None)):
        raise KeptError("one figure at a time, or an export", help="leave out all but one")
    first, last = _day(since), _day(until)
    with opened(folder) as company:
        declared(company, purpose, "PURPOSE")
        if file is not None:
            wanted = Export(
                purpose=purpose, data=data, columns=names, every=every, since=first, until=last, table=table
            )
            _print_export(export(company, wanted, file, recipient, by=by), form)
            return
        measure: Measure = "sum" if sum_ is not None else "mean" if mean is not None else count or "people"
        noise = (
            Noise(epsilon=epsilon, cells=cells, rows=rows, least=least, most=most)
            if epsilon is not None
            else None
        )
        question = Question(
            purpose=purpose,
            data=data,
            measure=measure,
            column=sum_ or mean,
            by=names,
            where=_where(where),
            every=every,
            since=first,
            until=last,
            table=table,
            noise=noise,
        )
        _print(answer(company, question, recipient, by=by), measure, form)


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment is not None else None


def _where(given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise KeptError("a group is named COLUMN=VALUE", where="--where")
        found[name] = (*found.get(name, ()), value)
    return found


def _print(found: Answer, measure: str, form: str) -> None:
    if form == "json":
        click.echo(json.dumps(found.as_json()))
        return
    rows = [("since", *found.by, measure)]
    for group in found.groups:
        value = (
            "(too small)"
            if group.value is None
            else f"{group.value:g}"
            if group.value % 1
            else f"{group.value:.0f}"
        )
        labels = ("(none)" if label is None else label for label in group.labels)
        rows.append((str(group.since or ""), *labels, value))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if found.small:
        click.echo(
            f"{found.small} more groups are too small to be told (fewer than {found.floor} people, or nearly all of"
            " it one person's), and are in no figure above."
        )
    if found.epsilon is not None:
        click.echo(f"Noise was added, of epsilon {found.epsilon:g} in all.")


def _print_export(found: Exported, form: str) -> None:
    if form == "json":
        told = {"rows": found.rows, "combinations": found.combinations, "left_out": found.left_out}
        click.echo(json.dumps(told | {"columns": found.columns, "floor": found.floor}))
        return
    columns = ", ".join(
        f"{name} (bands of {width})" if width else name for name, width in found.columns.items()
    )
    click.echo(
        f"{found.rows} rows in {found.combinations} combinations of at least {found.floor} people each; "
        f"{found.left_out} smaller combinations are left out. Columns: {columns or 'the time alone'}."
    )


COMMANDS = (groups,)
