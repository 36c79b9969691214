"""Asking as people and staff do, on example companies with their stores connected, through the command line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.company import SiteLucent
from tests.acceptance.connected import Connected, with_hubspot, with_stripe
from tests.acceptance.test_companies import COMPANIES

PEOPLE, SEED = 12, 3
LARGER = {"sitelucent": 60}  # so that there are three leads
LEAVING = timedelta(days=31)  # longer than the marketplace's waiting period

Joining = Callable[[str], Connected]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SiteLucent]:
    """Every company, as built. Tests work on a copy."""
    found = {}
    for name, module in COMPANIES.items():
        folder = tmp_path_factory.mktemp(name)
        module.build(folder, LARGER.get(name, PEOPLE), SEED)
        found[name] = SiteLucent(folder)
    return found


@pytest.fixture
def joined(built: dict[str, SiteLucent], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Joining]:
    """Makes a copy of a company with its stores connected."""
    with ExitStack() as stack:

        def make(name: str) -> Connected:
            made = built[name].copied(tmp_path / name)
            if (made.folder / "crm.json").exists():
                return stack.enter_context(with_hubspot(made))
            if (made.folder / "stripe.json").exists():
                return stack.enter_context(with_stripe(made, request.getfixturevalue("stripe_address")))
            return Connected(made.folder)

        yield make


def named(company: Connected, who: str, table: str | None) -> str:
    """A WHO; of visitors the first there is."""
    if who != "visitor":
        return who
    assert table is not None
    [(visitor,)] = company.sql(f"SELECT min(visitor_id) FROM {table.partition('.')[2]}")
    return f"visitor:{visitor}"


def asked(company: Connected, verb: str, who: str, *more: str) -> dict[str, Any]:
    """A request that came in, as `kept request` tells of it."""
    ran = company.run("request", verb, who, *more, "--format", "json")
    assert ran.code == 0, (verb, who, ran.err)
    told: dict[str, Any] = ran.json()
    assert told["problem"] is None and told["people"] == 1
    return told


def shown(company: Connected, request: str) -> dict[str, Any]:
    ran = company.run("request", "show", request, "--format", "json")
    assert ran.code == 0, ran.err
    told: dict[str, Any] = ran.json()
    return told


def tasks(company: Connected) -> dict[str, str]:
    """The open tasks: id and what the line says."""
    lines = company.run("task", "list").out.splitlines()
    return {id: text for id, _, text in (line.partition("  ") for line in lines) if text}


def by_hand(company: Connected) -> list[str]:
    """Members of staff do every task; what the tasks were."""
    found = tasks(company)
    for id in found:
        ran = company.run("task", "done", id, "--by", "Ines")
        assert ran.code == 0, ran.err
    return list(found.values())


def finished(company: Connected, verb: str, who: str, *more: str) -> dict[str, Any]:
    """A request, and what staff have to do for it; how it ended."""
    told = asked(company, verb, who, *more)
    [request] = told["requests"]
    if told["state"] == "open":
        assert told["awaits"] == ["tasks"], told
        assert by_hand(company)
    ended = shown(company, request)
    assert ended["state"] == "done" and ended["awaits"] is None, ended
    return ended


def zipped(company: Connected, request: str) -> dict[str, bytes]:
    with zipfile.ZipFile(company.folder / "answers" / f"{request}.zip") as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def data(files: dict[str, bytes]) -> Any:
    return json.loads(files["data.json"])["data"]


def held(files: dict[str, bytes], name: str, table: str) -> list[dict[str, Any]]:
    """The rows of some data in an answer."""
    rows: list[dict[str, Any]] = data(files)[name]["held"].get(table, [])
    return rows


def erased(company: Connected, who: str) -> dict[str, Any]:
    """An erasure to its end: validated, waited for, done by hand where it has to be."""
    told = asked(company, "erase", who)
    [request] = told["requests"]
    if told["awaits"] == ["confirmation"]:
        ran = company.run("request", "confirm", request, "--by", "Ines")
        assert ran.code == 0, ran.err
    if shown(company, request)["awaits"] == "period":
        with company.at(LEAVING) as desk:
            assert desk.work().problem is None
    if shown(company, request)["awaits"] == "tasks":
        by_hand(company)
    ended = shown(company, request)
    assert ended["state"] == "done" and ended["outcome"]["remains"] == 0, ended
    return ended
