"""`kept demo`: an example company is built, broken in known ways, shown, mended and shown again."""

from __future__ import annotations

import importlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Protocol

import click

import kept
from kept.cli import demo_site
from kept.cli.board import show
from kept.cli.company import at_work, formats
from kept.company import BEHIND_AN_API, Company
from kept.controls.collection import mend as mending
from kept.controls.registry import load
from kept.controls.retention.enforce import sweep
from kept.controls.security.sealing import resealing
from kept.errors import KeptError
from kept.evidence.board import Board, prove
from kept.state.workflows import Workflows
from kept.testing.hubspot import TOKEN, HubSpot
from kept.testing.postgresql import postgresql


class Example(Protocol):
    """What the module that generates an example company offers."""

    PERSON: str
    """Somebody in it, as a WHO."""

    def build(self, directory: Path, people: int, seed: int, *, url: str | None = None) -> None:
        """Make the folder, with nothing broken but what is not sealed yet; its database in SQLite, or at `url`."""

    def plant(self, directory: Path, seed: int, *, url: str | None = None) -> Mapping[str, str]:
        """Break promises in known ways; returns what was done, by promise id."""

    def mend(self, clear: Callable[[str], object], source: Callable[[str, str], object]) -> None:
        """What the company's people decide once they have seen the board, done through Kept's own commands."""


def examples() -> dict[str, Path]:
    """The example companies that can be built, by name, each with its folder."""
    inside = Path(kept.__file__).parent
    for parent in (inside, inside.parent.parent):
        found = {path.parent.name: path.parent for path in sorted(parent.glob("examples/*/schema.sql"))}
        if found:
            return found
    return {}


def _load(name: str) -> Example:
    found = examples()
    if name not in found:
        raise KeptError(f'there is no example company "{name}" to build', help="known: " + ", ".join(found))
    # The examples stand in the package when installed and beside it in a checkout; either way they load as part of it.
    package = ModuleType("kept.examples")
    package.__path__ = [str(found[name].parent)]
    sys.modules.setdefault(package.__name__, package)
    # A hyphen can't stand in a module's name: what is not in the company's own folder is among the generators.
    own = (found[name] / "generate.py").exists()
    place = f"{name}.generate" if own else f"generators.{name.replace('-', '_')}"
    module: Example = importlib.import_module(f"kept.examples.{place}")
    return module


class Desk(Protocol):
    """What the module `desk` of an example company offers, where its own people do something in the demo."""

    TRY: Sequence[str]
    """Commands that show more of it."""

    def work(self, company: Company) -> Iterator[str]:
        """A day at the desk; a line for each thing that was done."""


def _website(name: str) -> demo_site.Website | None:
    if not (examples()[name] / "website.py").exists():
        return None
    module: demo_site.Website = importlib.import_module(f"kept.examples.{name}.website")
    return module


def _desk(name: str) -> Desk | None:
    if not (examples()[name] / "desk.py").exists():
        return None
    module: Desk = importlib.import_module(f"kept.examples.{name}.desk")
    return module


@click.command()
@click.argument("name", metavar="[COMPANY]", default="sitelucent")
@click.option("--people", type=click.IntRange(1, 5_000_000), default=2000, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the company's files here.  [default: a new folder]",
)
@click.option(
    "--postgresql",
    "server",
    is_flag=True,
    help="Put the company into a PostgreSQL of this machine, for as long as this command runs.",
)
@click.option("--no-enforce", is_flag=True, help="Leave what was planted, to find and mend it yourself.")
@click.option("--serve/--no-serve", default=True, help="Serve the board as a page afterwards.")
@click.option("--scan/--no-scan", "look", default=True, help="Look at the company's site in a real browser.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The page's port.  [default: any free one]"
)
@formats("table", "json")
def demo(
    name: str,
    people: int,
    seed: int,
    folder: Path | None,
    server: bool,
    no_enforce: bool,
    serve: bool,
    look: bool,
    port: int,
    form: str,
) -> None:
    """Build an example company, break promises, show the board, enforce, show it again."""
    example, website = _load(name), _website(name)
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise KeptError(
            "the folder is not empty",
            help="name a new one, so that nothing of yours is touched",
            where=str(folder),
        )
    place = folder if folder is not None else Path(tempfile.mkdtemp(prefix=f"kept-{name}-"))
    say = partial(click.echo, err=form == "json")
    took: dict[str, float] = {}
    say(f"Building {name} with {people} people in {place} …")
    with ExitStack() as stack:
        url = stack.enter_context(postgresql()) if server else None
        with _timed(took, "build"):
            example.build(place, people, seed, url=url)
            if website is not None:
                website.build(place)
        with _timed(took, "plant"):
            planted = dict(example.plant(place, seed, url=url))
            if website is not None:
                planted |= website.plant(place)
        for promise, what in planted.items():
            say(f"  planted against {promise}: {what}")
        if url is not None:
            say("  app: a PostgreSQL of this machine, while this command runs")
        there = stack.enter_context(_standing_in(place, say))
        if website is not None:
            stack.enter_context(demo_site.standing(place, website, say))
        desk = _desk(name)
        done = _shown(example, website, desk, place, say, took, form, no_enforce, look)
        if serve or url is None:
            tries = desk.TRY if desk is not None else ()
            _try_more(place, [example.PERSON, *(there if serve else ())], tries, say)
        if serve:
            _serve(*done, port, say)
    raise SystemExit(1 if done[1].counts["broken"] else 0)


def _shown(
    example: Example,
    website: demo_site.Website | None,
    desk: Desk | None,
    place: Path,
    say: Callable[[str], None],
    took: dict[str, float],
    form: str,
    no_enforce: bool,
    look: bool,
) -> tuple[Board, Board]:
    """The board before and after."""
    with at_work(place) as (company, workflows):
        if website is not None:
            with _timed(took, "live"):
                went = website.live(company)
            say(f"  messages sent: {', '.join(f'{purpose} {number}' for purpose, number in went.items())}")
        look = look and website is not None and demo_site.can_look(say)
        if look:
            with _timed(took, "scan"):
                demo_site.look(company, say)
        with _timed(took, "prove"):
            before = prove(company)
        if form == "table":
            click.echo("\nThe board before:\n")
            show(before)
        if not no_enforce:
            with _timed(took, "enforce"):
                _enforce(company, workflows, example)
                if website is not None:
                    website.mend(place)
                for line in desk.work(company) if desk is not None else ():
                    say(f"  {line}")
            if look:
                with _timed(took, "scan again"):
                    demo_site.look(company, say)
        with _timed(took, "prove again"):
            after = before if no_enforce else prove(company)
        if form == "json":
            click.echo(json.dumps({"before": before.as_json(), "after": after.as_json(), "took": took}))
        elif not no_enforce:
            click.echo("\nEnforced: swept, and mended what only people may decide. The board after:\n")
            show(after)
            _changed(before, after)
    return before, after


def _try_more(place: Path, whos: Sequence[str], tries: Sequence[str], say: Callable[[str], None]) -> None:
    """What to try next, on somebody in the company and on people in a stand-in."""
    say("\nTry more on it:")
    who, *others = whos
    for command in (
        "prove",
        "map",
        "sweep --dry-run",
        *tries,
        f"request access {who}",
        f"request erase {who} --by Eve",
        *(f"request access {other}" for other in others),
    ):
        say(f"  {sys.argv[0]} {command} --dir {place}")


@contextmanager
def _standing_in(place: Path, say: Callable[[str], None]) -> Iterator[list[str]]:
    """A HubSpot of this machine for each store that is one, while the demo runs; answers who stands in it.

    Whatever the environment says: invented people are never looked for in anybody's real account. Of a store that
    nothing stands in for it is said that it isn't connected.
    """
    policy, there = load(place / "policy.yaml"), list[str]()
    with ExitStack() as stack:
        for name, declared in policy.stores.items():
            setting, held = str(declared.address or "").removeprefix("$"), place / "crm.json"
            if declared.sort == "hubspot" and held.exists():
                hubspot = stack.enter_context(HubSpot())
                hubspot.load(json.loads(held.read_text("utf-8")))
                stack.enter_context(
                    demo_site.setting(place, setting, hubspot.address.replace("://", f"://{TOKEN}@"))
                )
                say(
                    f"  {name}: a HubSpot of this machine stands in, with {held.name}, while this command runs"
                )
                first = min(hubspot.objects["contacts"], key=int, default=None)
                there += [
                    f"{kind.name}:{first}"
                    for kind in policy.people.values()
                    if first is not None and str(kind.table) == f"{name}.contacts"
                ]
            elif declared.sort in BEHIND_AN_API and str(declared.address).startswith("$"):
                stack.enter_context(demo_site.setting(place, setting, ""))
                say(
                    f"  {name}: not connected, for nothing stands in for {declared.sort}; who is there gets no answer"
                )
        yield there


def _changed(before: Board, after: Board) -> None:
    """The promises whose verdict is another now."""
    old = {row.promise.id: row.verdict for row in before.rows}
    for row in after.rows:
        if old[row.promise.id] != row.verdict:
            click.echo(f"  {row.promise.id}: {old[row.promise.id]}, and now {row.verdict}")


def _enforce(company: Company, workflows: Workflows, example: Example) -> None:
    sweep(company, workflows)
    for store in resealing.stores(company):
        resealing.apply(company, store)
    example.mend(
        lambda column: mending.clear(company, column),
        lambda table, source: mending.name_source(company, table, source),
    )


@contextmanager
def _timed(took: dict[str, float], what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    took[what] = round(time.monotonic() - began, 3)


def _serve(before: Board, after: Board, port: int, say: Callable[[str], None]) -> None:
    """Serve both boards on 127.0.0.1 until Ctrl-C."""
    import uvicorn  # half a second that no other command should wait for

    from kept.server.app import app

    boards = {"After Kept enforced it": after, "Before": before}
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as wrong:
        raise KeptError(
            f"port {port} can't be used: {wrong.strerror}", help="choose another --port"
        ) from None
    say(f"The board: http://127.0.0.1:{listening.getsockname()[1]}/   (Ctrl-C ends it)")
    config = uvicorn.Config(app(lambda: boards), log_level="warning", lifespan="off")
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


COMMANDS = (demo,)
