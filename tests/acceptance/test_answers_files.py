"""Files in an answer: streamed, in their folder, each to whom it is shown, and never one from outside."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kept.company import Company, opened
from kept.controls.registry import load, sentence
from kept.controls.rights import uploads
from kept.controls.rights.answers.access import Access
from kept.controls.rights.answers.export import Export, schema
from kept.controls.rights.batches import Batches
from kept.errors import TerminalError, TransientError
from kept.stores.opening import open_store

POLICY = """
kept: 1
policy: Shop
version: 2026-01-01
laws: [gdpr]
parties: {us: {role: us, name: Shop, contacts: {eea: {email: us@shop.example}}}}
stores: {shop: {at: $SHOP_URL, region: eea}, uploads: {at: uploads, kind: files, region: eea}}
people: {customer: {in: shop.customers, key: id, known-by: {email: email}}}
links: {sale: {in: shop.sales, between: {buyer: customer at buyer_id, seller: customer at seller_id}}}
data:
  account: {of: customer, in: {shop.customers: {email: email, portrait: file in uploads}}}
  sold:    {of: [sale.buyer, sale.seller], in: {shop.sales: {item: free-text}}}
  proof:   {of: sale.buyer, in: {shop.sales: {proof: file in uploads}}}
collection: {joining: {takes: [account, sold, proof], from: customer}}
purposes: {service: {uses: [account, sold, proof], ground: contract}}
retention: {all: {keeps: [account, sold, proof], until: forever}}
rights: {access: {}, export: {}, erase: {}}
"""
TABLES = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, portrait TEXT)",
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES customers (id),"
    " seller_id INTEGER REFERENCES customers (id), item TEXT, proof TEXT)",
    "INSERT INTO customers VALUES (1, 'ada@mail.example', 'ada.png'), (2, 'ben@mail.example', 'ben/me.png')",
    "INSERT INTO sales VALUES (1, 1, 2, 'tea', 'proofs/1.pdf'), (2, 2, 1, 'pots', 'proofs/2.pdf'),"
    " (3, 1, 2, 'cups', 'proofs/1.pdf')",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def company(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    url = request.getfixturevalue(f"fresh_{request.param}")
    store = open_store("shop", url)
    with store.write() as connection:
        for statement in TABLES:
            connection.exec_driver_sql(statement)
    store.dispose()
    monkeypatch.setenv("SHOP_URL", url)
    folder = tmp_path / "company"
    for path in ("ada.png", "ben/me.png", "proofs/1.pdf", "proofs/2.pdf"):
        file = folder / "uploads" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"the content of {path}")
    (folder / "policy.yaml").write_text(POLICY)
    with opened(load(folder / "policy.yaml"), folder) as found:
        yield found


def named(company: Company, key: int, path: str) -> None:
    """A person's portrait stands elsewhere from now on."""
    with company.stores["shop"].write() as connection:
        connection.exec_driver_sql(f"UPDATE customers SET portrait = '{path}' WHERE id = {key}")


def answered(company: Company, *keys: str, act: type[Access] = Access) -> list[Path]:
    people: dict[tuple[object, ...], str] = {(key,): f"{act.__name__.lower()}-{key}" for key in keys}
    act(company, Batches(company), partial(sentence, company.policy)).write("customer", people)
    return [company.answers / f"{request}.zip" for request in people.values()]


def read(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def told(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    return {one["path"]: one for one in json.loads(files["data.json"])["files"]}


def test_each_gets_the_files_that_are_shown_to_them_once(company: Company) -> None:
    ada, ben = map(read, answered(company, "1", "2"))
    assert {n for n in ada if n.startswith("files/")} == {
        "files/uploads/ada.png",
        "files/uploads/proofs/1.pdf",
    }
    assert {n for n in ben if n.startswith("files/")} == {
        "files/uploads/ben/me.png",
        "files/uploads/proofs/2.pdf",
    }
    assert ada["files/uploads/proofs/1.pdf"] == b"the content of proofs/1.pdf"
    assert told(ada)["ada.png"]["bytes"] == len(ada["files/uploads/ada.png"])


def test_an_export_has_files_by_its_published_schema(company: Company) -> None:
    (company.directory / "uploads/proofs/1.pdf").unlink()
    [path] = answered(company, "1", act=Export)
    ada = read(path)
    found = json.loads(ada["data.json"])
    jsonschema.validate(found, json.loads(schema()))
    assert {one["path"]: sorted(one) for one in found["files"]} == {
        "ada.png": ["bytes", "file", "path", "store"],
        "proofs/1.pdf": ["missing", "path", "store"],
    }
    assert ada["index.html"].index(b"</ul>") < ada["index.html"].index(b'<section aria-labelledby="files">')


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/hostname", "ben/../../secret.txt"])
def test_a_path_that_leads_out_of_the_folder_is_said_and_not_followed(company: Company, path: str) -> None:
    (company.directory / "secret.txt").write_text("the secret")
    named(company, 1, path)
    [answer] = answered(company, "1")
    ada = read(answer)
    assert told(ada)[path]["missing"] == "the path doesn't name a file of this folder"
    assert not any(b"the secret" in content for content in ada.values())
    assert "files/uploads/proofs/1.pdf" in ada


def test_a_link_that_leads_out_of_the_folder_stops_the_answer(company: Company) -> None:
    (company.directory / "secret.txt").write_text("the secret")
    (company.directory / "uploads/link.txt").symlink_to("../secret.txt")
    named(company, 1, "link.txt")
    with pytest.raises(TerminalError, match="leaves the folder"):
        answered(company, "1")
    assert list(company.answers.iterdir()) == []


def test_a_folder_that_is_not_there_stops_the_answer_until_it_is(company: Company) -> None:
    away = company.directory / "uploads"
    away.rename(company.directory / "elsewhere")
    with pytest.raises(TransientError, match="folder isn't there"):
        answered(company, "1")
    assert list(company.answers.iterdir()) == []
    (company.directory / "elsewhere").rename(away)
    assert len(answered(company, "1")) == 1


def test_a_file_goes_when_no_row_of_any_database_names_it_any_more(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = f"sqlite:///{tmp_path / 'more.sqlite'}"
    (tmp_path / "more.sqlite").touch()
    store = open_store("more", more)
    with store.write() as connection:
        connection.exec_driver_sql("CREATE TABLE members (id INTEGER PRIMARY KEY, face TEXT)")
        connection.exec_driver_sql("INSERT INTO members VALUES (7, 'ada.png')")
    store.dispose()
    monkeypatch.setenv("MORE_URL", more)
    file = company.directory / "policy.yaml"
    text = POLICY.replace("stores: {", "stores: {more: {at: $MORE_URL, region: eea}, ")
    text = text.replace("people: {", "people: {member: {in: more.members, key: id}, ")
    text = text.replace(
        "data:\n", "data:\n  face: {of: member, in: {more.members: {face: file in uploads}}}\n"
    )
    text = text.replace("[account, sold, proof]", "[account, sold, proof, face]")
    file.write_text(text)
    with opened(load(file), company.directory) as both:
        paths = ["ada.png", "ben/me.png", "proofs/1.pdf", "nowhere.txt"]
        assert uploads.still_named(both, "uploads", paths) == set(paths[:3])
        with both.stores["shop"].write() as connection:
            connection.exec_driver_sql("DELETE FROM sales")
            connection.exec_driver_sql("DELETE FROM customers")
        assert uploads.delete(both, "uploads", paths) == 2
        assert uploads.still_there(both, "uploads", paths) == 0
    left = [path.name for path in (company.directory / "uploads").rglob("*") if path.is_file()]
    assert sorted(left) == ["2.pdf", "ada.png"]


@pytest.mark.parametrize("company", ["sqlite"], indirect=True)
def test_a_file_of_more_than_two_gigabytes_passes_through_little_memory(company: Company) -> None:
    size = 2**31 + 12_345
    with (company.directory / "uploads/ada.png").open("wb") as file:
        file.truncate(size)
        file.seek(2**30)
        file.write(b"in the middle")
        file.seek(size - 7)
        file.write(b"the end")
    tracemalloc.start()
    try:
        [answer] = answered(company, "1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    try:
        assert peak < 32 << 20
        with zipfile.ZipFile(answer) as archive:
            assert archive.getinfo("files/uploads/ada.png").file_size == size
            with archive.open("files/uploads/ada.png") as copy:
                copy.seek(2**30)
                assert copy.read(13) == b"in the middle"
                copy.seek(size - 7)
                assert copy.read() == b"the end"
            assert told({"data.json": archive.read("data.json")})["ada.png"]["bytes"] == size
    finally:  # two gigabytes that nobody else needs
        answer.unlink()
        (company.directory / "uploads/ada.png").unlink()
