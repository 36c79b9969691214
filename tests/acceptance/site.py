"""SiteLucent with Kept's state beside it, in SQLite or all in one PostgreSQL: copied whole, run, and looked at."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from examples.sitelucent.generate import build
from tests.acceptance import forked
from tests.acceptance.postbox import Postbox

Row = tuple[Any, ...]
TABLES = {
    "users": "id",
    "memberships": "user_id",
    "usage_events": "user_id",
    "errors": "user_id",
    "tickets": "user_id",
}
TABLES |= {"set_ups": "user_id"}  # whose each row is, by column
IMPERSONAL = ("companies", "plans", "migrations")
PASSING = ("at", "request", "batch", "person", "by")  # what differs from one run to the next on the ledger
WAITS = ("within: at once, confirmed-by: support", "waits: 10 days")


@dataclass(frozen=True)
class Site:
    """The company in a folder; `url` is the PostgreSQL database that holds both its rows and Kept's state."""

    folder: Path
    url: str | None = None

    @classmethod
    def made(
        cls,
        folder: Path,
        url: str | None,
        people: int,
        post: Postbox,
        *,
        waits: bool = False,
        events: int = 5,
    ) -> Site:
        """Built anew, with letters that go to `post`; with `waits` a person may come back for ten days."""
        build(folder, people, 3, url=url, events_per_person=events)
        post.used_by(folder)
        if url is not None:
            with (folder / ".env").open("a") as settings:
                settings.write(f"KEPT_STATE_URL={url}\n")
        if waits:
            policy = folder / "policy.yaml"
            assert WAITS[0] in policy.read_text()
            policy.write_text(policy.read_text().replace(*WAITS))
        return cls(folder, url)

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Site]:
        """All of it once more, in a folder and a database of its own; gone when the block ends."""
        shutil.copytree(self.folder, folder)
        if self.url is None:
            yield Site(folder)
            shutil.rmtree(folder)
            return
        old = self.url.partition("?")[0].rpartition("/")[2]
        new = f"copy_{uuid.uuid4().hex[:12]}"
        url = self.url.replace(f"/{old}?", f"/{new}?")
        with psycopg.connect(self.url.replace(f"/{old}?", "/postgres?"), autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{new}" TEMPLATE "{old}"')
            settings = folder / ".env"
            settings.write_text(settings.read_text().replace(self.url, url))
            yield Site(folder, url)
            server.execute(f'DROP DATABASE "{new}" WITH (FORCE)')
        shutil.rmtree(folder)

    # Running.

    def kept(self, *arguments: str) -> int:
        """Run a command to its end; its exit code."""
        return forked.ended(forked.start(self.folder, *arguments))

    def crash(self, spot: str, number: int, *arguments: str) -> bool:
        """Run a command and kill it at a spot; False when it ended by itself before."""
        code = forked.ended(forked.start(self.folder, *arguments, spot=spot, number=number))
        assert code in (0, 1, -9), forked.said(self.folder)
        return code == -9

    def finish(self) -> None:
        """Work until nothing is left to do by itself; a killed worker's locks may outlive it for a moment."""
        for _ in range(20):
            code = self.kept("work")
            if (
                code == 0
                and not self.state("SELECT id FROM requests WHERE awaits IN ('work', 'clean')")
                and self.posted()
            ):
                return
        raise AssertionError(forked.said(self.folder))

    def posted(self) -> bool:
        """Whether every letter is sent; one that a killed process had in hand is taken again, as if time had passed."""
        self.change("UPDATE letters SET next_at = '2020-01-01T00:00:00+00:00' WHERE state <> 'sent'")
        return self.state("SELECT id FROM letters WHERE state <> 'sent'") == []

    # Looking.

    @contextmanager
    def reading(self, file: str) -> Iterator[Any]:
        """One snapshot of a database."""
        if self.url is not None:
            with psycopg.connect(self.url) as server:
                server.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                yield server
        else:
            with closing(sqlite3.connect(self.folder / file, timeout=30)) as database:
                database.execute("BEGIN")
                yield database

    def state(self, query: str) -> list[Row]:
        """Ask Kept's own state; nothing stands in it before it was first opened."""
        with self.reading("kept.sqlite") as database:
            return [tuple(row) for row in database.execute(query).fetchall()]

    def change(self, statement: str) -> None:
        """Change Kept's own state, as time would."""
        if self.url is not None:
            with psycopg.connect(self.url) as server:
                server.execute(statement)
        else:
            with closing(sqlite3.connect(self.folder / "kept.sqlite", timeout=30)) as database:
                database.execute(statement)
                database.commit()

    def entries(self) -> list[dict[str, Any]]:
        """What stands on the ledger."""
        with self.reading("ledger.sqlite") as database:
            rows = database.execute("SELECT body FROM entries ORDER BY position").fetchall()
        return [json.loads(bytes(body)) for (body,) in rows]

    def people(self) -> dict[int, Counter[str]]:
        """Every row about each user, in one snapshot; users of whom nothing stands there are left out."""
        found: dict[int, Counter[str]] = {}
        with self.reading("app.sqlite") as database:
            for table, column in TABLES.items():
                cursor = database.execute(f"SELECT * FROM {table}")
                names = [one[0] for one in cursor.description]
                at = names.index(column)
                for row in cursor.fetchall():
                    found.setdefault(row[at], Counter())[f"{table} {tuple(map(str, row))}"] += 1
        return found

    def impersonal(self) -> list[str]:
        """What stands in the tables that are about nobody."""
        with self.reading("app.sqlite") as database:
            return sorted(
                f"{table} {tuple(map(str, row))}"
                for table in IMPERSONAL
                for row in database.execute(f"SELECT * FROM {table}").fetchall()
            )

    def answers(self) -> list[str]:
        """The files in the folder of answers."""
        folder = self.folder / "answers"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def outcome(self) -> Mapping[str, object]:
        """All that requests have done, but for names and times: two runs that did the same are equal."""
        requests = self.state("SELECT verb, state, awaits, outcome FROM requests")
        events = self.state(
            "SELECT verb, number, what FROM events JOIN requests ON requests.id = events.request"
        )
        letters = self.state("SELECT what, state, CASE WHEN sealed IS NULL THEN 0 ELSE 1 END FROM letters")
        said = self.state("SELECT verb, scope, CASE WHEN ended IS NULL THEN 0 ELSE 1 END FROM instructions")
        entries = [
            json.dumps({k: v for k, v in one.items() if k not in PASSING}, sort_keys=True)
            for one in self.entries()
        ]
        return {
            "people": self.people(),
            "impersonal": self.impersonal(),
            "requests": sorted(map(repr, requests)),
            "events": sorted(map(repr, events)),
            "letters": sorted(map(repr, letters)),
            "instructions": sorted(map(repr, said)),
            "entries": sorted(entries),
            "answers": Counter(name.rpartition(".")[2] for name in self.answers()),
            "rooms": self.state("SELECT count(*) FROM room_keys"),  # of a room there may be two of the same
            "left": self.left(),
        }

    def left(self) -> dict[str, list[Row]]:
        """What must be empty whenever nothing is under way: what was sealed for requests that are over."""
        is_over = "state <> 'open'"
        asked = {
            "sealed subjects": f"SELECT id FROM requests WHERE {is_over} AND subject IS NOT NULL",
            "acts still open": "SELECT id FROM acts WHERE ended IS NULL AND id NOT IN"
            " (SELECT act FROM requests WHERE state = 'open' AND act IS NOT NULL)",
            "sealed acts": "SELECT id FROM acts WHERE ended IS NOT NULL AND detail IS NOT NULL",
            "rooms": f"SELECT request FROM rooms WHERE request IN (SELECT id FROM requests WHERE {is_over})",
            "keys": f"SELECT request FROM room_keys WHERE request IN (SELECT id FROM requests WHERE {is_over})",
        }
        found = {what: self.state(query) for what, query in asked.items()}
        found["parts"] = [(name,) for name in self.answers() if not name.endswith(".zip")]
        return {what: rows for what, rows in found.items() if rows}
