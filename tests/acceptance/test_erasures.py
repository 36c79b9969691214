"""Erasures and answers that must not say done too early, miss a person, or mistake one for another."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights import prove as proving
from kept.controls.rights import register
from kept.controls.rights.desk import Desk
from kept.controls.rights.outcome import Result
from kept.controls.rights.people import Person
from kept.controls.rights.planning import plan
from kept.state import workflows
from tests.acceptance.company import subjects

CUSTOMERS = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, closed TIMESTAMP)",
    "INSERT INTO customers VALUES (1, 'Ada Aster', 'ada@mail.example', NULL), (2, 'Bo Birch', 'bo@mail.example', NULL)",
)
CUSTOMER = "{in: shop.customers, key: id, known-by: {email: email}, ended: closed}"
ACCOUNT = "account: {of: customer, in: {shop.customers: {name: name, email: email}}}"

POLICY = """
kept: 1
policy: Shop
version: 2026-01-01
laws: gdpr
parties:
  shop: {role: us, name: Shop, authority: eea, contacts: {privacy: {email: privacy@shop.example}}}
stores:
  shop: {at: $SHOP_URL, region: eea, roles: {web: [selling, tax]}SAYS}
people:
  customer: CUSTOMER
data:
  DATA
collection:
  joining: {takes: [NAMES], from: customer}
purposes:
  selling: {uses: [NAMES], ground: contract}
  tax:     {uses: [NAMES], ground: legal-duty, law: tax code}
retention:
  account: {keeps: account, until: 1 month after customer.ended, then: delete}
  REST
rights:
  access: {through: email}
  erase:  {through: email}
notices:
  changes: {announces: material, through: email}
"""

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a shop in SQLite, or in the database of `url`."""
    monkeypatch.delenv("SHOP_URL", raising=False)

    def made(
        *statements: str,
        customer: str = CUSTOMER,
        data: tuple[str, ...] = (ACCOUNT,),
        rest: tuple[str, ...] = (),
        says: str = "",
        url: str | None = None,
    ) -> Path:
        folder = tmp_path / "shop"
        folder.mkdir()
        if url is None:
            (folder / "shop.sqlite").touch()
        address = url or f"sqlite:///{folder / 'shop.sqlite'}"
        engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()
        names = ", ".join(line.partition(":")[0] for line in data)
        policy = POLICY.replace("CUSTOMER", customer).replace("DATA", "\n  ".join(data))
        policy = policy.replace("NAMES", names).replace("REST", "\n  ".join(rest))
        (folder / "policy.yaml").write_text(policy.replace("SAYS", says and f", {says}"))
        (folder / ".env").write_text(f"SHOP_URL={url or 'sqlite:///shop.sqlite'}\n")
        return folder

    return made


@contextmanager
def at_work(folder: Path) -> Iterator[tuple[Company, workflows.Workflows]]:
    with (
        opened(load(folder / "policy.yaml"), folder) as company,
        workflows.opened(folder / "workflows.sqlite", kinds(company)) as running,
    ):
        yield company, running


def ask(company: Company, query: str) -> list[tuple[Any, ...]]:
    with company.stores["shop"].read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def change(company: Company, statement: str) -> None:
    with company.stores["shop"].write() as connection:
        connection.execute(text(statement))


def carried_out(company: Company, running: workflows.Workflows, verb: str, *whos: str) -> Result:
    found = Desk.at_work(company, running).find(verb, whos)
    assert not found.wrong, found.wrong
    return Desk.at_work(company, running).carry_out(verb, subjects(found.people), "tester", confirmed=True)


def told(company: Company, request: str) -> dict[str, Any]:
    with zipfile.ZipFile(company.answers / f"{request}.zip") as answer:
        held: dict[str, Any] = json.loads(answer.read("data.json"))["data"]
        return {name: data["held"] for name, data in held.items()}


def test_an_erasure_that_left_something_is_not_done_on_its_second_try(make: Make) -> None:
    outbox = (
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY, body TEXT)",
        "INSERT INTO outbox VALUES (1, 'To: ada@mail.example')",
    )
    with at_work(make(*CUSTOMERS, *outbox, says="impersonal: [outbox]")) as (company, running):
        for _ in range(3):
            result = carried_out(company, running, "erase", "customer:1")
            assert not result.done and "files still hold" in str(result.problem)
        change(company, "DELETE FROM outbox")
        assert Desk.at_work(company, running).work().done


@pytest.mark.parametrize(
    ("shape", "key"), [("INTEGER", "5000000000"), ("", "7"), ("", "'x7'"), ("REAL", "7.5"), ("BIGINT", "7")]
)
def test_a_person_with_any_sort_of_key_is_answered_and_erased(make: Make, shape: str, key: str) -> None:
    folder = make(
        f"CREATE TABLE customers (id {shape} PRIMARY KEY, name TEXT, email TEXT, closed TIMESTAMP)",
        f"INSERT INTO customers VALUES ({key}, 'Ada Aster', 'ada@mail.example', NULL)",
    )
    with at_work(folder) as (company, running):
        answer = carried_out(company, running, "access", "ada@mail.example")
        assert answer.done, answer.problem
        assert told(company, answer.ids[0])["account"]["shop.customers"][0]["name"] == "Ada Aster"
        assert carried_out(company, running, "erase", f"customer:{key}".replace("'", "")).done
        assert ask(company, "SELECT * FROM customers") == []


@pytest.mark.parametrize("verb", ["access", "erase"])
def test_a_person_whose_key_leads_to_no_row_is_refused_and_nothing_said_to_be_done(
    make: Make, verb: str
) -> None:
    folder = make(
        "CREATE TABLE customers (id BLOB PRIMARY KEY, name TEXT, email TEXT, closed TIMESTAMP)",
        "INSERT INTO customers VALUES (x'0102', 'Ada Aster', 'ada@mail.example', NULL)",
    )
    with at_work(folder) as (company, running):
        result = carried_out(company, running, verb, "ada@mail.example")
        assert not result.done and "can't be found by their key" in str(result.problem)
        assert len(ask(company, "SELECT * FROM customers")) == 1 and not list(company.answers.glob("*"))


def test_a_person_with_a_key_of_bytes_is_erased_in_postgresql(make: Make, fresh_postgresql: str) -> None:
    folder = make(
        "CREATE TABLE customers (id bytea PRIMARY KEY, name text, email text, closed timestamp)",
        r"INSERT INTO customers VALUES ('\x0102', 'Ada Aster', 'ada@mail.example', NULL)",
        url=fresh_postgresql,
    )
    with at_work(folder) as (company, running):
        assert carried_out(company, running, "erase", "ada@mail.example").done
        assert ask(company, "SELECT * FROM customers") == []


def test_a_key_that_names_two_rows_names_nobody(make: Make) -> None:
    folder = make(
        "CREATE TABLE customers (id PRIMARY KEY, name TEXT, email TEXT, closed TIMESTAMP)",
        "INSERT INTO customers VALUES (7, 'Ada', 'ada@mail.example', NULL), ('7', 'Bo', 'bo@mail.example', NULL)",
    )
    with at_work(folder) as (company, running):
        assert Desk.at_work(company, running).find("erase", ["customer:7"]).people == ()
        people = Desk.at_work(company, running).find("erase", ["ada@mail.example"]).people
        assert (
            not Desk.at_work(company, running)
            .carry_out("erase", subjects(people), "tester", confirmed=True)
            .done
        )
        assert len(ask(company, "SELECT * FROM customers")) == 2


@pytest.mark.parametrize(
    ("shape", "stored", "asked"),
    [("INTEGER", "7", "customer:07"), ("TEXT COLLATE NOCASE", "'Ada'", "customer:ADA")],
)
def test_however_a_key_is_written_it_is_one_person(make: Make, shape: str, stored: str, asked: str) -> None:
    folder = make(
        f"CREATE TABLE customers (id {shape} PRIMARY KEY, name TEXT, email TEXT, closed TIMESTAMP)",
        f"INSERT INTO customers VALUES ({stored}, 'Ada Aster', 'ada@mail.example', NULL)",
    )
    with at_work(folder) as (company, running):
        [person] = Desk.at_work(company, running).find("access", [asked]).people
        assert str(person) == f"customer:{stored}".replace("'", "")
        assert Desk.at_work(company, running).find(
            "access", [asked, str(person), "ada@mail.example"]
        ).people == (person,)
        assert carried_out(company, running, "access", str(person)).done
        assert list(company.answers.glob("*.zip"))
        assert carried_out(company, running, "erase", asked).done
        assert not list(company.answers.glob("*")) and company.pseudonyms.find([str(person)]) == {}


def test_keys_of_several_parts_with_commas_in_them_are_told_apart(make: Make) -> None:
    folder = make(
        "CREATE TABLE customers (a TEXT, b TEXT, name TEXT, email TEXT, closed TIMESTAMP, PRIMARY KEY (a, b))",
        "INSERT INTO customers VALUES ('x,y', 'z', 'Ada Aster', 'ada@mail.example', NULL),"
        " ('x', 'y,z', 'Bo Birch', 'bo@mail.example', NULL)",
        customer="{in: shop.customers, key: [a, b], known-by: {email: email}, ended: closed}",
    )
    with at_work(folder) as (company, running):
        answers = carried_out(company, running, "access", "ada@mail.example", "bo@mail.example")
        names = [told(company, r)["account"]["shop.customers"][0]["name"] for r in answers.ids]
        assert names == ["Ada Aster", "Bo Birch"]
        assert carried_out(company, running, "erase", "customer:x%2Cy,z").done
        assert ask(company, "SELECT name FROM customers") == [("Bo Birch",)]
        assert Desk.at_work(company, running).find("erase", ["customer:x,y,z"]).people == ()


MESSAGES = (
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, a INTEGER REFERENCES customers (id),"
    " b INTEGER REFERENCES customers (id), sender TEXT, body TEXT, at TIMESTAMP)"
)
MESSAGE = (
    "message: {of: [customer at a, customer at b],"
    " in: {shop.messages: {sender: email, body: free-text, at: recorded}}}"
)
MESSAGE_KEPT = "message: {keeps: message, until: 1 year after recorded, then: delete}"


def test_an_answer_given_to_somebody_else_goes_when_it_holds_the_erased_person(make: Make) -> None:
    folder = make(
        *CUSTOMERS,
        "INSERT INTO customers VALUES (3, 'Cy Cedar', 'cy@mail.example', NULL)",
        MESSAGES,
        "INSERT INTO messages VALUES (1, 1, 2, 'ada@mail.example', 'hello', '2026-11-01 00:00:00')",
        data=(ACCOUNT, MESSAGE),
        rest=(MESSAGE_KEPT,),
    )
    with at_work(folder) as (company, running):
        bo, cy = carried_out(company, running, "access", "customer:2", "customer:3").ids
        change(company, "UPDATE messages SET sender = NULL")
        erased = carried_out(company, running, "erase", "customer:1")
        assert erased.done, erased.problem
        assert [path.stem for path in company.answers.glob("*")] == [cy] and bo != cy
        [batch] = [entry for entry in company.ledger.entries() if entry["act"] == "erase batch"]
        assert batch["answers"] == 1


def test_several_people_behind_an_identifier_are_counted_where_keys_may_be_addresses(make: Make) -> None:
    folder = make(
        "CREATE TABLE customers (email TEXT PRIMARY KEY, name TEXT, phone TEXT, closed TIMESTAMP)",
        "INSERT INTO customers VALUES ('ada@mail.example', 'Ada', '+3211', NULL),"
        " ('bo@mail.example', 'Bo', '+3211', NULL)",
        customer="{in: shop.customers, key: email, known-by: {phone: phone}, ended: closed}",
    )
    with at_work(folder) as (company, running):
        [(_, why)] = Desk.at_work(company, running).find("access", ["+3211"]).wrong
        assert "2 of kind `customer`" in why and "mail.example" not in why


def test_a_map_with_an_error_is_no_proof_that_everything_is_reached(make: Make) -> None:
    folder = make(
        *CUSTOMERS,
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, ip TEXT, at TIMESTAMP)",
        data=(ACCOUNT, "visit: {of: customer, in: {shop.visits: {ip: ip-address, at: recorded}}}"),
        rest=("visit: {keeps: visit, until: 1 year after recorded, then: delete}",),
    )
    with at_work(folder) as (company, running):
        reach = proving.prove(company, company.policy.section("rights")["erase"])[1]
        assert reach.verdict == "unproven" and "visits" in reach.says
        for verb in ("access", "erase"):
            desk = Desk.at_work(company, running)
            planned = plan(company, verb, subjects(desk.find(verb, ["customer:1"]).people))
            assert any("visits" in reason for reason in planned.unreached)


def test_rows_that_a_declared_view_still_shows_remain(make: Make) -> None:
    folder = make(
        *CUSTOMERS,
        "CREATE TABLE raw (id INTEGER PRIMARY KEY, customer INTEGER, page TEXT)",
        "INSERT INTO raw VALUES (1, 1, 'home'), (2, 2, 'home')",
        "CREATE VIEW visits AS SELECT customer, page FROM raw",
        data=(ACCOUNT, "visit: {of: customer, in: {shop.visits: {customer: identifier, page: behaviour}}}"),
        rest=("visit: {keeps: visit, until: 1 month after customer.ended, then: delete}",),
        says="impersonal: [raw], references: {shop.visits.customer: shop.customers.id}",
    )
    with at_work(folder) as (company, running):
        result = carried_out(company, running, "erase", "customer:1")
        assert not result.done and "visits.customer" in str(result.problem)
        change(company, "DELETE FROM raw WHERE customer = 1")
        assert Desk.at_work(company, running).work().done


def test_what_only_the_facts_say_of_a_person_is_told_and_goes_from_a_row_that_stays(make: Make) -> None:
    folder = make(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, nick TEXT, birth DATE, country TEXT,"
        " closed TIMESTAMP)",
        "INSERT INTO customers VALUES (1, 'Ada Aster', 'ada@mail.example', 'adaaster', '1980-02-03', 'BE', NULL)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), amount INTEGER,"
        " at TIMESTAMP)",
        "INSERT INTO orders VALUES (1, 1, 9, '2026-01-01 00:00:00')",
        customer="{in: shop.customers, key: id, known-by: {email: email, username: nick}, born: birth,"
        " region: country, ended: closed}",
        data=(ACCOUNT, "order: {of: customer, in: {shop.orders: {amount: transaction, at: recorded}}}"),
        rest=("order: {keeps: order, until: 90 years after recorded, then: delete, hold: tax}",),
    )
    with at_work(folder) as (company, running):
        answer = carried_out(company, running, "access", "adaaster")
        [row] = told(company, answer.ids[0])["customer"]["shop.customers"]
        assert (row["nick"], row["birth"], row["country"]) == ("adaaster", "1980-02-03", "BE")
        result = carried_out(company, running, "erase", "customer:1")
        assert result.done, result.problem
        assert ask(company, "SELECT * FROM customers") == [(1, None, None, None, None, None, None)]
        assert ask(company, "SELECT id, customer FROM orders") == [(1, 1)]


@pytest.mark.parametrize(
    ("name", "email", "other"),
    [("Maria", "m1@mail.example", "Mariana Lopez"), ("Ada Aster", "a@mail.example", "Bo Birch")],
)
def test_a_value_inside_somebody_elses_is_not_taken_for_a_remain(
    make: Make, name: str, email: str, other: str
) -> None:
    folder = make(
        CUSTOMERS[0],
        f"INSERT INTO customers VALUES (1, '{name}', '{email}', NULL), (2, '{other}', 'aa@mail.example', NULL)",
    )
    with at_work(folder) as (company, running):
        assert carried_out(company, running, "access", "customer:2").done
        result = carried_out(company, running, "erase", "customer:1")
        assert result.done, result.problem
        assert len(list(company.answers.glob("*.zip"))) == 1


def test_an_address_in_somebody_elses_letter_is_still_a_remain(make: Make) -> None:
    folder = make(
        *CUSTOMERS,
        MESSAGES,
        "INSERT INTO messages VALUES (1, 2, 2, NULL, 'ask ada@mail.example about it', '2026-11-01 00:00:00')",
        data=(ACCOUNT, MESSAGE),
        rest=(MESSAGE_KEPT,),
    )
    with at_work(folder) as (company, running):
        assert not carried_out(company, running, "erase", "customer:1").done


MAILINGS = (
    "CREATE TABLE mailings (id INTEGER PRIMARY KEY, email TEXT, topic TEXT, at TIMESTAMP)",
    "INSERT INTO mailings VALUES (1, 'ADA@mail.example', 'news', '2026-01-01 00:00:00')",
)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_an_address_in_other_capitals_is_the_same_address(
    make: Make, database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("fresh_postgresql") if database == "postgresql" else None
    folder = make(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT UNIQUE, closed TIMESTAMP)",
        "INSERT INTO customers VALUES (1, 'Ada Aster', 'Ada@mail.example', NULL), (2, 'Bo', 'bo@mail.example', NULL)",
        *MAILINGS,
        data=(
            ACCOUNT,
            "mailing: {of: customer, in: {shop.mailings: {email: email, topic: preference, at: recorded}}}",
        ),
        rest=("mailing: {keeps: mailing, until: 1 year after recorded, then: delete}",),
        says="references: {shop.mailings.email: shop.customers.email}",
        url=url,
    )
    with at_work(folder) as (company, running):
        [person] = Desk.at_work(company, running).find("erase", ["aDA@mail.example"]).people
        for one in (person, Person("customer", ("2",))):  # in acts of their own, made clean in one pass
            Desk(company, running.kinds).carry_out("erase", subjects([one]), "tester", confirmed=True)
        result = Desk.at_work(company, running).work()
        assert "mailings.email" in str(result.problem)
        assert [one.pseudonym for one in register.listing(company)] == [
            company.pseudonyms.find([str(person)])[str(person)]
        ]
        change(company, "DELETE FROM mailings")
        assert Desk.at_work(company, running).work().done


def test_a_person_without_any_value_to_search_is_still_looked_for_by_key(make: Make) -> None:
    folder = make(
        CUSTOMERS[0],
        "INSERT INTO customers VALUES (1, NULL, NULL, NULL)",
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, customer INTEGER, page TEXT, at TIMESTAMP)",
        "CREATE TRIGGER again AFTER DELETE ON customers"
        " BEGIN INSERT INTO visits (customer, page) VALUES (old.id, 'goodbye'); END",
        data=(ACCOUNT, "visit: {of: customer, in: {shop.visits: {page: behaviour, at: recorded}}}"),
        rest=("visit: {keeps: visit, until: 1 year after recorded, then: delete}",),
        says="references: {shop.visits.customer: shop.customers.id}",
    )
    with at_work(folder) as (company, running):
        result = carried_out(company, running, "erase", "customer:1")
        assert not result.done and "by visits" in str(result.problem)
        assert carried_out(company, running, "erase", "customer:1").done
        assert ask(company, "SELECT * FROM visits") == []


def test_an_erasure_is_not_done_while_nobody_may_look_into_the_files(
    make: Make, fresh_postgresql: str
) -> None:
    """Not even when the person had no value to look for: what was deleted still stands there."""
    with psycopg.connect(fresh_postgresql, autocommit=True) as server:
        server.execute("DROP ROLE IF EXISTS kept_blind")
        server.execute("CREATE ROLE kept_blind LOGIN")
        server.execute("GRANT CREATE ON SCHEMA public TO kept_blind")
    folder = make(
        CUSTOMERS[0],
        "INSERT INTO customers VALUES (1, 'Ada', NULL, NULL), (2, NULL, NULL, NULL)",
        url=fresh_postgresql.replace("postgres:@", "kept_blind:@"),
    )
    with at_work(folder) as (company, running):
        for _ in range(2):
            for who in ("customer:1", "customer:2"):
                result = carried_out(company, running, "erase", who)
                assert not result.done and "nobody can say" in str(result.problem)
