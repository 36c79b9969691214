"""LM-12, LM-13, LM-47, SL-17: what only a person may decide: proposed, decided by name, carried out, told, recorded."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.generators import lucent_marketplace
from kept.controls.purposes.decisions import deciding, measured, queue, seen
from kept.controls.purposes.decisions.change import purpose_of
from kept.controls.purposes.declare import NeverUsed
from kept.errors import KeptError
from tests.acceptance.company import SiteLucent
from tests.acceptance.decided import (
    ASKED,
    NAME,
    Bazaar,
    bazaar,
    carried,
    decide,
    entries,
    member,
    renaming,
    shown,
)
from tests.acceptance.postbox import Postbox, postbox
from tests.acceptance.serving import inside
from tests.conftest import MARIADB

BY = ("--as", "trust:4", "--by", "Robin Reed")


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Bazaar:
    url = None if request.param == "sqlite" else str(request.getfixturevalue(f"fresh_{request.param}"))
    return bazaar(tmp_path / "bazaar", url)


@pytest.fixture
def shop(tmp_path: Path) -> Bazaar:
    return bazaar(tmp_path / "bazaar")


def proposed(company: SiteLucent, *arguments: str) -> str:
    ran = company.kept("decide", "propose", *arguments)
    assert ran.code == 0, ran.err
    return ran.out.split()[0]


def test_a_decision_is_written_told_and_on_record_once(either: Bazaar, box: Postbox) -> None:
    box.used_by(either.folder)
    with either.opened() as company:
        id = renaming(company)
        assert either.name(1) == "Shop 1"
        accepted = decide(company, id)
        assert (accepted.state, accepted.decided_by, accepted.role) == ("accepted", "Robin Reed", "trust")
        assert either.name(1) == "Shop 1"
    assert carried(either, id, id) == [None, None]
    assert either.name(1) == "Lamps" and either.name(2) == "Shop 2"
    either.kept("work")
    either.kept("work")
    [letter] = box.to("m1@mail.example")
    for words in (
        "our trust staff decided",
        "It now reads: Lamps",
        "They showed their papers.",
        "no machine",
    ):
        assert words in letter, letter
    with either.opened() as company:
        assert queue.one(company, id).state == "done"
        assert decide(company, id).state == "done"  # the same once more: an answer that got lost
        whose = company.pseudonyms.of(["member:1"])["member:1"]
        [one], [two], [three], [four] = (
            entries(company, act) for act in ("propose", "decide", "decided", "decision told")
        )
        assert {one["person"], two["person"], three["person"], four["person"]} == {whose}
        assert (two["answer"], two["as"], two["by"]) == ("yes", "trust", "Robin Reed")
        assert three["counts"] == {"app": {"shops": {"corrected": 1}}} and four["letters"] == 1
        said = json.dumps([one, two, three, four])
        assert "Lamps" not in said and "papers" not in said and "member:1" not in said
    assert either.files_with("They showed their papers.") == []


def test_a_no_changes_nothing_and_is_told_as_one(shop: Bazaar, box: Postbox) -> None:
    box.used_by(shop.folder)
    with shop.opened() as company:
        id = renaming(company)
        decide(company, id, "no")
    assert carried(shop, id) == [None] and shop.name(1) == "Shop 1"
    shop.kept("work")
    [letter] = box.to("m1@mail.example")
    assert "decided against it: nothing was changed" in letter and "It now reads" not in letter
    with shop.opened() as company:
        assert queue.one(company, id).state == "refused" and not entries(company, "decided")
        assert [one["answer"] for one in entries(company, "decide")] == ["no"]


def test_what_the_policy_does_not_let_anybody_set_is_not_even_proposed(shop: Bazaar) -> None:
    with shop.opened() as company:

        def propose(purpose: str, cells: dict[str, str], **given: Any) -> None:
            queue.propose(company, purpose, member(1), cells, **({"by": "a page", "evidence": ASKED} | given))

        wrong: list[tuple[str, dict[str, str], dict[str, Any], str]] = [
            ("sign-in", {NAME: "Lamps"}, {}, "decides nothing"),
            ("no-such", {NAME: "Lamps"}, {}, "no such decision"),
            ("renaming", {}, {}, "needs what is to be set"),
            ("renaming", {"app.shops.stars": "5"}, {}, "doesn't set that column"),
            ("renaming", {"app.members.email": "x@mail.example"}, {}, "doesn't set that column"),
            ("moderating", {"app.posts.at": "2020-01-01"}, {"row": "11"}, "doesn't set that column"),
            ("renaming", {NAME: "Lamps"}, {"evidence": {}}, "needs `asked`"),
            ("renaming", {NAME: "Lamps"}, {"evidence": {"asked": " "}}, "needs `asked`"),
            ("renaming", {NAME: "Lamps"}, {"by": " \u200b"}, "who proposes"),
            ("renaming", {NAME: "Shop 2"}, {}, ""),  # the database wouldn't take it: another's
            ("moderating", {"app.posts.body": ""}, {"row": "21"}, "isn't theirs"),
            ("moderating", {"app.posts.body": ""}, {}, "several rows"),
            ("closing", {NAME: "Lamps"}, {}, "sets an end, and no column"),
        ]
        for purpose, cells, given, words in wrong:
            with pytest.raises(KeptError) as refused:
                propose(purpose, cells, **given)
            assert words in str(refused.value), (purpose, cells, str(refused.value))
        assert queue.listing(company, states=queue.ALL) == [] and not entries(company, "propose")
    assert shop.name(1) == "Shop 1"


def test_a_name_that_another_has_taken_meanwhile_is_not_decided(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = renaming(company)
        shop.do("UPDATE shops SET name = 'Lamps' WHERE id = 2")
        with pytest.raises(KeptError):
            decide(company, id)
        assert queue.one(company, id).state == "open"
        decide(company, id, "no")


def test_of_two_decisions_about_the_same_the_first_is_carried_out_first(shop: Bazaar) -> None:
    with shop.opened() as company:
        first, second = renaming(company, name="Lamps"), renaming(company, name="Bulbs")
        other = queue.propose(company, "ranking", member(1), {"app.shops.stars": "9"}, by="a page")
        crossing = queue.propose(company, "ranking", member(1), {NAME: "Candles"}, by="a page")
        decide(company, second)
        for late in (first, crossing):
            with pytest.raises(KeptError, match="about the same"):
                decide(company, late)
        decide(company, other)
    assert carried(shop, second, other) == [None, None] and shop.name(1) == "Bulbs"
    with shop.opened() as company:
        decide(company, first)
    assert carried(shop, first) == [None] and shop.name(1) == "Lamps"


def test_where_the_policy_names_nobody_any_of_the_staff_decides(shop: Bazaar) -> None:
    with shop.opened() as company:
        for role in ("sales:2", "staff", "trust:4"):
            id = queue.propose(company, "ranking", member(2), {"app.shops.stars": "5.5"}, by="a page")
            with pytest.raises(KeptError, match="decided by"):
                decide(company, id, role="member:2")
            decide(company, id, role=role)
            assert carried_here(shop, id)
    assert shop.ask("SELECT stars FROM shops WHERE id = 2") == [(5.5,)]


def carried_here(made: Bazaar, id: str) -> bool:
    return carried(made, id) == [None]


def test_a_person_decides_about_themselves_where_the_policy_says_so(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = queue.propose(company, "closing", member(2), by="member:2")
        with pytest.raises(KeptError):
            decide(company, id, role="member:1", by="Kim Alder")
        with pytest.raises(KeptError):
            decide(company, id, role="member", by="Kim Alder")
        done = decide(company, id, role="member:2", by="Kim Alder")
        whose = company.pseudonyms.of(["member:2"])["member:2"]
        assert done.decided_by == whose
    assert carried(shop, id) == [None]
    with shop.opened() as company:
        assert queue.one(company, id).state == "done"
        assert decide(company, id, role="member:2", by="Kim Alder").state == "done"
        with pytest.raises(KeptError, match="isn't open"):
            decide(company, id, role="member:1", by="Kim Alder")
        assert "Kim" not in json.dumps([dict(one) for one in company.ledger.entries()])
    assert shop.ask("SELECT id FROM members WHERE left_at IS NOT NULL") == [(2,)]


def test_whoever_stands_at_the_end_of_a_link_is_told_from_others_by_their_key(shop: Bazaar) -> None:
    with shop.opened() as company:
        ids = [
            queue.propose(company, "endorsing", member(4), {"app.shops.stars": "7"}, by="a page"),
            queue.propose(company, "closing", member(4), by="a page"),
        ]
        for id in ids:
            for role in ("firm.admin", "firm.admin:1", "firm.admin:4", "firm.user:3"):
                for answer in ("yes", "no"):
                    with pytest.raises(KeptError):
                        decide(company, id, answer, role=role, by="Kim Alder")
            done = decide(company, id, role="firm.admin:3", by="Kim Alder")
            assert done.role == "firm.admin"
            assert done.decided_by == company.pseudonyms.of(["member:3"])["member:3"]
    assert carried(shop, *ids) == [None, None]
    assert shop.ask("SELECT id FROM members WHERE left_at IS NOT NULL") == [(4,)]
    [(stars,)] = shop.ask("SELECT stars FROM shops WHERE id = 4")
    assert stars == 7


def test_a_post_is_hidden_by_the_moderator_of_its_report(either: Bazaar, box: Postbox) -> None:
    box.used_by(either.folder)
    with either.opened() as company:
        id = queue.propose(
            company,
            "moderating",
            member(1),
            {"app.posts.body": ""},
            row="12",
            case="report:81",
            by="a filter",
        )
        with pytest.raises(KeptError, match="needs a reason"):
            deciding.decide(company, id, "yes", "trust:4", "Robin Reed", " \u200b")
        decide(company, id)
    assert carried(either, id) == [None]
    assert either.ask("SELECT id, body FROM posts ORDER BY id") == [
        (11, "a kind word"),
        (12, None),
        (21, "of another"),
    ]
    either.kept("work")
    [letter] = box.to("m1@mail.example")
    assert "It was removed." in letter
    with either.opened() as company:
        [told] = entries(company, "decision told")
        assert (told["letters"], told["by_hand"]) == (1, 1)  # the administrator of their firm, by a word


def test_the_queue_shows_what_waits_and_forgets_what_is_over(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = renaming(company)
    [one] = shown(shop).values()
    assert (one["person"], one["set"], one["proposed_by"]) == ("member:1", {NAME: "Lamps"}, "shop page")
    ran = shop.kept("decide", "yes", id, "--as", "trust:4", "--by", "Robin Reed")
    assert ran.code == 0 and f"{id}: yes, by Robin Reed" in ran.out
    [one] = shown(shop).values()
    assert one["carried_out"] and one["decided_by"] == "Robin Reed"
    assert [one[what] for what in ("person", "set", "proposed_by", "case", "row")] == [None] * 5
    assert shop.state("SELECT sealed, ruling FROM proposals") == [(None, None)]
    assert "Nothing waits" in shop.kept("decide", "list").out


# What the board shows.


def proofs(made: Bazaar, name: str) -> list[tuple[str, str]]:
    return [(one["verdict"], one["says"]) for one in made.proofs(name)]


def test_a_change_past_the_queue_is_seen_and_one_through_it_is_not(either: Bazaar) -> None:
    with either.opened() as company:
        purpose = purpose_of(company, "renaming")
        assert seen.look(company, purpose) == seen.Seen(6, new=6)
        id = renaming(company)
        decide(company, id)
    carried(either, id)
    with either.opened() as company:
        assert seen.look(company, purpose) == seen.Seen(6)
        for other in ("ranking", "endorsing"):  # which set the same table, and were never looked at
            assert seen.look(company, purpose_of(company, other)).strange == 0
        either.do("UPDATE shops SET name = 'Forged' WHERE id = 3")
        assert seen.look(company, purpose) == seen.Seen(6, strange=1)
        assert seen.look(company, purpose_of(company, "ranking")).strange == 1
        assert seen.look(company, purpose_of(company, "endorsing")).strange == 0
        [broken, *_] = measured.measure(company, purpose)
        assert broken.verdict == "broken" and "1 of 6 rows" in broken.says
        either.do("UPDATE shops SET name = 'Shop 3' WHERE id = 3")
        assert seen.look(company, purpose).strange == 0


def test_a_decision_about_one_column_does_not_cover_what_nobody_decided_in_another(shop: Bazaar) -> None:
    with shop.opened() as company:
        ranking = purpose_of(company, "ranking")  # which sets the stars and the name
        seen.look(company, ranking)
        shop.do("UPDATE shops SET stars = 999 WHERE id = 1")
        id = renaming(company)
        decide(company, id)
    carried(shop, id)
    with shop.opened() as company:
        assert shop.name(1) == "Lamps" and seen.look(company, ranking) == seen.Seen(6, strange=1)
        assert seen.look(company, purpose_of(company, "renaming")).strange == 0
        shop.do("UPDATE shops SET stars = 1 WHERE id = 1")
        assert seen.look(company, ranking) == seen.Seen(6)


def test_rows_that_go_come_or_are_emptied_are_not_taken_for_changes(shop: Bazaar) -> None:
    with shop.opened() as company:
        purpose = purpose_of(company, "renaming")
        seen.look(company, purpose)
        shop.do("DELETE FROM shops WHERE id = 6")
        shop.do("INSERT INTO shops VALUES (7, 6, 'Later', 1)")
        assert seen.look(company, purpose) == seen.Seen(6, new=1)
        shop.do("INSERT INTO shops VALUES (6, 6, 'Again', 1)")
        assert seen.look(company, purpose) == seen.Seen(7, new=1)
        shop.do("UPDATE shops SET name = NULL WHERE id = 5")  # as an erasure does
        assert seen.look(company, purpose) == seen.Seen(7, emptied=1)
        assert seen.look(company, purpose) == seen.Seen(7)
        shop.do("UPDATE shops SET name = '' WHERE id = 5")
        assert seen.look(company, purpose) == seen.Seen(7, emptied=1)
        shop.do("UPDATE shops SET name = 'Refilled' WHERE id = 5")
        assert seen.look(company, purpose) == seen.Seen(7, strange=1)


def test_one_number_written_in_another_way_is_no_change(shop: Bazaar) -> None:
    with shop.opened() as company:
        purpose = purpose_of(company, "endorsing")
        seen.look(company, purpose)
        for same in ("1.0", "1.00", "'1'"):
            shop.do(f"UPDATE shops SET stars = {same} WHERE id = 1")
            assert seen.look(company, purpose).strange == 0, same
        for other in ("1.01", "10", "-1", "0", "''", "'x'"):
            shop.do(f"UPDATE shops SET stars = {other} WHERE id = 1")
            found = seen.look(company, purpose)
            assert found.strange + found.emptied == 1, other
            shop.do("UPDATE shops SET stars = 1 WHERE id = 1")
            seen.look(company, purpose)
            with company.state.write() as connection:
                connection.exec_driver_sql("DELETE FROM decided_values")
            seen.look(company, purpose)


def test_a_decision_that_never_committed_leaves_nothing_to_be_taken_for_decided(
    shop: Bazaar, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shop.opened() as company:
        purpose = purpose_of(company, "renaming")
        seen.look(company, purpose)
        id = renaming(company)
        decide(company, id)
    marking = seen.mark

    def fails(*given: Any) -> None:
        marking(*given)
        raise KeptError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(seen, "mark", fails)
        assert carried(shop, id) == ["the database went away"]
    assert shop.name(1) == "Shop 1"
    with shop.opened() as company:
        assert queue.one(company, id).problem == "the database went away"
        assert seen.look(company, purpose) == seen.Seen(6, marked=1)
        assert measured.measure(company, purpose)[0].verdict == "unproven"
    assert carried(shop, id) == [None] and shop.name(1) == "Lamps"
    with shop.opened() as company:
        assert seen.look(company, purpose) == seen.Seen(6)


def test_no_decision_is_a_machines(shop: Bazaar) -> None:
    with shop.opened() as company:
        promise = company.policy.section("purposes")["alone"]
        assert isinstance(promise, NeverUsed)
        assert [one.verdict for one in measured.machine_alone(company, promise)] == ["unproven"]
        id = renaming(company)
        decide(company, id)
        assert [one.verdict for one in measured.machine_alone(company, promise)] == ["kept", "unproven"]
    carried(shop, id)
    with shop.opened() as company:
        assert measured.machine_alone(company, promise)[0].verdict == "kept"
        shop.state("UPDATE proposals SET decided_by = 'system'")
        assert measured.machine_alone(company, promise)[0].verdict == "broken"
        shop.state("UPDATE proposals SET decided_by = 'Kim Alder'")  # another than the ledger says
        assert measured.machine_alone(company, promise)[0].verdict == "broken"


def test_an_end_that_a_program_set_for_staff_is_seen(shop: Bazaar) -> None:
    shop.kept("end", "closing", "member:1", "--as", "trust", "--by", "system", "--why", "rule 7")
    with shop.opened() as company:
        promise = company.policy.section("purposes")["alone"]
        assert isinstance(promise, NeverUsed)
        assert measured.machine_alone(company, promise)[0].verdict == "broken"


# The examples.


def test_the_marketplace_renames_closes_and_moderates_by_decision(tmp_path: Path, box: Postbox) -> None:
    lucent_marketplace.build(tmp_path / "company", 40, 3)
    company = SiteLucent(tmp_path / "company")
    box.used_by(company.folder)
    shops = Shops(company.folder)
    [(seller, email)] = shops.ask(
        "SELECT m.id, m.email FROM members m JOIN shops s ON s.member_id = m.id WHERE m.closed_at IS NULL LIMIT 1"
    )
    id = proposed(
        company, "renaming", f"member:{seller}", "--set", "shop.shops.name=Lamp House", "--by", "the shop page",
        "--evidence", "asked=by letter",
    )  # fmt: skip
    assert company.kept("decide", "yes", id, "--as", "trust:4", "--by", "the shop page").code == 2
    assert company.kept("decide", "yes", id, *BY).code == 0
    assert shops.ask("SELECT name FROM shops WHERE member_id = ?", seller) == [("Lamp House",)]

    report, staff = 9001, 7
    [(post, author)] = shops.ask("SELECT id, member_id FROM listings ORDER BY id LIMIT 1")
    shops.put(
        "INSERT INTO reports VALUES (?, ?, ?, ?, '2026-10-02 21:47:37', NULL)", report, author, post, staff
    )
    id = proposed(
        company, "moderating", f"member:{author}", "--set", "shop.listings.body=", "--row", str(post),
        "--case", f"report:{report}", "--by", "a filter",
    )  # fmt: skip
    mine = ("--as", f"trust:{staff}", "--by", "Robin Reed")
    assert "needs a reason" in company.kept("decide", "yes", id, *mine).err
    other = company.kept(
        "decide", "yes", id, "--as", f"trust:{staff + 1}", "--by", "Robin Reed", "--why", "Hatred."
    )
    assert other.code == 2 and "another's to work on" in other.err and "LM-47" in other.err
    assert company.kept("decide", "yes", id, *mine, "--why", "Hatred.").code == 0
    [(body,)] = shops.ask("SELECT body FROM listings WHERE id = ?", post)
    assert not body

    [(gone,)] = shops.ask(
        "SELECT id FROM members WHERE closed_at IS NULL AND id <> ? ORDER BY id DESC LIMIT 1", seller
    )
    id = proposed(company, "closing", f"member:{gone}", "--by", "fraud score 0.97")
    assert "needs a reason" in company.kept("decide", "yes", id, *BY).err
    assert company.kept("decide", "yes", id, *BY, "--why", "Sold forged lamps twice.").code == 0
    [(closed,)] = shops.ask("SELECT closed_at FROM members WHERE id = ?", gone)
    assert closed is not None
    company.kept("work")
    assert len(box.to(str(email))) == 1 and "Lamp House" in box.to(str(email))[0]
    assert company.files_with("forged lamps") == []


class Shops(SiteLucent):
    """The marketplace's own database."""

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "shop.sqlite")) as database:
            return database.execute(query, values).fetchall()

    def put(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.folder / "shop.sqlite")) as database:
            database.execute(statement, values)
            database.commit()


def test_sitelucent_deactivates_through_the_queue_and_by_kept_end(tmp_path: Path, box: Postbox) -> None:
    company = SiteLucent.made(tmp_path / "company", 40)
    box.used_by(company.folder)
    [(admin, user)] = company.ask(
        "SELECT a.admin_id, a.user_id FROM administered a JOIN users u ON u.id = a.user_id"
        " JOIN users b ON b.id = a.admin_id WHERE u.deactivated_at IS NULL AND b.deactivated_at IS NULL"
        " AND u.id <> b.id LIMIT 1"
    )
    id = proposed(company, "deactivating", f"user:{user}", "--by", "an offboarding script")
    wrong = company.kept("decide", "yes", id, "--as", "administers.admin", "--by", "Kim Alder")
    assert wrong.code == 2
    done = company.kept("decide", "yes", id, "--as", f"administers.admin:{admin}", "--by", "Kim Alder")
    assert done.code == 0, done.err
    assert company.ask("SELECT COUNT(*) FROM users WHERE id = ? AND deactivated_at IS NOT NULL", user) == [
        (1,)
    ]
    [(other,)] = company.ask("SELECT id FROM users WHERE deactivated_at IS NULL ORDER BY id LIMIT 1")
    assert company.kept("end", "deactivating", f"user:{other}", "--as", "support", "--by", "Robin").code == 0
    company.kept("work")
    [email] = company.ask("SELECT email FROM users WHERE id = ?", user)
    [letter] = box.to(str(email[0]))
    assert "ended by your admin" in letter


# Over HTTP.


def test_the_api_proposes_lists_and_decides_and_the_worker_carries_out(shop: Bazaar) -> None:
    with inside(shop.folder) as server, server.client(api=True) as api:
        with server.client() as nobody:
            for method, path in (("GET", ""), ("POST", ""), ("POST", f"/{'a' * 32}/yes")):
                assert nobody.request(method, f"/api/decisions{path}", json={}).status_code == 401
        new = {"purpose": "renaming", "who": "member:1", "set": {NAME: "Lamps"}, "by": "shop page"}
        assert api.post("/api/decisions", json=new).status_code == 400  # nobody asked
        new |= {"evidence": ASKED, "id": "5" * 32}
        assert [api.post("/api/decisions", json=new).status_code for _ in range(2)] == [201, 201]
        assert api.post("/api/decisions", json=new | {"who": "member:2"}).status_code == 400
        assert api.post("/api/decisions", json=new | {"who": "member:99", "id": "6" * 32}).status_code == 404
        [one] = api.get("/api/decisions").json()
        assert one["id"] == "5" * 32 and one["person"] == "member:1"
        yes, robin = f"/api/decisions/{one['id']}/yes", {"as": "trust:4", "by": "Robin Reed"}
        assert api.post(yes, json={"as": "trust:4"}).status_code == 422
        for wrong in ({"as": "sales:1"}, {"by": "system"}, {"by": "shop page"}):
            assert api.post(yes, json=robin | wrong).status_code == 403
        assert api.post(f"/api/decisions/{'7' * 32}/yes", json=robin).status_code == 404
        assert api.post(f"/api/decisions/{one['id']}/maybe", json=robin).status_code == 422
        assert api.post(yes, json=robin).json()["state"] == "accepted"
        server.work()
        assert shop.name(1) == "Lamps" and api.get("/api/decisions").json() == []
        assert api.post(yes, json=robin).json()["state"] == "done"  # an answer that got lost
        assert api.post(yes.replace("yes", "no"), json=robin).status_code == 409
        [over] = api.get("/api/decisions", params={"every": True}).json()
        assert over["carried_out"] and over["person"] is None


def test_a_company_without_a_token_answers_nobody(shop: Bazaar) -> None:
    with inside(shop.folder, KEPT_API_TOKEN="") as server, server.client(api=True) as api:
        assert api.get("/api/decisions").status_code == 403
