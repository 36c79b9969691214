"""Limits that can't simply be carried out: tests of kinds and links, several owners, clocks, holds, what must stay."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.retention.enforce import due, sweep
from kept.errors import TransientError
from kept.evidence import board
from kept.state import workflows
from kept.state.tables import acts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = "2019-01-01 00:00:00", "2026-02-20 00:00:00"

POLICY = """
kept: 1
policy: Shop
version: 2026-01-01
laws: gdpr
parties:
  shop: {{role: us, name: Shop, authority: eea, contacts: {{privacy: {{email: privacy@shop.example}}}}}}
stores:
  shop: {{at: $SHOP_URL, region: eea, roles: {{web: [selling, tax]}}}}
people:
  user: {{in: shop.users, key: {key}, known-by: {{email: email}}, ended: closed}}
{facts}
data:
{data}
collection:
  joining: {{takes: [{names}], from: user}}
purposes:
  selling: {{uses: [{names}], ground: contract}}
  tax:     {{uses: [{names}], ground: legal-duty, law: tax code}}
retention:
{limits}
rights:
  access: {{through: email}}
  erase:  {{through: email}}
notices:
  changes: {{announces: material, through: email}}
"""

USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, email TEXT, role TEXT, closed TIMESTAMP);"
ACCOUNT = "account: {of: user, in: {shop.users: {name: name, email: email}}}"
UNTIL = "account: {keeps: account, until: 1 month after user.ended, then: delete}"


class Shop:
    """A company at work, its database, and what its board says of retention."""

    def __init__(self, folder: Path, company: Company, running: workflows.Workflows) -> None:
        self.folder, self.company, self.running = folder, company, running

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "shop.sqlite")
        try:
            with connection:
                return connection.execute(query).fetchall()
        finally:
            connection.close()

    def sweep(self) -> dict[str, str]:
        """Sweep; what could not be done, by place."""
        return {gap.place: gap.reason for gap in sweep(self.company, self.running)[1]}

    def due(self) -> dict[str, int]:
        return {line.promise.removeprefix("retention."): line.rows for line in due(self.company)[0]}

    def verdicts(self) -> dict[str, str]:
        rows = [row for row in board.prove(self.company).rows if row.control == "retention"]
        return {row.promise.name: row.verdict for row in rows}


@contextmanager
def shop(
    tmp_path: Path, schema: str, data: list[str], limits: list[str], facts: str = "", key: str = "id"
) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    connection = sqlite3.connect(folder / "shop.sqlite")
    connection.executescript(schema)
    connection.close()
    (folder / "policy.yaml").write_text(
        POLICY.format(
            key=key,
            facts=facts,
            data="\n".join(f"  {line}" for line in data),
            names=", ".join(line.partition(":")[0] for line in data),
            limits="\n".join(f"  {line}" for line in limits),
        )
    )
    (folder / ".env").write_text("SHOP_URL=sqlite:///shop.sqlite\n")
    with (
        opened(load(folder / "policy.yaml"), folder, lambda: NOW) as company,
        workflows.opened(folder / "workflows.sqlite", kinds(company)) as running,
    ):
        yield Shop(folder, company, running)


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)


SELLER = "  seller: {is: user, when: role = seller, ended: left}"


def test_a_limit_on_some_people_leaves_the_others_rows(tmp_path: Path) -> None:
    schema = (
        USERS
        + "CREATE TABLE goods (id INTEGER PRIMARY KEY, seller INTEGER REFERENCES users (id), title TEXT,"
        " at TIMESTAMP); ALTER TABLE users ADD COLUMN left TIMESTAMP;"
        "INSERT INTO users VALUES (1, 'Ada', 'a@x.org', 'seller', NULL, NULL),"
        " (2, 'Bo', 'b@x.org', 'buyer', NULL, NULL);"
        f"INSERT INTO goods VALUES (1, 1, 'bike', '{OLD}'), (2, 2, 'lamp', '{OLD}'), (3, 1, 'hat', '{NEW}')"
    )
    offer = "offer: {of: seller, in: {shop.goods: {title: free-text, at: recorded}}}"
    limit = "offer: {keeps: offer, until: 1 year after recorded, then: delete}"
    with shop(tmp_path, schema, [ACCOUNT, offer], [UNTIL, limit], SELLER) as it:
        assert it.due()["offer"] == 1
        it.sweep()
        assert it.ask("SELECT id FROM goods ORDER BY id") == [(2,), (3,)]
        assert it.verdicts()["offer"] == "kept"
        it.ask(f"INSERT INTO goods VALUES (4, NULL, 'nobodys', '{OLD}')")
        assert it.verdicts()["offer"] == "unproven", "whose the row is can't be told"


def test_a_kind_with_an_end_of_its_own_goes_by_it(tmp_path: Path) -> None:
    schema = (
        USERS + "ALTER TABLE users ADD COLUMN left TIMESTAMP; ALTER TABLE users ADD COLUMN stall TEXT;"
        f"INSERT INTO users VALUES (1, 'Ada', 'a@x.org', 'seller', NULL, '{OLD}', 'Adas'),"
        f" (2, 'Bo', 'b@x.org', 'buyer', NULL, '{OLD}', 'Bos')"
    )
    stall = "stall: {of: seller, in: {shop.users: {stall: organisation}}}"
    limit = "stall: {keeps: stall, until: 1 year after seller.ended, then: delete}"
    with shop(tmp_path, schema, [ACCOUNT, stall], [UNTIL, limit], SELLER) as it:
        assert it.due() == {"account": 0, "stall": 1}
        it.sweep()
        assert it.ask("SELECT name, stall FROM users ORDER BY id") == [("Ada", None), ("Bo", "Bos")]


def test_one_limit_that_cannot_be_carried_out_does_not_stop_the_others(tmp_path: Path) -> None:
    schema = (
        USERS + "CREATE TABLE visits (id INTEGER PRIMARY KEY, user INTEGER REFERENCES users (id), page TEXT,"
        " day DATE NOT NULL, at TIMESTAMP);"
        "CREATE VIEW seen AS SELECT id, user, page, at FROM visits;"
        f"INSERT INTO users VALUES (1, 'Ada', 'a@x.org', '', '{OLD}');"
        f"INSERT INTO visits VALUES (1, 1, 'home', '2019-01-01', '{OLD}')"
    )
    data = [
        ACCOUNT,
        "visit: {of: user, in: {shop.visits: {page: behaviour, at: recorded}}}",
        "day: {of: user, in: {shop.visits: {day: birth-date}}}",
        "seen: {of: user at user, in: {shop.seen: {page: behaviour, at: recorded}}}",
    ]
    limits = [
        UNTIL,
        "visit: {keeps: visit, until: 10 years after recorded, then: delete}",
        "day: {keeps: day, until: 2 years after recorded, then: delete}",
        "seen: {keeps: seen, until: 1 year after recorded, then: delete}",
    ]
    with shop(tmp_path, schema, data, limits) as it:
        told = it.sweep()
        assert "day can't be emptied" in told["shop.visits"] and "view" in told["shop.seen"]
        assert it.ask("SELECT name, email FROM users") == [(None, None)], "the other promise was carried out"
        verdicts = it.verdicts()
        assert (
            verdicts["day"] == "broken" and verdicts["seen"] == "unproven" and verdicts["account"] == "kept"
        )


def test_a_sweep_that_fails_again_and_again_is_one_act(
    tmp_path: Path,
) -> None:
    schema = USERS + f"INSERT INTO users VALUES (1, 'Ada', 'a@x.org', '', '{OLD}')"
    with shop(tmp_path, schema, [ACCOUNT], [UNTIL]) as it:
        locker = sqlite3.connect(it.folder / "shop.sqlite")
        locker.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(TransientError):
                it.sweep()
        locker.rollback()
        locker.close()
        with it.company.state.read() as connection:
            assert len(connection.execute(acts.select()).all()) == 1
        assert it.sweep() == {} and it.ask("SELECT * FROM users") == []


def test_a_row_of_two_people_does_not_go_when_one_of_them_ends(tmp_path: Path) -> None:
    schema = (
        USERS + "CREATE TABLE messages (id INTEGER PRIMARY KEY, a INTEGER REFERENCES users (id),"
        " b INTEGER REFERENCES users (id), body TEXT);"
        f"INSERT INTO users VALUES (1, 'Ada', 'a@x.org', '', '{OLD}'), (2, 'Bo', 'b@x.org', '', NULL);"
        "INSERT INTO messages VALUES (1, 1, 2, 'hello')"
    )
    message = "message: {of: [user at a, user at b], in: {shop.messages: {body: free-text}}}"
    limit = "message: {keeps: message, until: 1 month after user.ended, then: delete}"
    with shop(tmp_path, schema, [ACCOUNT, message], [UNTIL, limit]) as it:
        assert "more than one `user.ended`" in it.sweep()["shop.messages"]
        assert it.ask("SELECT body FROM messages") == [("hello",)]
        assert it.verdicts()["message"] == "unproven"


ORDERS = (
    USERS + "CREATE TABLE orders (id INTEGER PRIMARY KEY, user INTEGER REFERENCES users (id), amount INTEGER,"
    " ip TEXT, at TIMESTAMP, seen TIMESTAMP); INSERT INTO users VALUES (1, 'Ada', 'a@x.org', '', NULL);"
)
ORDER = "order: {of: user, in: {shop.orders: {amount: transaction, at: recorded}}}"


def test_a_hold_keeps_its_own_columns_and_no_others_of_the_row(tmp_path: Path) -> None:
    schema = ORDERS + "INSERT INTO orders VALUES (1, 1, 9, '10.0.0.1', '2023-01-01 00:00:00', NULL)"
    log = "log: {of: user, in: {shop.orders: {ip: ip-address}}}"
    limits = [
        UNTIL,
        "order: {keeps: order, until: 7 years after recorded, then: delete, hold: tax}",
        "log: {keeps: log, until: 1 year after recorded, then: delete}",
    ]
    with shop(tmp_path, schema, [ACCOUNT, ORDER, log], limits) as it:
        assert it.verdicts()["log"] == "broken"
        it.sweep()
        assert it.ask("SELECT amount, ip FROM orders") == [(9, None)]
        assert it.verdicts()["log"] == "kept"


def test_a_row_goes_when_the_limits_of_all_its_data_are_past(tmp_path: Path) -> None:
    schema = ORDERS + (
        f"INSERT INTO orders VALUES (1, 1, 9, '10.0.0.1', '{OLD}', NULL),"
        " (2, 1, 9, '10.0.0.1', '2024-01-01 00:00:00', NULL)"
    )
    log = "log: {of: user, in: {shop.orders: {ip: ip-address}}}"
    limits = [
        UNTIL,
        "order: {keeps: order, until: 5 years after recorded, then: delete}",
        "log: {keeps: log, until: 1 year after recorded, then: delete}",
    ]
    with shop(tmp_path, schema, [ACCOUNT, ORDER, log], limits) as it:
        it.sweep()
        assert it.ask("SELECT id, amount, ip FROM orders") == [(2, 9, None)]
        assert set(it.verdicts().values()) == {"kept"}


def test_data_goes_by_the_time_it_was_recorded_itself(tmp_path: Path) -> None:
    schema = ORDERS + (
        f"INSERT INTO orders VALUES (1, 1, 9, '10.0.0.1', '{OLD}', '{NEW}'), (2, 1, 9, '10.0.0.2', '{NEW}', '{OLD}')"
    )
    data = [
        ACCOUNT,
        ORDER,
        "log: {of: user, in: {shop.orders: {ip: ip-address, seen: recorded}}}",
        "both: {of: user, in: {shop.orders: {user: technical}}}",
    ]
    limits = [
        UNTIL,
        "order: {keeps: order, until: 9 years after recorded, then: delete}",
        "log: {keeps: log, until: 1 year after recorded, then: delete}",
        "both: {keeps: both, until: 1 year after recorded, then: delete}",
    ]
    with shop(tmp_path, schema, data, limits) as it:
        told = it.sweep()
        assert it.ask("SELECT id, ip FROM orders ORDER BY id") == [(1, "10.0.0.1"), (2, None)]
        assert "at and seen could each be" in told["shop.orders"]
        assert it.verdicts()["both"] == "unproven"


def test_a_link_with_a_test_concerns_only_rows_that_meet_it(tmp_path: Path) -> None:
    schema = (
        USERS + "CREATE TABLE threads (id INTEGER PRIMARY KEY, kind TEXT, a INTEGER REFERENCES users (id),"
        " b INTEGER REFERENCES users (id), topic TEXT, ended TIMESTAMP);"
        "INSERT INTO users VALUES (1, 'Ada', 'a@x.org', '', NULL), (2, 'Bo', 'b@x.org', '', NULL);"
        f"INSERT INTO threads VALUES (1, 'sale', 1, 2, 'bike', '{OLD}'), (2, 'other', 1, 2, 'secret', '{OLD}'),"
        " (3, 'sale', 1, 2, 'open', NULL)"
    )
    facts = (
        "links:\n  sale: {in: shop.threads, when: kind = sale,"
        " between: {buyer: user at a, seller: user at b}, ended: ended}"
    )
    deal = "deal: {of: [sale.buyer, sale.seller], in: {shop.threads: {topic: free-text}}}"
    limit = "deal: {keeps: deal, until: 1 year after sale.ended, then: delete}"
    with shop(tmp_path, schema, [ACCOUNT, deal], [UNTIL, limit], facts) as it:
        assert it.due()["deal"] == 1
        it.sweep()
        assert it.ask("SELECT id FROM threads ORDER BY id") == [(2,), (3,)]
        assert it.verdicts()["deal"] == "kept"


def test_a_key_that_tells_who_it_was_is_past_its_limit_until_the_row_goes(tmp_path: Path) -> None:
    schema = (
        "CREATE TABLE users (email TEXT PRIMARY KEY, name TEXT, closed TIMESTAMP);"
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user TEXT NOT NULL REFERENCES users (email), amount INTEGER,"
        f" at TIMESTAMP); INSERT INTO users VALUES ('a@x.org', 'Ada', '{OLD}');"
        f"INSERT INTO orders VALUES (1, 'a@x.org', 5, '{NEW}')"
    )
    limit = "order: {keeps: order, until: 7 years after recorded, then: delete}"
    with shop(tmp_path, schema, [ACCOUNT, ORDER], [UNTIL, limit], key="email") as it:
        assert "email can't be emptied" in it.sweep()["shop.users"]
        assert it.ask("SELECT email, name FROM users") == [("a@x.org", None)]
        assert it.verdicts() == {"account": "broken", "order": "kept"}
        it.ask("DELETE FROM orders")
        assert it.sweep() == {} and it.ask("SELECT * FROM users") == []
        assert it.verdicts() == {"account": "kept", "order": "kept"}


def test_rows_whose_clock_can_never_start_are_not_called_kept(tmp_path: Path) -> None:
    limits = [UNTIL, "order: {keeps: order, until: 1 year after recorded, then: delete}"]
    visits = "visit: {of: user, in: {shop.visits: {page: behaviour}}}"
    until = "visit: {keeps: visit, until: 1 year after user.ended, then: delete}"
    schema = (
        ORDERS
        + "CREATE TABLE visits (id INTEGER PRIMARY KEY, user INTEGER REFERENCES users (id), page TEXT);"
        "INSERT INTO visits VALUES (1, 1, 'home')"
    )
    with shop(tmp_path, schema, [ACCOUNT, ORDER, visits], [*limits, until]) as it:
        assert set(it.verdicts().values()) == {"kept"}, "an account that is open hasn't ended"
        it.ask(
            f"INSERT INTO orders VALUES (1, 1, 9, '', NULL, NULL), (2, 1, 9, '', '', NULL), (3, 1, 9, '', '{NEW}', '')"
        )
        it.ask("INSERT INTO visits VALUES (2, 99, 'home'), (3, NULL, 'home')")
        rows = {
            str(row.promise.name): row for row in board.prove(it.company).rows if row.control == "retention"
        }
        assert rows["order"].verdict == rows["visit"].verdict == "unproven"
        assert [proof.measured["unstarted"] for proof in rows["order"].proofs] == [2]
        assert [proof.measured["unstarted"] for proof in rows["visit"].proofs] == [2]


@pytest.mark.parametrize("owner", ["INTEGER", "INTEGER NOT NULL"])
def test_an_anonymous_row_no_longer_leads_to_the_person(tmp_path: Path, owner: str) -> None:
    schema = (
        USERS
        + f"CREATE TABLE reviews (id INTEGER PRIMARY KEY, user {owner} REFERENCES users (id), author TEXT,"
        " stars INTEGER, at TIMESTAMP); INSERT INTO users VALUES (1, 'Ada', 'a@x.org', '', NULL);"
        f"INSERT INTO reviews VALUES (1, 1, 'Ada', 5, '{OLD}')"
    )
    review = "review: {of: user, in: {shop.reviews: {author: name, stars: preference, at: recorded}}}"
    limit = "review: {keeps: review, until: 1 year after recorded, then: anonymise}"
    with shop(tmp_path, schema, [ACCOUNT, review], [UNTIL, limit]) as it:
        told = it.sweep()
        if owner == "INTEGER":
            assert it.ask("SELECT user, author, stars FROM reviews") == [(None, None, 5)]
            assert told == {} and it.verdicts()["review"] == "kept"
        else:
            assert it.ask("SELECT user, author, stars FROM reviews") == [(1, None, 5)]
            assert "still leads to the person by user" in told["shop.reviews"]
            assert it.verdicts()["review"] == "unproven"


def test_nothing_measures_a_least_time(tmp_path: Path) -> None:
    limit = "order: {keeps: order, until: 7 years after recorded, then: delete, at-least: 2 years}"
    with shop(tmp_path, ORDERS, [ACCOUNT, ORDER], [UNTIL, limit]) as it:
        assert it.verdicts() == {"account": "kept", "order": "unproven"}


def test_a_dry_run_counts_a_row_of_two_promises_once(tmp_path: Path) -> None:
    schema = (
        ORDERS + f"INSERT INTO orders VALUES (1, 1, 9, '', '{OLD}', NULL); UPDATE users SET closed = '{OLD}'"
    )
    limits = [
        UNTIL,
        "order: {keeps: order, until: 1 year after recorded, then: delete}",
        "again: {keeps: order, until: 1 month after user.ended, then: delete}",
    ]
    with shop(tmp_path, schema, [ACCOUNT, ORDER], limits) as it:
        assert it.due() == {"order": 1, "again": 0, "account": 1}


def test_a_table_may_have_a_space_in_its_name(tmp_path: Path) -> None:
    schema = (
        USERS
        + 'CREATE TABLE "my visits" (id INTEGER PRIMARY KEY, user INTEGER REFERENCES users (id), page TEXT,'
        f" at TIMESTAMP); INSERT INTO \"my visits\" VALUES (1, 1, 'home', '{OLD}')"
    )
    visit = "visit: {of: user, in: {shop.my visits: {page: behaviour, at: recorded}}}"
    limit = "visit: {keeps: visit, until: 1 year after recorded, then: delete}"
    with shop(tmp_path, schema, [ACCOUNT, visit], [UNTIL, limit]) as it:
        lines, _ = sweep(it.company, it.running)
        assert {(line.promise, line.place): line.rows for line in lines}[
            "retention.visit", "shop.my visits"
        ] == 1
