"""Attacks on sealed values: moved, altered, rolled back, sealed by another, opened for what they aren't for."""

from __future__ import annotations

import base64
import itertools
import string
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from kept.company import Company
from kept.controls.refused import Refused
from kept.controls.security.prove import prove
from kept.controls.security.sealing import resealing
from kept.controls.security.sealing.form import SEARCHED, VALUE, Sealed, StoreKey, place_of
from kept.controls.security.sealing.sealer import Sealer
from kept.errors import KeptError
from kept.state.database import insert
from kept.state.uses import store_keys
from tests.acceptance.sealed import (
    EMAIL,
    ENDPOINT,
    NAME,
    POLICY,
    TOKEN,
    ask,
    company,
    customer,
    database,
    execute,
    tokens,
)

LETTERS = string.ascii_letters + string.digits + "-_"


@pytest.fixture
def vault(tmp_path: Path, fresh_sqlite: str) -> Iterator[Company]:
    database(fresh_sqlite)
    with company(tmp_path / "one", fresh_sqlite) as opened:
        resealing.apply(opened, "app")
        yield opened


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()


def refused(opened: Company, field: str, key: object, text: str) -> None:
    sealer = Sealer.of(opened)
    with pytest.raises(KeptError) as error:
        sealer.opened(sealer.columns[field], key, text)
    said = str(error.value)
    assert "token-" not in said and (len(text) < 8 or text not in said)


def test_a_value_moved_to_another_row_or_column_cannot_be_opened(vault: Company) -> None:
    text = tokens(vault)["north", 1]
    for key in (
        ("north", 2),
        ("south", 1),
        ("north", 11),
        ("north1", ""),
        ("north",),
        ("north", 1, 1),
        (1, "north"),
    ):
        refused(vault, TOKEN, key, text)
    refused(vault, ENDPOINT, ("north", 1), text)
    refused(vault, NAME, ("north", 1), text)
    sealer = Sealer.of(vault)
    refused(vault, NAME, 1, sealer.seal(EMAIL, 1, "a"))  # a searchable one isn't bound to its row
    refused(vault, EMAIL, 1, sealer.seal(NAME, 1, "a"))


def test_no_two_places_are_written_alike() -> None:
    names = ("app.a.b", "app.a.", "b", "1", "11", "1:1", "", "0:")
    places = [place_of(f, k) for f in names for n in range(3) for k in itertools.product(names, repeat=n)]
    assert len(set(places)) == len(places)


def test_a_value_of_another_store_or_company_cannot_be_opened(
    vault: Company, tmp_path: Path, fresh_sqlite: str
) -> None:
    with company(tmp_path / "two", fresh_sqlite) as other:  # the same policy, other keys
        refused(vault, TOKEN, ("north", 1), Sealer.of(other).seal(TOKEN, ("north", 1), "planted"))
    sealer = Sealer.of(vault)
    archive = sealer.keys("archive").newest()  # another store of this company
    refused(vault, TOKEN, ("north", 1), archive.seal("planted", place_of(TOKEN, ("north", "1"))))


def test_an_altered_or_truncated_value_cannot_be_opened(vault: Company) -> None:
    key, text = ("north", 1), tokens(vault)["north", 1]
    head = len("kept1.1.")
    altered = {text[:at] for at in range(len(text))} | {
        text + more for more in ("A", "=", "==", ".", " ", "\n")
    }
    for at in range(head, len(text)):
        letter = LETTERS[(LETTERS.index(text[at]) + 1) % 64]
        altered.add(text[:at] + letter + text[at + 1 :])
    altered |= {text[:-1] + letter for letter in LETTERS} - {text}  # the spare bits at the end too
    altered |= {
        text.upper(),
        text.replace("kept1.", "kept2."),
        text.replace("kept1.", "kept1s."),
        "",
        "kept1.1.",
    }
    altered |= {
        text.replace("kept1.1.", head)
        for head in ("kept1.01.", "kept1.0.", "kept1.+1.", "kept1.１.", "kept1.2.")
    }
    for one in altered:
        refused(vault, TOKEN, key, one)


def test_base64_that_is_not_as_written_here_is_no_sealed_value() -> None:
    key = StoreKey(1, b"k" * 32)
    for size in range(1, 40):
        text = key.seal("x" * size, b"place")
        found = Sealed.read(text)
        assert found is not None and str(found) == text and repr(found) == "<Sealed, generation 1>"
        twins = {text[:-1] + letter for letter in LETTERS} - {text}
        same = [t for t in twins if base64.urlsafe_b64decode(t[8:] + "==") == found.body]
        assert not any(Sealed.read(twin) for twin in same)
    assert Sealed.read(VALUE + "1." + "A" * 10) is None and Sealed.read(SEARCHED + "1." + "A" * 10) is None


def test_a_value_cannot_be_passed_off_as_one_of_another_generation(vault: Company) -> None:
    key, text = ("north", 1), tokens(vault)["north", 1]
    Sealer.of(vault).keys("app").make()
    refused(vault, TOKEN, key, text.replace("kept1.1.", "kept1.2."))
    refused(vault, TOKEN, key, text.replace("kept1.1.", "kept1.3."))


def test_an_old_value_put_back_after_its_key_is_destroyed_stays_shut(vault: Company) -> None:
    old = tokens(vault)["north", 1]
    resealing.rotate(vault, "app", grace=timedelta())
    execute(vault, "UPDATE integrations SET token = :t WHERE shop = 'north' AND number = 1", t=old)
    refused(vault, TOKEN, ("north", 1), old)
    [proof] = [
        p for p in prove(vault, vault.policy.section("security")["tokens"]) if p.measured["column"] == TOKEN
    ]
    assert proof.verdict == "broken" and proof.measured["without_key"] == 1


def test_a_key_cannot_be_taken_from_one_store_and_used_as_another(vault: Company) -> None:
    with vault.state.write() as connection:
        row = connection.execute(select(store_keys).where(store_keys.c.store == "app")).one()
        moved = row._asdict() | {"store": "archive"}
        connection.execute(insert(connection, store_keys).values(moved))
    with pytest.raises(KeptError, match="altered, or sealed with other keys"):
        Sealer.of(vault).keys("archive").newest()
    with vault.state.read() as connection:
        wrapped = bytes(
            connection.execute(select(store_keys.c.wrapped).where(store_keys.c.store == "app")).scalar_one()
        )
    for key in Sealer.of(vault).keys("app").living():
        assert repr(key) == "<StoreKey, generation 1>"
    assert len(wrapped) == 12 + 32 + 16  # the key itself is nowhere in the clear


def test_swapped_rows_are_seen_by_the_proof_and_stop_no_rotation_from_keeping_them(vault: Company) -> None:
    both = tokens(vault)
    for shop, other in (("north", "south"), ("south", "north")):
        execute(
            vault, "UPDATE integrations SET token = :t WHERE shop = :s AND number = 5", t=both[other, 5], s=shop
        )  # fmt: skip
    promise = vault.policy.section("security")["tokens"]
    assert [p.verdict for p in prove(vault, promise)] == ["broken", "kept"]
    done = resealing.rotate(vault, "app", grace=timedelta())
    assert done.spoilt[TOKEN] == 2 and done.waiting == (1,) and not done.destroyed  # nothing is lost by it
    for shop in ("north", "south"):
        execute(
            vault, "UPDATE integrations SET token = :t WHERE shop = :s AND number = 5", t=both[shop, 5], s=shop
        )  # fmt: skip
    assert resealing.rotate(vault, "app", grace=timedelta()).destroyed == (1,)
    assert [p.verdict for p in prove(vault, promise)] == ["kept", "kept"]


def test_text_that_only_looks_sealed_is_not_taken_for_it(vault: Company) -> None:
    fake = "kept1.1.this-is-my-token-in-the-clear-and-it-looks-sealed"
    execute(vault, "UPDATE integrations SET token = :t WHERE shop = 'north' AND number = 1", t=fake)
    refused(vault, TOKEN, ("north", 1), fake)
    assert prove(vault, vault.policy.section("security")["tokens"])[0].verdict == "broken"


def test_no_row_is_beyond_the_reach_of_the_proof(vault: Company) -> None:
    for number in range(1000, 2000):  # so many that not each is opened
        row = {"n": number, "t": Sealer.of(vault).seal(TOKEN, ("north", number), "a secret")}
        execute(vault, "INSERT INTO integrations VALUES ('north', :n, 1, :t, NULL, NULL)", **row)
    moved = (
        "UPDATE integrations SET token = (SELECT token FROM integrations WHERE number = 1 AND shop = 'north')"
    )
    execute(vault, f"{moved} WHERE number BETWEEN 1200 AND 1800")  # none at either end
    assert prove(vault, vault.policy.section("security")["tokens"])[0].verdict == "broken"


@pytest.mark.parametrize("purpose", ["passing-on", "selling", "nothing", "", "automation ", "Automation"])
def test_no_other_purpose_opens_it_however_it_is_named(vault: Company, purpose: str) -> None:
    with pytest.raises(Refused):
        Sealer.of(vault).open(
            TOKEN, ("north", 1), tokens(vault)["north", 1], purpose=purpose, person=customer(1)
        )
    assert not [entry for entry in vault.ledger.entries() if entry["act"] == "open"]


def test_a_purpose_of_one_promise_opens_nothing_that_another_promise_keeps_from_it(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    database(fresh_sqlite)
    text = POLICY + "  stricter: {seals: tokens, for: helping}\n"
    with company(tmp_path / "one", fresh_sqlite, text=text) as opened:
        sealed = Sealer.of(opened).seal(TOKEN, ("north", 1), "a secret")
        with pytest.raises(Refused):
            Sealer.of(opened).open(TOKEN, ("north", 1), sealed, purpose="automation", person=customer(1))


def test_equal_values_look_different_but_where_searching_is_declared(vault: Company) -> None:
    execute(vault, "UPDATE customers SET name = 'Same'")
    resealing.apply(vault, "app")
    names = [text for (text,) in ask(vault, "SELECT name FROM customers")]
    assert len(set(names)) == len(names)
    sealer = Sealer.of(vault)
    assert sealer.seal(EMAIL, 1, "a@b.example") == sealer.seal(EMAIL, 2, "a@b.example")
    assert sealer.seal(EMAIL, 1, "a@b.example") != sealer.seal(EMAIL, 1, "A@b.example")
