"""Access and export of SiteLucent's and a small shop's people, from real databases to zips that are read back."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kept.company import Company, opened
from kept.controls.registry import load, sentence
from kept.controls.rights.answers.access import Access
from kept.controls.rights.answers.archives import Sought
from kept.controls.rights.answers.export import Export, schema
from kept.controls.rights.batches import Batches
from kept.errors import StoreError
from kept.stores.opening import open_store
from kept.stores.walk import Key

POLICY = """
kept: 1
policy: Shop
version: 2026-01-01
laws: [gdpr]
parties: {us: {role: us, name: Shop, contacts: {eea: {email: us@shop.example}}}}
stores: {shop: {at: $SHOP_URL, region: eea}}
people: {customer: {in: shop.customers, key: id, known-by: {email: email}}}
links: {sale: {in: shop.sales, between: {buyer: customer at buyer_id, seller: customer at seller_id}}}
data:
  account: {of: customer, in: {shop.customers: {email: email, score: technical, photo: technical}}}
  rating:  {of: customer, in: {shop.customers: {rating: technical}}}
  sold:    {of: [sale.buyer, sale.seller], in: {shop.sales: {amount: transaction}}}
  wish:    {of: sale.buyer, in: {shop.sales: {wish: free-text}}}
  visits:  {of: customer, in: {shop.visits: {page: behaviour}}}
collection:
  joining: {takes: account, from: customer}
  rating:  {takes: rating, from: us}
  selling: {takes: [sold, wish], from: sale.buyer}
  looking: {takes: visits, from: customer}
purposes:
  service: {uses: [account, sold, wish, rating], ground: contract}
  growth:  {uses: visits, ground: legitimate-interest, interest: growth}
retention: {all: {keeps: [account, rating, sold, wish, visits], until: forever}}
rights: {access: {}, export: {}}
"""
TABLES = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, score {real}, photo {bytes}, rating INTEGER)",
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES customers (id),"
    " seller_id INTEGER REFERENCES customers (id), amount NUMERIC(8, 2), wish TEXT)",
    "CREATE TABLE visits (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), page TEXT)",
    "INSERT INTO customers VALUES (1, 'ada@mail.example', 1.5, NULL, 3), (2, 'ben@mail.example', NULL, NULL, 4)",
    "INSERT INTO sales VALUES (1, 2, 1, 10, 'for Ben'), (2, 1, 2, 20.5, 'for Ada'), (3, 1, NULL, 30, NULL)",
    "INSERT INTO visits VALUES (1, 1, '/tea'), (2, 1, '=cmd()'), (3, 2, '/pots')",
)
Files = dict[str, bytes]


@pytest.fixture(params=["sqlite", "postgresql"])
def company(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    url = request.getfixturevalue(f"fresh_{request.param}")
    words = {"real": "REAL", "bytes": "BLOB"} if request.param == "sqlite" else {
        "real": "DOUBLE PRECISION", "bytes": "BYTEA"
    }  # fmt: skip
    store = open_store("shop", url)
    with store.write() as connection:
        for statement in TABLES:
            connection.exec_driver_sql(statement.format(**words))
        if request.param == "postgresql":
            connection.exec_driver_sql("UPDATE customers SET score = 'NaN' WHERE id = 1")
        connection.exec_driver_sql(
            "UPDATE customers SET photo = x'00FF' WHERE id = 1" if request.param == "sqlite"
            else "UPDATE customers SET photo = '\\x00ff' WHERE id = 1"
        )  # fmt: skip
    store.dispose()
    monkeypatch.setenv("SHOP_URL", url)
    (tmp_path / "policy.yaml").write_text(POLICY)
    with opened_at(tmp_path) as found:
        yield found


@contextmanager
def opened_at(folder: Path) -> Iterator[Company]:
    with opened(load(folder / "policy.yaml"), folder) as company:
        yield company


def answered(company: Company, act: Callable[..., Access], *keys: str) -> list[Files]:
    """The files of each person's zip."""
    people: dict[Key, str] = {(key,): f"{act.__name__.lower()}-{key}" for key in keys}
    act(company, Batches(company), partial(sentence, company.policy)).write("customer", people)
    return [unzipped(company.answers / f"{request}.zip") for request in people.values()]


def unzipped(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def data(files: Files) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(files["data.json"])["data"]
    return told


def test_access_tells_each_their_part_of_a_shared_row(company: Company) -> None:
    ada, ben = answered(company, Access, "1", "2")
    sales = data(ada)["sold"]["held"]["shop.sales"]
    assert [row["amount"] for row in sales] in (["10.00", "20.50", "30.00"], [10, 20.5, 30])
    # the tie itself names nobody, and a seller learns no wish of the buyer's
    assert data(ada)["wish"]["held"]["shop.sales"] == [{"wish": "for Ada"}, {"wish": None}]
    assert data(ben)["wish"]["held"]["shop.sales"] == [{"wish": "for Ben"}]
    assert not any(b"for Ben" in content or b"ben@mail" in content for content in ada.values())


def test_a_csv_of_rows_that_differ_keeps_its_columns(company: Company) -> None:
    [ada] = answered(company, Access, "1")
    read = list(csv.DictReader(io.StringIO(ada["visits/shop.visits.csv"].decode())))
    assert read == [{"page": "/tea"}, {"page": "'=cmd()"}]
    assert data(ada)["visits"]["held"]["shop.visits"] == [{"page": "/tea"}, {"page": "=cmd()"}]


def test_what_json_has_no_word_for_is_told_as_text(company: Company) -> None:
    [ada] = answered(company, Access, "1")
    [row] = data(ada)["account"]["held"]["shop.customers"]
    assert row["photo"] == "AP8="
    assert row["score"] == ("nan" if company.stores["shop"].dialect == "postgresql" else 1.5)


def test_an_export_has_what_the_person_gave_and_says_what_it_leaves_out(company: Company) -> None:
    ada, ben = answered(company, Export, "1", "2")
    told = json.loads(ada["data.json"])
    jsonschema.validate(told, json.loads(schema()))
    assert set(told["data"]) == {"account", "sold", "wish"}
    assert {row["data"]: row["why"] for row in told["left_out"]} == {
        "rating": "It comes from ourselves, not from you.",
        "visits": "What we do with it rests on our legitimate interests, not on your consent or on a contract "
        "with you.",
    }
    # as the buyer they gave what is in a sale; as the seller they didn't
    amounts = [float(row["amount"]) for row in told["data"]["sold"]["rows"]["shop.sales"]]
    assert amounts == [20.5, 30]
    assert [float(r["amount"]) for r in data(ben)["sold"]["rows"]["shop.sales"]] == [10]
    assert told["data"]["account"]["fields"] == {
        "shop.customers": {"email": "email", "score": "technical", "photo": "technical"}
    }
    assert "shop.visits" not in ada["data.json"].decode() and b"/tea" not in ada["data.json"]
    assert ada["export.schema.json"] == schema()
    assert "account/shop.customers.csv" in ada and "visits/shop.visits.csv" not in ada
    assert "legitimate interests" in ada["index.html"].decode()


def test_an_export_is_found_by_whoever_looks_for_its_values(company: Company) -> None:
    answered(company, Export, "1")
    path = company.answers / "export-1.zip"
    assert Sought(["ada@mail.example", "ben@mail.example"]).inside(path) == {"ada@mail.example"}


def test_a_thousand_answers_stand_there_whole(company: Company) -> None:
    with company.stores["shop"].write() as connection:
        for start in range(10, 1010, 100):
            people = ", ".join(f"({n}, 'p{n}@mail.example')" for n in range(start, start + 100))
            visits = ", ".join(f"({n}, {n}, '/of-{n}.')" for n in range(start, start + 100))
            connection.exec_driver_sql(f"INSERT INTO customers (id, email) VALUES {people}")
            connection.exec_driver_sql(f"INSERT INTO visits VALUES {visits}")
    keys = [str(n) for n in range(10, 1010)]
    for key, files in zip(keys, answered(company, Access, *keys), strict=True):
        assert data(files)["visits"]["held"]["shop.visits"] == [{"page": f"/of-{key}."}]
        assert data(files)["account"]["held"]["shop.customers"][0]["email"] == f"p{key}@mail.example"
    assert not list(company.answers.glob("*.part"))


def test_an_answer_cut_short_by_a_store_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    with sqlite3.connect(tmp_path / "shop.sqlite") as database:
        for statement in TABLES:
            database.execute(statement.format(real="REAL", bytes="BLOB"))
        database.execute(
            "UPDATE visits SET page = CAST(x'ff' AS TEXT) WHERE id = 1"
        )  # no text that can be read
    database.close()
    monkeypatch.setenv("SHOP_URL", url)
    (tmp_path / "policy.yaml").write_text(POLICY)
    with opened_at(tmp_path) as company:
        with pytest.raises(StoreError) as refusal:
            answered(company, Access, "1")
        assert "\ufffd" not in str(refusal.value)  # what can't be read is a value all the same
        assert list(company.answers.iterdir()) == []
