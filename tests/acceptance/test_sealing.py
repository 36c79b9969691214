"""Sealed columns: what is sealed, who opens it, what is on record, and keys that change while applications go on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import select

from examples.generators import lumnar
from kept.company import Company
from kept.company import opened as opened_company
from kept.controls.purposes.cases.looks import look
from kept.controls.refused import Refused
from kept.controls.registry import load
from kept.controls.security.prove import prove
from kept.controls.security.sealing import keys, openings, resealing
from kept.controls.security.sealing.column import NotSealed, Sealed, SealedText
from kept.controls.security.sealing.form import length
from kept.controls.security.sealing.sealer import MASKED, Sealer
from kept.errors import KeptError
from kept.state.uses import store_keys
from tests.acceptance.choosing import Clock
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
    readable,
    secret,
    tokens,
)
from tests.conftest import MARIADB

ROOT = Path(__file__).parents[2]
NOTHING = timedelta()
AUDITED = POLICY.replace(
    "  passing-on:",
    "  auditing:   {uses: [tokens, contact], ground: legal-duty, law: the audit act, by: support}\n  passing-on:",
).replace("helping, selling]", "helping, selling, auditing]")


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"fresh_{request.param}")
    database(found)
    return found


@pytest.fixture
def vault(tmp_path: Path, fresh_sqlite: str) -> Iterator[Company]:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite) as opened:
        yield opened


def entries(opened: Company, act: str) -> list[dict[str, Any]]:
    return [entry for entry in opened.ledger.entries() if entry["act"] == act]


def test_what_stands_open_is_sealed_in_place_and_nothing_twice(url: str, tmp_path: Path) -> None:
    with company(tmp_path, url) as opened:
        done = resealing.apply(opened, "app")
        assert done.values == {TOKEN: 24, ENDPOINT: 16, EMAIL: 12, NAME: 12} and not any(done.spoilt.values())
        assert all(text.startswith("kept1.1.") for text in tokens(opened).values()) and readable(opened)
        assert not any(resealing.apply(opened, "app").values.values())
        assert [one["values"][TOKEN] for one in entries(opened, "seal")] == [24]
        assert ask(opened, "SELECT count(*) FROM integrations WHERE endpoint IS NULL") == [(8,)]


def test_it_is_opened_for_the_declared_purpose_only_and_for_others_masked(vault: Company) -> None:
    sealer = Sealer.of(vault)
    text, who = sealer.seal(TOKEN, ("north", 1), "a secret"), customer(1)
    assert "a secret" not in text
    assert sealer.open(TOKEN, ("north", 1), text, purpose="automation", person=who) == "a secret"
    for purpose, rule in (("passing-on", "sealed"), ("nothing", "purpose"), ("selling", "")):
        with pytest.raises(Refused) as refused:
            sealer.open(TOKEN, ("north", 1), text, purpose=purpose, person=who)
        assert not rule or refused.value.reason == rule
        assert sealer.shown(TOKEN, ("north", 1), text, purpose=purpose, person=who) == MASKED
    with pytest.raises(Refused):
        sealer.open(TOKEN, ("north", 1), text, purpose="automation")  # nobody is named
    with pytest.raises(Refused, match="no member of staff"):
        sealer.open(TOKEN, ("north", 1), text, purpose="automation", person=who, by="support:4")
    with pytest.raises(KeptError, match="doesn't seal this column"):
        sealer.seal("app.plans.id", 1, "x")
    with pytest.raises(KeptError, match="no key yet"):
        sealer.seal(TOKEN, ("north", None), "x")


def test_staff_open_it_in_a_case_of_theirs_and_each_time_is_on_the_ledger(vault: Company) -> None:
    execute(vault, "INSERT INTO tickets VALUES (81, 1, 4, '2026-05-01', NULL)")
    sealer, who = Sealer.of(vault), customer(1)
    text = sealer.seal(TOKEN, ("north", 1), "a secret")
    use: dict[str, Any] = {"purpose": "helping", "person": who}
    for _ in range(2):
        assert sealer.open(TOKEN, ("north", 1), text, by="support:4", case="ticket:81", **use) == "a secret"
    for by, case in (("support:5", "ticket:81"), ("support:4", None), ("support:4", "ticket:82")):
        with pytest.raises(Refused):
            sealer.open(TOKEN, ("north", 1), text, by=by, case=case, **use)
    noted = entries(vault, "open")
    assert [one["at_most"] for one in noted] == [1, 1]
    assert {(one["by"], one["case"], one["field"]) for one in noted} == {("support:4", "ticket:81", TOKEN)}
    assert noted[0]["who"] == vault.pseudonyms.of([str(who)])[str(who)]


def test_what_staff_type_as_a_case_stays_off_the_ledger_where_none_is_needed(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite, text=AUDITED) as opened:
        sealer, who = Sealer.of(opened), customer(1)
        text = sealer.seal(TOKEN, ("north", 1), "a secret")
        use: dict[str, Any] = {"purpose": "auditing", "person": who}
        sealer.open(TOKEN, ("north", 1), text, by="support:4", case="ada@mail.example", **use)
        with pytest.raises(Refused, match="by role and key"):
            sealer.open(TOKEN, ("north", 1), text, by="support", **use)  # a role alone is nobody
        [noted] = entries(opened, "open")
        assert noted["by"] == "support:4" and "ada" not in json.dumps(noted)


def test_a_look_opens_what_is_sealed_for_its_purpose_and_nothing_else(url: str, tmp_path: Path) -> None:
    with company(tmp_path, url, text=AUDITED) as opened:
        resealing.apply(opened, "app")
        seen = look(opened, "auditing", None, customer(1), by="support:4")
        assert {row["token"] for row in seen.rows["app.integrations"]} == {
            secret("north", 1),
            secret("south", 1),
        }
        [own] = seen.rows["app.customers"]
        assert own == {"name": "sealed", "email": "sealed"}
        assert set(seen.rows["app.integrations"][0]) == {"token", "endpoint", "made_at"}
        [entry] = entries(opened, "look")
        assert sorted(entry["masked"]) == [EMAIL, NAME] and TOKEN in entry["fields"]
        assert "token-" not in json.dumps(entry) and "token-" not in repr(seen)
        execute(opened, "UPDATE integrations SET token = :t WHERE number = 1", t=tokens(opened)["north", 1])
        execute(opened, "INSERT INTO tickets VALUES (81, 1, 4, '2026-05-01', NULL)")
        searched = look(opened, "helping", "contact", customer(1), by="support:4", case="ticket:81")
        assert searched.rows["app.customers"] == ({"name": "Name 1", "email": "c1@mail.example"},)
        moved = look(opened, "auditing", "tokens", customer(1), by="support:4").rows["app.integrations"]
        assert sorted(str(row["token"]) for row in moved) == ["sealed", secret("north", 1)]


def test_a_column_that_other_data_shares_stays_sealed_in_a_look(tmp_path: Path, fresh_sqlite: str) -> None:
    database(fresh_sqlite)
    text = AUDITED.replace(
        "data:\n", "data:\n  badge: {of: customer, in: {app.customers: {name: name}}}\n", 1
    )
    text = text.replace("uses: [tokens, contact], ground: legal-duty", "uses: badge, ground: legal-duty")
    text = text.replace("helping, selling, auditing]", "helping, selling]")
    with company(tmp_path, fresh_sqlite, text=text) as opened:
        resealing.apply(opened, "app")
        seen = look(opened, "auditing", None, customer(1), by="support:4")
        assert [dict(row) for row in seen.rows["app.customers"]] == [{"name": "sealed"}], seen.decision
        assert entries(opened, "look")[0]["masked"] == ["app.customers.name"]


def test_the_ledger_never_says_fewer_were_opened_than_were(
    vault: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealer, who = Sealer.of(vault), customer(1)
    text = sealer.seal(TOKEN, ("north", 1), "a secret")
    for opened in range(1, 101):
        sealer.open(TOKEN, ("north", 1), text, purpose="automation", person=who)
        said = sum(one["at_most"] for one in entries(vault, "open"))
        assert opened <= said <= 2 * opened
    assert len(entries(vault, "open")) == 7  # allowances of 1, 2, 4 … 64
    monkeypatch.setattr(openings, "LONGEST", 0.0)  # long after: exact again
    for _ in range(127 - 100 + 3):
        sealer.open(TOKEN, ("north", 1), text, purpose="automation", person=who)
    assert [one["at_most"] for one in entries(vault, "open")][-3:] == [1, 1, 1]


def test_nothing_is_opened_where_the_ledger_cannot_be_written(vault: Company) -> None:
    sealer = Sealer.of(vault)
    text = sealer.seal(TOKEN, ("north", 1), "a secret")
    with closing(sqlite3.connect(vault.directory / "ledger.sqlite")) as other, other:
        other.execute("DROP TABLE entries")
    with pytest.raises(KeptError):
        sealer.open(TOKEN, ("north", 1), text, purpose="automation", person=customer(1))


def test_a_searchable_column_is_found_by_its_value_and_only_by_that(url: str, tmp_path: Path) -> None:
    with company(tmp_path, url) as opened:
        resealing.apply(opened, "app")
        sealer = Sealer.of(opened)

        def found(value: str) -> list[int]:
            texts = {f"v{n}": text for n, text in enumerate(sealer.search(EMAIL, value))}
            names = ", ".join(f":{name}" for name in texts)
            return [
                id for (id,) in ask(opened, f"SELECT id FROM customers WHERE email IN ({names})", **texts)
            ]

        assert found("c7@mail.example") == [7] and found("c8") == []
        sealer.keys("app").make()  # a rotation is under way: one half is sealed anew
        column = sealer.columns[EMAIL]
        [(text,)] = ask(opened, "SELECT email FROM customers WHERE id = 7")
        execute(
            opened, "UPDATE customers SET email = :new WHERE id = 7", new=sealer.resealed(column, 7, text)
        )
        assert found("c7@mail.example") == [7] and found("c8@mail.example") == [8]
        assert sealer.seal(NAME, 1, "x") != sealer.seal(NAME, 1, "x")
        with pytest.raises(KeptError, match="searchable: name"):
            sealer.search(NAME, "Name 1")


def test_a_column_that_becomes_searchable_is_sealed_anew(tmp_path: Path, fresh_sqlite: str) -> None:
    database(fresh_sqlite)
    before = POLICY.replace(", searchable: email", "")
    with company(tmp_path, fresh_sqlite, text=before) as opened:
        resealing.apply(opened, "app")
        assert {t[:6] for (t,) in ask(opened, "SELECT email FROM customers")} == {"kept1."}
    with company(tmp_path, fresh_sqlite) as opened:
        assert resealing.apply(opened, "app").values[EMAIL] == 12
        [(text,)] = ask(opened, "SELECT email FROM customers WHERE id = 3")
        assert Sealer.of(opened).search(EMAIL, "c3@mail.example") == [text]


def test_a_rotation_seals_all_anew_and_destroys_the_old_key_when_nothing_can_need_it(
    url: str, tmp_path: Path
) -> None:
    clock = Clock()
    with company(tmp_path, url, clock) as opened:
        resealing.apply(opened, "app")
        old = tokens(opened)
        first = resealing.rotate(opened, "app")
        assert first.values == {TOKEN: 24, ENDPOINT: 16, EMAIL: 12, NAME: 12}
        assert first.waiting == (1,) and not first.destroyed and readable(opened)
        column = Sealer.of(opened).columns[TOKEN]
        assert Sealer.of(opened).opened(column, ("north", 1), old["north", 1]) == secret("north", 1)
        clock.pass_(minutes=11)
        second = resealing.rotate(opened, "app")  # the same rotation, not another one
        assert second.destroyed == (1,) and not any(second.values.values()) and readable(opened)
        assert all(text.startswith("kept1.2.") for text in tokens(opened).values())
        with pytest.raises(KeptError, match="was destroyed"):
            Sealer.of(opened).opened(column, ("north", 1), old["north", 1])
        with opened.state.read() as connection:
            rows = connection.execute(select(store_keys).order_by(store_keys.c.number)).all()
        assert [(row.number, bool(row.wrapped), row.retired is None) for row in rows] == [
            (1, False, False),
            (2, True, True),
        ]
        states = [(one["generation"], one["state"]) for one in entries(opened, "seal-key")]
        assert states == [(1, "made"), (2, "made"), (1, "destroyed")]
        assert resealing.rotate(opened, "app", grace=NOTHING).destroyed == (2,) and readable(opened)


def test_an_application_seals_opens_and_writes_while_the_key_is_changed(url: str, tmp_path: Path) -> None:
    with company(tmp_path, url) as opened:
        resealing.apply(opened, "app")
        sealer, stop, wrong = Sealer.of(opened), threading.Event(), list[str]()
        written: dict[int, str] = {}

        def at_work() -> None:
            for turn in range(10_000):
                if stop.is_set():
                    return
                id = 1 + turn % 12
                value = f"new-{turn}"
                try:
                    text = sealer.seal(TOKEN, ("north", id), value)
                    execute(
                        opened, "UPDATE integrations SET token = :t WHERE shop = 'north' AND number = :n",
                        t=text, n=id,
                    )  # fmt: skip
                    written[id] = value
                    [(there,)] = ask(
                        opened, "SELECT token FROM integrations WHERE shop = 'south' AND number = :n", n=id
                    )
                    sealer.opened(sealer.columns[TOKEN], ("south", id), there)
                except KeptError as error:
                    wrong.append(error.message)

        worker = threading.Thread(target=at_work)
        worker.start()
        try:
            for _ in range(3):
                opened.clock.pass_(hours=1)  # type: ignore[attr-defined]  # the tests' clock
                resealing.rotate(opened, "app")
        finally:
            stop.set()
            worker.join()
        opened.clock.pass_(hours=1)  # type: ignore[attr-defined]  # the tests' clock
        resealing.rotate(opened, "app")
        assert not wrong and written
        for (shop, id), text in tokens(opened).items():
            plain = sealer.opened(sealer.columns[TOKEN], (shop, id), text)
            assert plain == (written.get(id, secret(shop, id)) if shop == "north" else secret(shop, id))


CHILD = """
import os, sys
from pathlib import Path
from kept.controls.security.sealing import resealing
from tests.acceptance.sealed import company
resealing.BATCH = 2
kill = int(sys.argv[3])
seen = 0
def progress(field, rows):
    global seen
    seen += 1
    if seen == kill:
        os.kill(os.getpid(), 9)
with company(Path(sys.argv[1]), sys.argv[2]) as opened:
    from datetime import timedelta
    resealing.rotate(opened, "app", grace=timedelta(), progress=progress)
"""


@pytest.mark.parametrize("spot", [1, 3, 7, 12, 20, 29])
def test_a_rotation_killed_anywhere_loses_nothing_and_goes_on(
    tmp_path: Path, fresh_sqlite: str, spot: int
) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite) as opened:
        resealing.apply(opened, "app")
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), fresh_sqlite, str(spot)],
        env=environment, cwd=ROOT, timeout=120, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    with company(tmp_path, fresh_sqlite) as opened:
        assert readable(opened)
        halves = {text.split(".")[1] for text in tokens(opened).values()}
        done = resealing.rotate(opened, "app", grace=NOTHING)
        assert done.destroyed == (1,) and halves <= {"1", "2"} and readable(opened)
        assert {text.split(".")[1] for text in tokens(opened).values()} == {"2"}


def test_a_rotation_killed_while_the_old_key_is_destroyed_leaves_nothing_of_it(
    vault: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    resealing.apply(vault, "app")
    wrapped = _wrapped(vault, 1)
    assert wrapped in _files(vault)

    note = keys.StoreKeys.note

    def killed(mine: keys.StoreKeys) -> None:
        if not _wrapped(vault, 1):
            raise KeyboardInterrupt
        note(mine)

    with monkeypatch.context() as patched:
        patched.setattr(keys.StoreKeys, "note", killed)
        with pytest.raises(KeyboardInterrupt):
            resealing.rotate(vault, "app", grace=NOTHING)
    assert readable(vault)
    resealing.rotate(vault, "app", grace=NOTHING)
    assert wrapped not in _files(vault) and readable(vault)
    assert (1, "destroyed") in _noted(vault)


def test_a_key_made_just_before_a_crash_is_on_the_ledger_after_the_next_rotation(vault: Company) -> None:
    resealing.apply(vault, "app")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vault.ledger, "append_many", crash)
        with pytest.raises(KeyboardInterrupt):
            Sealer.of(vault).keys("app").make()
    assert _noted(vault) == [(1, "made")]
    vault.memory.pop(Sealer)  # the process that runs it again remembers nothing
    assert resealing.rotate(vault, "app", grace=NOTHING).destroyed == (1,)
    assert _noted(vault) == [(1, "made"), (2, "made"), (1, "destroyed")]


def _noted(opened: Company) -> list[tuple[int, str]]:
    return [(one["generation"], one["state"]) for one in entries(opened, "seal-key")]


def _wrapped(opened: Company, number: int) -> bytes:
    with opened.state.read() as connection:
        return bytes(
            connection.execute(select(store_keys.c.wrapped).where(store_keys.c.number == number)).scalar_one()
        )


def _files(opened: Company) -> bytes:
    return b"".join(path.read_bytes() for path in opened.directory.glob("kept.sqlite*"))


def test_keys_are_kept_in_a_state_on_a_server_too(
    tmp_path: Path, fresh_sqlite: str, fresh_postgresql: str
) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite, state=fresh_postgresql) as opened:
        resealing.apply(opened, "app")
        assert resealing.rotate(opened, "app", grace=NOTHING).destroyed == (1,) and readable(opened)
        with opened.state.read() as connection:
            kept = (
                connection.execute(select(store_keys.c.wrapped).order_by(store_keys.c.number)).scalars().all()
            )
        assert [len(one) for one in kept] == [0, 60]


def test_two_processes_that_seal_first_agree_on_one_key(tmp_path: Path, fresh_sqlite: str) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite) as one, company(tmp_path, fresh_sqlite) as other:
        sealers = [Sealer.of(one), Sealer.of(other)]
        texts = [sealer.seal(TOKEN, ("north", 1), "a secret") for sealer in sealers]
        for sealer in sealers:
            for text in texts:
                assert sealer.opened(sealer.columns[TOKEN], ("north", 1), text) == "a secret"


def test_another_process_learns_of_a_new_key_and_opens_what_it_seals(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite) as one, company(tmp_path, fresh_sqlite) as other:
        resealing.apply(one, "app")
        column = Sealer.of(other).columns[TOKEN]
        assert readable(other)
        resealing.rotate(one, "app")
        assert readable(other)  # at once: a key it doesn't know is looked for
        text = tokens(one)["north", 1]
        assert Sealer.of(other).opened(column, ("north", 1), text) == secret("north", 1)


def test_an_emptied_value_is_nothing_to_seal(url: str, tmp_path: Path) -> None:
    with company(tmp_path, url) as opened:
        execute(opened, "UPDATE integrations SET token = '' WHERE shop = 'north' AND number = 1")
        execute(opened, "UPDATE customers SET email = 'erased-0123456789abcdef' WHERE id = 1")
        done = resealing.apply(opened, "app")
        assert done.values[TOKEN] == 23 and done.values[EMAIL] == 11


def test_lumnar_keeps_its_promise_about_tokens_once_they_are_sealed(tmp_path: Path) -> None:
    lumnar.build(tmp_path, 60, 3)
    with opened_company(load(tmp_path / "policy.yaml"), tmp_path) as found:
        promise = found.policy.section("security")["tokens"]
        assert {proof.verdict for proof in prove(found, promise)} == {"broken"}
        stood = {row[0]: row[1] for row in ask(found, "SELECT id, token FROM integrations")}
        resealing.apply(found, "app")
        assert [proof.verdict for proof in prove(found, promise)] == ["kept", "kept"]
        query = (
            "SELECT i.id, i.customer_id, i.token FROM integrations i JOIN customers c ON c.id = i.customer_id"
        )
        [(id, owner, text), *_] = ask(found, f"{query} WHERE c.closed_at IS NULL")
        use: dict[str, Any] = {"person": customer(owner)}
        sealer = Sealer.of(found)
        assert sealer.open(TOKEN, id, text, purpose="automation", **use) == stood[id]
        for purpose in ("business-sale", "service", "legal-demands"):
            assert sealer.shown(TOKEN, id, text, purpose=purpose, **use) == MASKED


def test_a_column_type_takes_sealed_values_only_and_shows_none(vault: Company) -> None:
    sealer, metadata = Sealer.of(vault), sa.MetaData()
    table = sa.Table(
        "integrations", metadata,
        sa.Column("shop", sa.String, primary_key=True), sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("customer_id", sa.Integer), sa.Column("token", Sealed),
    )  # fmt: skip
    row = {"shop": "east", "number": 1, "customer_id": 1}
    engine = vault.stores["app"].engine
    with engine.connect() as connection:
        with pytest.raises(NotSealed), connection.begin():
            connection.execute(table.insert(), row | {"token": "a secret"})
        with connection.begin():
            text = sealer.seal(TOKEN, ("east", 1), "a secret")
            connection.execute(table.insert(), row | {"token": text})
        with connection.begin():
            read = connection.execute(select(table.c.token).where(table.c.shop == "east")).scalar_one()
            assert isinstance(read, SealedText) and read == SealedText(text)
            assert text not in repr(read) and text not in f"{read}"
            use: dict[str, Any] = {"purpose": "automation", "person": customer(1)}
            assert sealer.open(TOKEN, ("east", 1), read.text, **use) == "a secret"
        with pytest.raises(NotSealed), connection.begin():
            connection.execute(select(table.c.token).where(table.c.shop == "north")).all()  # these stand open


def test_the_length_of_a_sealed_value_is_known_beforehand(vault: Company) -> None:
    sealer = Sealer.of(vault)
    for plain in ("x", "ab", "abc", "ü" * 40, "🔑" * 7):
        size = len(plain.encode())
        assert len(sealer.seal(TOKEN, ("north", 1), plain)) == length(size)
        assert len(sealer.seal(EMAIL, 1, plain)) == length(size, searched=True)
        assert sealer.opened(sealer.columns[EMAIL], 1, sealer.seal(EMAIL, 1, plain)) == plain


def test_the_commands_seal_rotate_and_say_when_to_come_again(tmp_path: Path, fresh_sqlite: str) -> None:
    database(fresh_sqlite)
    (tmp_path / "policy.yaml").write_text(POLICY)
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "APP_DATABASE_URL": fresh_sqlite,
        "KEPT_DIR": str(tmp_path),
    }  # fmt: skip

    def kept(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kept", *arguments], env=environment, cwd=ROOT, timeout=120,
            check=False, capture_output=True, text=True,
        )  # fmt: skip

    first = kept("seal", "apply", "app")
    assert first.returncode == 0 and f"{TOKEN}: 24 sealed" in first.stdout, first.stderr
    turned = kept("seal", "rotate", "app")
    assert turned.returncode == 1 and "run this again then" in turned.stdout, turned.stderr
    ended = kept("seal", "rotate", "app", "--grace", "0", "--format", "json")
    assert ended.returncode == 0 and '"destroyed": [1]' in ended.stdout, ended.stderr
    strange = kept("seal", "apply", "nowhere")
    assert strange.returncode == 2 and "seals nothing" in strange.stderr
