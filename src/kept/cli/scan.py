"""`kept scan`: what a site really sets and whom it reaches, in a real browser, against the policy file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kept.cli.company import directory, formats, opened
from kept.controls.collection.browser import scan as scanning
from kept.controls.collection.browser.scan import Scan
from kept.controls.collection.browser.sites import PHASES
from kept.errors import KeptError
from kept.policy import words


@click.command()
@click.argument("what", metavar="[STORE|URL]", required=False)
@directory
@click.option(
    "--pages",
    type=click.IntRange(1, 50),
    default=scanning.PAGES,
    show_default=True,
    help="How many pages to open, the first one and those of the same site that it links to.",
)
@formats("table", "json")
def scan(what: str | None, folder: Path | None, pages: int, form: str) -> None:
    """Look at a site in a real browser: before any choice, after a no, after a yes, after a yes was withdrawn.

    STORE is one of kind `browser`; all of them where it is left out. What is found there is on the board for a day. Of
    a URL nothing is kept. Exits with 1 where something is set or reached that the policy doesn't allow, or where not
    everything could be looked at.
    """
    with opened(folder) as company:
        if what is not None and "://" in what:
            done = [scanning.scan_url(company.policy, what, pages=pages)]
        else:
            stores = [what] if what is not None else scanning.browser_stores(company.policy)
            if not stores:
                raise KeptError("the policy has no store of kind `browser`", help="name a URL to look at")
            done = [scanning.scan(company, store, pages=pages) for store in stores]
    if form == "json":
        click.echo(json.dumps([one.as_json() for one in done], indent=1))
    else:
        for one in done:
            show(one)
    raise SystemExit(1 if any(one.findings or one.gaps for one in done) else 0)


def show(done: Scan) -> None:
    """Print a scan for people."""
    click.echo(
        f"{done.store or done.address}: {'Kept’s banner asks' if done.banner else 'no banner of Kept’s'}"
    )
    for visit in done.visits:
        if not visit.pages:
            continue
        where = words.region_name(visit.region) if visit.region else "anywhere"
        click.echo(f"  {PHASES[visit.phase]}, {where} ({visit.pages} pages)")
        for what, names in (("cookies", visit.cookies), ("stored", visit.storage), ("reached", visit.hosts)):
            click.echo(f"    {what}: {', '.join(names) or '–'}")
    for finding in done.findings:
        click.echo(f"  not allowed: {finding}")
    for gap in done.gaps:
        click.echo(f"  not looked at: {gap}")


COMMANDS = (scan,)
