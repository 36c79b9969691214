"""`kept check`, `kept map`, `kept page`: what stands in the policy file, and whether the database agrees."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from kept import company
from kept.cli.company import directory, file, formats, place
from kept.cli.maps import map_as_json, map_as_text
from kept.controls import registry
from kept.datamap.drift import drift
from kept.datamap.graph import build_map
from kept.datamap.live import check_live
from kept.errors import KeptError, StoreError
from kept.policy.page import page as make_page
from kept.policy.report import report
from kept.policy.source import Problem, Source
from kept.policy.words import regions


@click.command()
@file
@directory
@click.option("--offline", is_flag=True, help="Read the file only; don't open any store.")
@formats("text", "json")
def check(file: Path | None, folder: Path | None, offline: bool, form: str) -> None:
    """Read a policy file: errors, contradictions, gaps. Exits with 1 on any error."""
    folder, path = place(folder, file)
    policy, source, problems = registry.examine(path, today=datetime.now(UTC).date())
    if policy is not None and not problems.errors and not offline:
        with company.stores_of(policy, folder) as stores:
            check_live(policy, stores.sql, stores.unreachable, problems)
    if form == "json":
        click.echo(json.dumps([_as_json(problem, source) for problem in problems.in_order()], indent=1))
    else:
        click.echo(report(source, problems), nl=False)
    raise SystemExit(1 if problems.errors else 0)


@click.command(name="map")
@file
@directory
@formats("text", "json")
def show_map(file: Path | None, folder: Path | None, form: str) -> None:
    """Show where each person's data live, and where file and database differ. Exits with 1 on drift."""
    folder, path = place(folder, file)
    policy = registry.load(path)
    with company.stores_of(policy, folder) as stores:
        schemas = {}
        for name, store in stores.sql.items():
            try:
                schemas[name] = store.schema()
            except StoreError as wrong:
                stores.unreachable[name] = wrong.message
        found = build_map(policy, schemas)
        differences = drift(policy, schemas, stores.sql)
    if form == "json":
        click.echo(json.dumps(map_as_json(found, differences, stores.unreachable), indent=1))
    else:
        click.echo(map_as_text(found, differences, stores.unreachable))
    raise SystemExit(1 if differences else 0)


@click.command()
@file
@directory
@formats("md", "html", "json")
@click.option("--region", help="The page as a reader in this region sees it, such as eea or us-ca.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
def page(file: Path | None, folder: Path | None, form: str, region: str | None, output: Path | None) -> None:
    """Put the policy into words."""
    if region is not None and region not in regions():
        raise KeptError(
            "that is not a region", help="write eea, uk, or an ISO 3166 code in small letters such as us-ca"
        )
    policy = registry.load(place(folder, file)[1])
    shown = make_page(policy, partial(registry.sentence, policy), datetime.now(UTC).date(), region)
    text = {"md": shown.markdown, "html": shown.html, "json": shown.json}[form]()
    if output is not None:
        try:
            output.write_text(text, "utf-8")
        except OSError as wrong:
            raise KeptError(
                f"can't be written: {wrong.strerror or type(wrong).__name__}",
                help="name a file in a folder that is there",
                where=str(output),
            ) from None
    else:
        click.echo(text, nl=False)


def _as_json(problem: Problem, source: Source) -> dict[str, object]:
    return {
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        "help": problem.help,
        "law": problem.law,
        "file": source.path,
        "line": problem.span.line,
        "column": problem.span.column,
    }


COMMANDS = (check, show_map, page)
