"""A company in which people decide about people: shops that are renamed, posts that are hidden, accounts that end."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from kept.cli.company import at_work
from kept.company import Company, opened
from kept.controls.purposes.decisions import carrying, deciding, queue
from kept.controls.registry import load
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.stores.opening import open_store
from tests.acceptance.company import SiteLucent

POLICY: Final = """\
kept: 1
policy: Bazaar
version: 2026-03-01
laws: [gdpr]
parties:
  bazaar: {role: us, name: Bazaar, authority: eea, contacts: {privacy: {email: privacy@bazaar.example}}}
stores:
  app: {at: $APP_DATABASE_URL, region: eea}
people:
  member: {in: app.members, key: id, known-by: {email: email}, began: joined_at, ended: left_at}
  trust:  {is: staff}
  sales:  {is: staff}
links:
  report:
    in: app.reports
    between: {author: member at author_id, moderator: trust at staff_id}
    began: opened_at
    ended: closed_at
  firm: {in: app.firms, between: {admin: member at admin_id, user: member at user_id}}
data:
  account:   {of: member, in: {app.members: {email: email, joined_at: recorded}}}
  shop-name: {of: member, in: {app.shops: {name: username}}}
  rank:      {of: member, in: {app.shops: {stars: behaviour}}}
  posts:     {of: member, in: {app.posts: {body: free-text, at: recorded}}}
purposes:
  sign-in:    {uses: account, ground: contract}
  renaming:   {sets: shop-name, ground: contract, by: trust, needs: asked, tells: member}
  ranking:    {sets: [rank, shop-name], ground: contract}
  endorsing:  {sets: rank, ground: contract, by: [member, firm.admin]}
  moderating: {sets: posts, ground: legitimate-interest, interest: keeping hatred out, case: report, needs: reason,
               tells: [member, firm.admin]}
  closing:    {sets: member.ended, ground: contract, by: [member, trust, firm.admin], needs: reason, tells: member}
  alone:      {never: machine-alone}
rights:
  correct: {}
  erase: {}
"""

SCHEMA: Final = (
    "CREATE TABLE members (id INTEGER PRIMARY KEY, email VARCHAR(200), joined_at {time}, left_at {time})",
    "CREATE TABLE shops (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id),"
    " name VARCHAR(200) UNIQUE, stars {number})",
    "CREATE TABLE posts (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), body VARCHAR(200),"
    " at {time})",
    "CREATE TABLE reports (id INTEGER PRIMARY KEY, author_id INTEGER REFERENCES members (id), staff_id INTEGER,"
    " opened_at {time}, closed_at {time})",
    "CREATE TABLE firms (id INTEGER PRIMARY KEY, admin_id INTEGER REFERENCES members (id),"
    " user_id INTEGER REFERENCES members (id))",
    *(
        f"INSERT INTO members VALUES ({id}, 'm{id}@mail.example', '2025-01-01 00:00:00', NULL)"
        for id in range(1, 7)
    ),
    *(f"INSERT INTO shops VALUES ({id}, {id}, 'Shop {id}', {id})" for id in range(1, 7)),
    "INSERT INTO posts VALUES (11, 1, 'a kind word', '2026-01-01 00:00:00'), (12, 1, 'hatred', '2026-01-01 00:00:00'),"
    " (21, 2, 'of another', '2026-01-01 00:00:00')",
    "INSERT INTO reports VALUES (81, 1, 4, '2026-05-30 10:00:00', NULL), (82, 2, 4, '2026-05-30 10:00:00', NULL),"
    " (83, 1, 5, '2026-05-30 10:00:00', NULL), (84, 1, 4, '2026-05-01 10:00:00', '2026-05-02 10:00:00')",
    "INSERT INTO firms VALUES (1, 3, 4), (2, 3, 5)",
)

ASKED: Final = {"asked": "they wrote on paper"}
NAME: Final = "app.shops.name"


@dataclass(frozen=True)
class Bazaar(SiteLucent):
    """The company in a folder, its database on whatever `url` names."""

    url: str = ""

    @contextmanager
    def opened(self) -> Iterator[Company]:
        with opened(load(self.folder / "policy.yaml"), self.folder) as company:
            yield company

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        store = open_store("app", self.url, self.folder)
        with store.read() as connection:
            found = [tuple(row) for row in connection.execute(sa.text(query))]
        store.dispose()
        return found

    def do(self, statement: str, *values: object) -> None:
        store = open_store("app", self.url, self.folder)
        with store.engine.begin() as connection:
            connection.execute(sa.text(statement.replace(":", r"\:")))
        store.dispose()

    def state(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask or change Kept's own database, as nobody should."""
        with closing(sqlite3.connect(self.folder / "kept.sqlite")) as database:
            found = database.execute(statement, values).fetchall()
            database.commit()
        return found

    def name(self, id: int) -> Any:
        [(name,)] = self.ask(f"SELECT name FROM shops WHERE member_id = {id}")
        return name

    def killed(self, spot: str, number: int, *arguments: str) -> bool:
        """Run `kept` and kill it at the place (see deciding_crashes.py); False when it ended by itself before."""
        ran = self.kept(
            spot, str(number), "--", *arguments, program=("-m", "tests.acceptance.deciding_crashes")
        )
        assert ran.code in (0, -signal.SIGKILL), ran.err
        return ran.code == -signal.SIGKILL

    def proofs(self, name: str) -> list[dict[str, Any]]:
        told = self.kept("prove", "--format", "json").json()
        [row] = [row for row in told["promises"] if row["id"] == f"purposes.{name}"]
        proofs = row["proofs"]
        assert isinstance(proofs, list)
        return proofs


def bazaar(folder: Path, url: str | None = None) -> Bazaar:
    """Make the company; `url` is an empty database's address, else it is a file of its own."""
    folder.mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY)
    if url is None:
        (folder / "app.sqlite").touch()
    url = url or f"sqlite:///{folder / 'app.sqlite'}"
    (folder / ".env").write_text(f"APP_DATABASE_URL={url}\n")
    sort = "TEXT" if url.startswith("sqlite") else "TIMESTAMP NULL"
    made = Bazaar(folder, url)
    store = open_store("app", url, folder)
    with store.engine.begin() as connection:
        for one in SCHEMA:
            said = one.format(time=sort, number="NUMERIC(10, 2)") if one.startswith("CREATE") else one
            connection.execute(sa.text(said.replace(":", r"\:")))
    store.dispose()
    return made


def member(id: int) -> Person:
    return Person("member", (str(id),))


def renaming(company: Company, id: int = 1, name: str = "Lamps", by: str = "shop page") -> str:
    """A proposal that somebody's shop bears another name."""
    return queue.propose(company, "renaming", member(id), {NAME: name}, by=by, evidence=ASKED)


def decide(
    company: Company, id: str, answer: deciding.Answer = "yes", role: str = "trust:4", by: str = "Robin Reed"
) -> queue.Proposal:
    return deciding.decide(company, id, answer, role, by, "They showed their papers.")


def carried(made: Bazaar, *ids: str) -> list[str | None]:
    """Carry decisions out, as `kept decide` does; what went wrong with each."""
    with at_work(made.folder) as (company, workflows):
        return [carrying.carry(company, workflows, id) for id in ids]


def finished(made: Bazaar) -> None:
    """Go on with whatever was cut off, and send the letters, as `kept work` does."""
    with at_work(made.folder) as (company, workflows):
        assert carrying.carry_on(company, workflows) == []
        Desk.at_work(company, workflows).post()


def entries(company: Company, act: str) -> list[Mapping[str, Any]]:
    """What the ledger has of an act."""
    return [entry for entry in company.ledger.entries() if entry["act"] == act]


def shown(made: Bazaar) -> dict[str, Any]:
    """What the queue shows, by id."""
    return {
        one["id"]: one for one in json.loads(made.kept("decide", "list", "--all", "--format", "json").out)
    }
