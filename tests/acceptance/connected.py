"""Example companies whose stores are all there: databases, folders, HubSpot's stand-in, localstripe."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kept import company
from kept.cli.main import main
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights.desk import Desk
from kept.state import workflows
from kept.testing.hubspot import TOKEN, HubSpot
from tests.acceptance.company import Ran, SiteLucent
from tests.contract.records.worlds import CARD, KEY, StripeWorld

Row = Mapping[str, Any]
Rows = dict[tuple[object, ...], Row]
"""The rows of a table by their keys."""


@dataclass(frozen=True)
class Everything:
    """All that a company holds about anybody, wherever it stands."""

    tables: Mapping[str, Rows]
    files: Mapping[str, bytes]
    hubspot: Mapping[str, Any]
    stripe: Mapping[str, Any]


@dataclass(frozen=True)
class Connected(SiteLucent):
    """A company in a folder, with the servers that stand in for other companies' services."""

    hubspot: HubSpot | None = None
    stripe: StripeWorld | None = None

    def run(self, *arguments: str) -> Ran:
        """The same as `kept`, in this process: the whole command, without the second it takes to start."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("KEPT_DIR", str(self.folder))
            patch.setenv("COLUMNS", "200")
            patch.delenv("APP_DATABASE_URL", raising=False)
            patch.setattr(sys, "argv", ["kept", *arguments])
            try:
                main()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Ran(code, out.getvalue(), err.getvalue())

    def set(self, **settings: str) -> None:
        """Put settings into the company's `.env`."""
        with (self.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def databases(self) -> dict[str, Path]:
        """The company's own databases, by store."""
        own = {"app", "shop", "crm", "client"}
        return {path.stem: path for path in sorted(self.folder.glob("*.sqlite")) if path.stem in own}

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the company's own database, the first where it has two."""
        files = self.databases()
        with closing(sqlite3.connect(files.get("crm") or next(iter(files.values())))) as database:
            return database.execute(query, values).fetchall()

    def change(self, statement: str, *values: object) -> None:
        files = self.databases()
        with closing(sqlite3.connect(files.get("crm") or next(iter(files.values())))) as database, database:
            database.execute(statement, values)

    def everything(self) -> Everything:
        tables: dict[str, Rows] = {}
        for store, path in self.databases().items():
            with closing(sqlite3.connect(path)) as database:
                for name in _names(database):
                    tables[f"{store}.{name}"] = _rows(database, name)
        folders = [self.folder / "uploads", self.folder / "calls"]
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return Everything(tables, files, self._hubspot(), self._stripe())

    def _hubspot(self) -> dict[str, Any]:
        if self.hubspot is None:
            return {}
        return {
            f"{table} {record.id}": (dict(record.properties), sorted(record.tied))
            for table, records in self.hubspot.objects.items()
            for record in records.values()
            if not record.archived
        }

    def _stripe(self) -> dict[str, Any]:
        if self.stripe is None:
            return {}
        found: dict[str, Any] = {}
        for customer in self._listed("/v1/customers"):
            methods = self._listed("/v1/payment_methods", customer=customer["id"], type="card")
            found[customer["id"]] = {
                "customer": customer,
                "cards": sorted(one["id"] for one in methods),
            }
        for charge in self._listed("/v1/charges"):
            found[charge["id"]] = charge
        return found

    def _listed(self, path: str, **query: str) -> list[dict[str, Any]]:
        assert self.stripe is not None
        answer = self.stripe.http.get(path, params={"limit": "1000", **query})
        answer.raise_for_status()
        listed: list[dict[str, Any]] = answer.json()["data"]
        return listed

    def customers(self, email: str) -> list[str]:
        """The ids of Stripe's customers with an address."""
        return [one["id"] for one in self._listed("/v1/customers") if one["email"] == email]

    @contextmanager
    def at(self, after: timedelta) -> Iterator[Desk]:
        """The desk so much later, with everything that works there."""
        with (
            company.opened(
                load(self.folder / "policy.yaml"), self.folder, lambda: datetime.now(UTC) + after
            ) as later,
            workflows.opened(later.workflows, kinds(later)) as running,
        ):
            yield Desk.at_work(later, running)


def _names(database: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
    return [name for (name,) in database.execute(query)]


def _rows(database: sqlite3.Connection, table: str) -> Rows:
    columns = list(database.execute(f"PRAGMA table_info({table})"))
    key = [c[1] for c in sorted(columns, key=lambda c: c[5]) if c[5]]
    names = [c[1] for c in columns]
    rows = [dict(zip(names, row, strict=True)) for row in database.execute(f"SELECT * FROM {table}")]
    return {tuple(row[column] for column in key): row for row in rows}


def references(path: Path) -> dict[str, list[tuple[str, str, str]]]:
    """The foreign keys of each table: column, the table it refers to, the column there."""
    with closing(sqlite3.connect(path)) as database:
        return {
            name: [(key[3], key[2], key[4]) for key in database.execute(f"PRAGMA foreign_key_list({name})")]
            for name in _names(database)
        }


def hangs_on(before: Everything, path: Path, root: str, person: tuple[object, ...]) -> set[tuple[str, Any]]:
    """Every row that hangs on a person, along foreign keys alone: an answer of its own to whose a row is."""
    keys, store = references(path), path.stem
    found = {(root, person)}
    grown = True
    while grown:
        size = len(found)
        for table, refers in keys.items():
            for key, row in before.tables[f"{store}.{table}"].items():
                for column, to, to_column in refers:
                    target = [
                        k
                        for k, r in before.tables[f"{store}.{to}"].items()
                        if row[column] is not None and r[to_column] == row[column]
                    ]
                    if target and (to, target[0]) in found:
                        found.add((table, key))
        grown = len(found) > size
    return found


def others_changed(
    before: Everything, after: Everything, path: Path, root: str, person: tuple[object, ...]
) -> list[str]:
    """What became different in rows that don't hang on a person, but for references to rows that are gone."""
    theirs, keys, store = hangs_on(before, path, root, person), references(path), path.stem
    wrong = []
    for name, rows in before.tables.items():
        home, _, table = name.partition(".")
        refers = {column: (to, to_column) for column, to, to_column in keys.get(table, [])}
        for key, row in rows.items():
            if home == store and (table, key) in theirs:
                continue
            now = after.tables[name].get(key)
            if now is None:
                wrong.append(f"{name}: a row is gone")
                continue
            for column, value in row.items():
                if now[column] == value:
                    continue
                to, to_column = refers.get(column, ("", ""))
                still = to and any(r[to_column] == value for r in after.tables[f"{store}.{to}"].values())
                if now[column] is not None or not to or still:
                    wrong.append(f"{name}.{column} changed")
    return wrong


@contextmanager
def with_hubspot(made: SiteLucent) -> Iterator[Connected]:
    """A company whose `crm.json` stands in a HubSpot."""
    hubspot = HubSpot()
    hubspot.load(json.loads((made.folder / "crm.json").read_text("utf-8")))
    with hubspot:
        connected = Connected(made.folder, hubspot=hubspot)
        connected.set(HUBSPOT_TOKEN=hubspot.address.replace("://", f"://{TOKEN}@"))
        yield connected


@contextmanager
def with_stripe(made: SiteLucent, address: str) -> Iterator[Connected]:
    """A company whose `stripe.json` stands in an empty localstripe; the ids are localstripe's own."""
    world = StripeWorld(address)
    with world.server, world.http:
        world.http.delete("/_config/data")
        _load(world, json.loads((made.folder / "stripe.json").read_text("utf-8")))
        connected = Connected(made.folder, stripe=world)
        connected.set(STRIPE_KEY=world.server.address.replace("://", f"://{KEY}@"))
        yield connected
        world.store.dispose()


def _load(world: StripeWorld, held: Mapping[str, Any]) -> None:
    ids: dict[str, str] = {}
    for customer in held["customers"]:
        metadata = {f"metadata[{name}]": value for name, value in customer["metadata"].items()}
        told = {"email": customer["email"], "name": customer["name"]}
        ids[customer["id"]] = world.post("/v1/customers", **told, **metadata)["id"]
    for method in held.get("payment_methods", ()):
        card = world.post("/v1/payment_methods", **{"type": "card", **CARD})["id"]
        world.post(f"/v1/payment_methods/{card}/attach", customer=ids[method["customer"]])
    for charge in held.get("charges", ()):
        world.hang(ids[charge["customer"]], charge["id"])
