"""Data leaving for parties: what is declared goes, and stands on the register first; nothing else goes."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from kept.company import Company
from kept.controls.choices.records.book import New, record
from kept.controls.collection.persons import verified
from kept.controls.disclosure import gathered, register
from kept.controls.disclosure.enforce import Disclosed, decisions, disclose, planned
from kept.controls.purposes.enforce import Gate
from kept.controls.refused import Refused
from kept.controls.registry import check
from kept.controls.rights.answers import passed_on
from kept.controls.rights.people import Person
from kept.errors import TerminalError
from kept.mail.letter import Letter
from kept.state.tables import instructions
from tests.acceptance.choosing import Clock, policy
from tests.acceptance.disclosing import DOCUMENT, POLICY, buyer, ledger, refusal, rows, shop


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Company]:
    state = request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None
    with shop(tmp_path / "atelier", state=state) as opened:
        yield opened


@pytest.fixture
def atelier(tmp_path: Path) -> Iterator[Company]:
    with shop(tmp_path / "atelier") as opened:
        yield opened


def test_what_is_declared_goes_and_stands_on_the_register_with_its_ground_and_safeguard(
    place: Company,
) -> None:
    done = disclose(place, "printer", [buyer(1), buyer(3)], purpose="printing", by="clerk:5")
    assert done.records[buyer(1)] == {
        "shop.orders": [
            {"item": "print 1-1", "at": "2026-05-01T10:00:00+00:00"},
            {"item": "print 1-2", "at": "2026-05-01T10:00:00+00:00"},
        ]
    }
    one, three = rows(place)
    # 1 is in France, 3 in the US: the ground is that of the region
    assert (one.ground, three.ground) == ("contract", "legitimate-interest")
    assert one.recipient == "printer" and one.disclosure == "printer" and one.purpose == "printing"
    assert one.safeguard == "data-privacy-framework" and one.by == "clerk:5" and one.way == "call"
    assert one.fields == ("shop.orders.at", "shop.orders.item")
    known = place.pseudonyms.find(["buyer:1", "buyer:3"])
    assert [one.pseudonym, three.pseudonym] == [known["buyer:1"], known["buyer:3"]]


def test_the_ledger_says_the_same_and_names_nobody(atelier: Company) -> None:
    disclose(atelier, "authorities", [buyer(2)], purpose="demands", evidence=DOCUMENT)
    (entry,) = ledger(atelier)
    assert entry["recipient"] == "authorities" and entry["ground"] == "legal-duty"
    assert entry["person"] == atelier.pseudonyms.find(["buyer:2"])["buyer:2"]
    assert entry["evidence"] == ["document"]
    assert "court" not in json.dumps(entry) and "b2@mail.example" not in json.dumps(entry)


def test_a_record_is_stripped_to_what_is_declared_and_says_what_was_taken_out(atelier: Company) -> None:
    given = {
        "email": "b1@mail.example",
        "shop.buyers.street": "1 Long Road",
        "contact.name": "Buyer Nr 1",
        "password": "secret-1",  # a credential: declared, and nobody's to see as it is
        "iban": "DE02120300000000202051",
        "orders": [{"item": "print"}],
        "country": {"code": "fr"},
    }
    done = disclose(atelier, "couriers", [buyer(1)], purpose="delivery", records={buyer(1): given})
    assert done.records[buyer(1)] == {
        "email": "b1@mail.example",
        "shop.buyers.street": "1 Long Road",
        "contact.name": "Buyer Nr 1",
    }
    assert set(done.stripped) == {"password", "iban", "orders", "country"}
    assert rows(atelier)[0].fields == ("shop.buyers.email", "shop.buyers.name", "shop.buyers.street")


def test_whoever_is_nobody_is_not_given_and_the_others_are(place: Company) -> None:
    done = disclose(place, "couriers", [buyer(1), buyer(99)], purpose="delivery")
    assert set(done.records) == {buyer(1)} and "nobody like that" in done.refused[buyer(99)].reason
    assert len(rows(place)) == 1


@pytest.mark.parametrize(
    ("recipient", "asked", "reason"),
    [
        ("nobody-declared", {}, "recipient"),
        ("couriers", {"purpose": "printing"}, "undeclared"),
        ("couriers", {"purpose": "delivery", "data": ["orders"]}, "data"),
        ("couriers", {"purpose": "delivery", "data": []}, "data"),
        ("couriers", {"disclosure": "printer"}, "undeclared"),
        ("atelier", {"purpose": "delivery"}, "undeclared"),
        ("couriers", {}, "purpose"),
        ("authorities", {"data": ["contact"]}, "purpose"),
        ("partners", {"purpose": "growing"}, "groups"),
        ("couriers", {"purpose": "delivery", "by": "nobody:4"}, "by"),
        ("couriers", {"purpose": "delivery", "evidence": {"price": "5 euro"}}, "evidence"),
        ("authorities", {"purpose": "demands"}, "document"),
        ("authorities", {"purpose": "demands", "evidence": {"document": "  "}}, "document"),
        ("rescue", {"purpose": "emergency"}, "reason"),
        ("successor", {"purpose": "takeover"}, "agreement"),
    ],
)
def test_what_is_not_declared_is_refused_and_leaves_nothing(
    atelier: Company, recipient: str, asked: dict[str, Any], reason: str
) -> None:
    assert refusal(atelier, recipient, **asked) == reason
    assert rows(atelier) == [] and ledger(atelier) == []


def test_authorities_rescue_successor_and_group_are_given_each_on_its_own_ground(atelier: Company) -> None:
    who = [buyer(1)]
    disclose(atelier, "authorities", who, purpose="demands", evidence=DOCUMENT, by="clerk:1")
    disclose(atelier, "rescue", who, purpose="emergency", evidence={"reason": "lost at sea"}, by="clerk:1")
    disclose(
        atelier,
        "successor",
        who,
        purpose="takeover",
        evidence={"agreement": "silence, of 1 May"},
        by="clerk:1",
    )
    disclose(atelier, "sister", who, purpose="running")
    found = {row.recipient: (row.ground, row.evidence) for row in rows(atelier)}
    assert found == {
        "authorities": ("legal-duty", DOCUMENT),
        "rescue": ("vital-interest", {"reason": "lost at sea"}),
        "successor": ("legitimate-interest", {"agreement": "silence, of 1 May"}),
        "sister": ("legitimate-interest", None),
    }
    raw = (atelier.directory / "kept.sqlite").read_bytes() + (
        atelier.directory / "kept.sqlite-wal"
    ).read_bytes()
    assert b"lost at sea" not in raw and b"order 7" not in raw  # sealed


def test_the_region_of_a_disclosure_holds_for_each_person(atelier: Company) -> None:
    done = disclose(atelier, "sister", [buyer(1), buyer(3)], purpose="running")  # 3 is in the US
    assert set(done.records) == {buyer(1)} and done.refused[buyer(3)].rule == "region"


def test_a_sale_is_refused_under_every_name_and_whatever_is_given_in_return(atelier: Company) -> None:
    for purpose in ("sale", "Resale", "data_trading", "sold", "to be sold", "monetization", "list-rental"):
        assert refusal(atelier, "couriers", purpose=purpose) == "sale"
    assert refusal(atelier, "couriers", purpose="delivery", in_return="a discount on parcels") == "sale"
    assert refusal(atelier, "couriers", purpose="delivery", in_return="") == "sale"
    with pytest.raises(Refused) as refused:
        disclose(atelier, "couriers", [buyer(1)], purpose="sale")
    assert refused.value.clause == ("A-9",)


def test_both_the_person_and_the_party_must_have_said_yes_and_a_withdrawal_counts_at_once(
    place: Company,
) -> None:
    ask: dict[str, Any] = {"purpose": "networks"}
    assert refusal(place, "networks", **ask) == "choice"
    record(place, [New(buyer(1), "networks", "yes", "account")])
    assert refusal(place, "networks", **ask) == "choice"  # the network hasn't
    record(place, [New(buyer(1), "networks", "yes", "staff", "with networks", by="clerk")])
    assert set(disclose(place, "networks", [buyer(1)], **ask).records) == {buyer(1)}
    record(place, [New(buyer(1), "networks", "no", "account")])
    assert refusal(place, "networks", **ask) == "choice"
    assert len(rows(place)) == 1


def test_a_signal_opens_nothing_that_a_choice_forbids(tmp_path: Path) -> None:
    text = POLICY.replace("choices:\n", "choices:\n  quiet: {of: buyer, ask: opt-out, signals: gpc}\n")
    text = text.replace("for: printing,", "for: printing, unless: quiet,")
    with shop(tmp_path / "atelier", text=text) as company:
        for signals in (frozenset[str](), frozenset({"gpc"})):
            assert refusal(company, "printer", purpose="printing", signals=signals) == "unless"


@pytest.mark.parametrize(
    ("until", "people", "closed"),
    [
        ("buyer.ended", "", {"2020-01-01": "until", "2099-01-01": None, "long ago": "until", None: None}),
        ("1 year after buyer.ended", "", {"2020-01-01": "until", "2026-05-01": None, "long ago": "until"}),
        ("fan.ended", "\n  fan: {is: buyer, when: id > 0, ended: street}", {None: "until"}),
    ],
)
def test_a_disclosure_is_over_where_nobody_can_read_since_when(
    tmp_path: Path, until: str, people: str, closed: dict[str | None, str | None]
) -> None:
    text = POLICY.replace("gives: orders, for: printing,", f"gives: orders, for: printing, until: {until},")
    with shop(tmp_path / "atelier", text=text.replace("\n  clerk:", f"{people}\n  clerk:")) as company:
        way = planned(company, "printer", purpose="printing")
        for n, (at, rule) in enumerate(closed.items(), 1):
            with closing(sqlite3.connect(tmp_path / "atelier" / "shop.sqlite")) as raw, raw:
                raw.execute("UPDATE buyers SET closed_at = ? WHERE id = ?", (at, n))
            refused = decisions(company, way, [buyer(n)])
            assert (refused[buyer(n)].rule if refused else None) == rule, at


def test_an_objection_and_a_restriction_stop_a_disclosure(place: Company) -> None:
    people = [buyer(1), buyer(2), buyer(4)]
    for who, verb, scope in ((buyer(1), "object", "running"), (buyer(2), "restrict", "")):
        row = {
            "pseudonym": place.pseudonyms.of([str(who)])[str(who)],
            "verb": verb,
            "scope": scope,
            "who": place.keys.seal("instruction", str(who).encode()),
            "since": place.clock().isoformat(),
            "request": "r",
        }
        with place.state.write() as connection:
            connection.execute(instructions.insert(), row)
    done = disclose(place, "sister", people, purpose="running")  # it rests on an interest
    assert set(done.records) == {buyer(4)} and set(done.refused) == {buyer(1), buyer(2)}


def _noted(seen: list[str], *given: Any) -> None:
    seen.append(given[2])


def test_many_people_cost_as_many_statements_as_one(tmp_path: Path) -> None:
    counts = {}
    for number in (1, 300):
        with shop(tmp_path / f"of{number}", buyers=310) as company:
            company.map  # noqa: B018  read before, as in any process that is at work
            disclose(company, "couriers", [buyer(301)], purpose="delivery")
            seen: list[str] = []
            for engine in (company.state.engine, company.stores["shop"].engine, company.ledger._engine):
                event.listen(engine, "before_cursor_execute", partial(_noted, seen))
            people = [buyer(n) for n in range(1, number + 1)]
            done = disclose(company, "couriers", people, purpose="delivery")
            assert len(done.records) == number
            counts[number] = len(seen)
    assert counts[300] <= counts[1] + 4, counts


def test_the_same_key_is_one_disclosure_and_another_under_it_is_refused(place: Company) -> None:
    def give(**more: Any) -> Disclosed:
        record = more.pop("record", {"email": "b1@mail.example"})
        return disclose(
            place, more.pop("to", "couriers"), [buyer(1)], records={buyer(1): record}, key="parcel-1", **more
        )

    first, second = give(purpose="delivery"), give(purpose="delivery")
    assert (first.again, second.again) == (False, True) and first.id == second.id
    assert len(rows(place)) == 1
    for other in (
        {"purpose": "delivery", "record": {"email": "b1@mail.example", "name": "Buyer Nr 1"}},
        {"purpose": "delivery", "record": {"name": "Somebody"}},
        {"purpose": "demands", "to": "authorities", "evidence": DOCUMENT},
    ):
        with pytest.raises(Refused) as refused:
            give(**other)
        assert refused.value.reason == "replayed"
    with pytest.raises(Refused):
        disclose(place, "couriers", [buyer(1), buyer(2)], purpose="delivery", key="parcel-1")
    assert len(rows(place)) == 1 and not ([row for row in rows(place) if row.recipient != "couriers"])


def test_another_persons_address_or_key_in_a_record_is_refused(atelier: Company) -> None:
    for given in (
        {"email": "b2@mail.example"},
        {"shop.buyers.email": "b2@mail.example"},
        {"contact.email": "b2@mail.example"},
        {"buyers": {"email": "b2@mail.example"}},
        {"shop.buyers": [{"email": "b1@mail.example"}, {"email": "b2@mail.example"}]},
    ):
        with pytest.raises(Refused) as refused:
            disclose(atelier, "couriers", [buyer(1)], purpose="delivery", records={buyer(1): given})
        assert refused.value.reason == "another" and "b2@" not in str(refused.value)
    done = disclose(
        atelier, "couriers", [buyer(1)], purpose="delivery", records={buyer(1): {"email": "B1@Mail.example"}}
    )
    assert done.records  # an address has no capitals


def test_a_field_that_may_mean_two_or_is_given_twice_is_refused(atelier: Company) -> None:
    twice = {"email": "b1@mail.example", "buyers.email": "b1@mail.example"}
    with pytest.raises(Refused) as refused:
        disclose(atelier, "couriers", [buyer(1)], purpose="delivery", records={buyer(1): twice})
    assert refused.value.reason == "twice"
    with pytest.raises(Refused) as refused:
        disclose(atelier, "couriers", [buyer(1)], purpose="delivery", records={buyer(2): {"name": "x"}})
    assert refused.value.reason == "people"


def test_the_person_is_told_by_letter_once_where_the_policy_says_so(atelier: Company) -> None:
    for _ in range(2):
        disclose(atelier, "printer", [buyer(1)], purpose="printing", key="p-1")
    disclose(atelier, "couriers", [buyer(1)], purpose="delivery")  # nobody is told of these
    (letter,) = atelier.outbox.entries()
    assert letter.what == "disclosed" and letter.state == "waiting"


def test_what_was_said_as_evidence_goes_with_the_person_and_the_fact_stays(atelier: Company) -> None:
    disclose(atelier, "authorities", [buyer(1)], purpose="demands", evidence=DOCUMENT, key="k")
    disclose(atelier, "authorities", [buyer(2)], purpose="demands", evidence=DOCUMENT)
    register.forget(atelier, list(atelier.pseudonyms.find(["buyer:1"]).values()))
    atelier.pseudonyms.forget({"buyer:1": []})
    one, two = rows(atelier)
    assert one.evidence is None and two.evidence == DOCUMENT
    assert one.recipient == "authorities" and "buyer:1" not in atelier.pseudonyms.find(["buyer:1"])


def _die_after_the_register(folder: Path) -> None:
    with shop(folder) as company:
        company.ledger.append_many = lambda *_: os._exit(9)  # type: ignore[method-assign]  # killed there
        disclose(company, "couriers", [buyer(1)], purpose="delivery", key="parcel-1")
    os._exit(0)


def test_a_crash_between_register_and_answer_leaves_the_record_and_the_repetition_is_one(
    tmp_path: Path,
) -> None:
    with shop(tmp_path / "atelier"):
        pass
    process = multiprocessing.get_context("fork").Process(
        target=_die_after_the_register, args=(tmp_path / "atelier",)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9
    with shop(tmp_path / "atelier") as company:
        assert len(rows(company)) == 1
        done = disclose(company, "couriers", [buyer(1)], purpose="delivery", key="parcel-1")
        assert done.again and len(rows(company)) == 1
        assert len(ledger(company)) == 1


@pytest.mark.parametrize("said", ["\u200b", ".", " - ", "\u2060\u00ad"])
def test_what_no_reader_could_see_is_no_document(atelier: Company, said: str) -> None:
    assert refusal(atelier, "authorities", purpose="demands", evidence={"document": said}) == "document"


def test_what_was_verified_of_somebody_else_is_no_evidence(tmp_path: Path) -> None:
    text = POLICY.replace(
        "for: delivery, clause: A-1}", "for: delivery, clause: A-1, needs: verified-identity}"
    )
    with shop(tmp_path / "atelier", text=text) as company:
        claim = verified.new_claim()
        verified.note(company, claim, verified.IDENTITY, "the desk")
        given = {"verified-identity": claim}
        assert refusal(company, "couriers", purpose="delivery", evidence=given) == "evidence"
        assert refusal(company, "couriers", purpose="delivery") == "verified-identity"
        verified.note(company, buyer(1), verified.IDENTITY, "the desk")
        assert disclose(company, "couriers", [buyer(1)], purpose="delivery").records


@pytest.mark.parametrize(
    "by", ["buyer:2", "clerk:", "clerk: ", "clerk:\x00", "clerk:" + "x" * 5000, "", "sister"]
)
def test_nobody_asks_who_may_not(atelier: Company, by: str) -> None:
    assert refusal(atelier, "couriers", purpose="delivery", by=by) == "by"


def test_a_person_who_asks_for_themselves_stands_on_record_under_a_pseudonym(atelier: Company) -> None:
    disclose(atelier, "couriers", [buyer(1)], purpose="delivery", by="buyer:1")
    pseudonym = atelier.pseudonyms.find(["buyer:1"])["buyer:1"]
    assert rows(atelier)[0].by == f"buyer:{pseudonym}" == ledger(atelier)[0]["by"]


def test_whoever_says_no_while_their_data_is_read_is_not_given(
    atelier: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(atelier, [New(buyer(1), "networks", "yes", "account")])
    record(atelier, [New(buyer(1), "networks", "yes", "staff", "with networks", by="clerk")])
    read = gathered.gather

    def slowly(*asked: Any) -> dict[Person, Any]:
        found = read(*asked)
        record(atelier, [New(buyer(1), "networks", "no", "account")])
        return found

    monkeypatch.setattr(gathered, "gather", slowly)
    assert refusal(atelier, "networks", purpose="networks") == "choice"
    assert rows(atelier) == []


@pytest.mark.parametrize(
    "purpose", ["data-trading", "list-rental", "monetisation", "data-broker", "reselling", "sale"]
)
@pytest.mark.parametrize("promised", [True, False])
def test_a_sale_is_refused_though_the_file_declares_it(tmp_path: Path, purpose: str, promised: bool) -> None:
    text = POLICY.replace("  growing:   {uses: orders", f"  {purpose}: {{uses: orders").replace(
        "for: growing}", f"for: {purpose}}}"
    )
    text = text.replace("interest: growing, groups: 10", "interest: growing")
    if not promised:
        text = text.replace("  no-sale:     {never: sale, clause: A-9}\n", "")
    with shop(tmp_path / "atelier", text=text) as company:
        assert refusal(company, "partners", purpose=purpose) == "sale"
        assert rows(company) == []


@pytest.mark.parametrize(
    ("purpose", "found"), [("list-rental", True), ("data-trading", True), ("renting", False)]
)
def test_a_file_that_promises_no_sale_and_declares_one_has_an_error(purpose: str, found: bool) -> None:
    text = POLICY.replace("  growing:   {uses", f"  {purpose}: {{uses").replace(
        "for: growing}", f"for: {purpose}}}"
    )
    problems = check(policy(text), today=date(2026, 6, 1))
    assert ("sold" in {one.code for one in problems.errors}) is found


def test_another_way_or_other_evidence_under_a_key_is_another_disclosure(atelier: Company) -> None:
    ask: dict[str, Any] = {"purpose": "demands", "key": "d-1"}
    disclose(atelier, "authorities", [buyer(1)], evidence=DOCUMENT, **ask)
    assert refusal(atelier, "authorities", evidence={"document": "order 8"}, **ask) == "replayed"
    assert refusal(atelier, "authorities", evidence=DOCUMENT, way="mail", **ask) == "replayed"
    assert disclose(atelier, "authorities", [buyer(1)], evidence=DOCUMENT, **ask).again


def test_of_two_at_once_under_one_key_one_is_the_first(place: Company) -> None:
    def give(_: int) -> bool:
        given = {buyer(1): {"email": "b1@mail.example"}}
        return disclose(
            place, "couriers", [buyer(1)], purpose="delivery", records=given, key="parcel-1"
        ).again

    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(give, range(24)))
    assert again.count(False) == 1 and len(rows(place)) == 1


def test_a_group_entered_twice_is_one_row(place: Company) -> None:
    entry = register.Entry(
        "partners", "partners", "growing", "legitimate-interest", (), "export", "export:1", people=10
    )
    assert [register.enter(place, [entry]) for _ in range(3)] == [False, True, True]
    assert len(rows(place)) == 1


def test_somebody_elses_address_in_any_field_and_a_second_persons_row_are_refused(atelier: Company) -> None:
    for given in (
        {"name": "b2@mail.example"},
        {"street": " B2@mail.example "},
        {"buyers": [{"name": "Buyer Nr 1"}, {"name": "Buyer Nr 2"}]},
    ):
        with pytest.raises(Refused) as refused:
            disclose(atelier, "couriers", [buyer(1)], purpose="delivery", records={buyer(1): given})
        assert refused.value.reason == "another" and "b2@" not in str(refused.value).casefold()
    for own in (
        {"name": "b1@mail.example"},
        {"name": "nobody@mail.example"},
        {"street": "at b2@mail.example"},
    ):
        assert disclose(atelier, "couriers", [buyer(1)], purpose="delivery", records={buyer(1): own}).records


def test_a_login_that_differs_in_a_dot_is_somebody_elses(tmp_path: Path) -> None:
    text = POLICY.replace("known-by: {email: email}", "known-by: {email: email, login: name}")
    with shop(tmp_path / "atelier", text=text) as company:
        given = {buyer(1): {"name": "Buyer-Nr.1"}}
        with pytest.raises(Refused) as refused:
            disclose(company, "couriers", [buyer(1)], purpose="delivery", records=given)
        assert refused.value.reason == "another"


def test_the_letter_to_the_person_names_what_was_given_and_no_more(tmp_path: Path) -> None:
    text = POLICY.replace("clause: A-4}", "clause: A-4, tells: buyer}")
    sent: list[Letter] = []

    class Post:
        def send(self, letter: Letter, id: str, when: object) -> None:
            sent.append(letter)

    with shop(tmp_path / "atelier", text=text) as company:
        ask: dict[str, Any] = {"purpose": "demands", "evidence": DOCUMENT}
        disclose(company, "authorities", [buyer(1)], data=["orders"], **ask)
        company.outbox.send(Post())
        disclose(company, "authorities", [buyer(1)], **ask)
        company.outbox.send(Post())
    assert "orders" in sent[0].text and "contact" not in sent[0].text
    assert "orders" in sent[1].text and "contact" in sent[1].text


def test_the_register_is_asked_from_the_same_moment_in_every_zone(atelier: Company) -> None:
    disclose(atelier, "couriers", [buyer(1)], purpose="delivery")
    for hours in (-9, 0, 9):
        zone = timezone(timedelta(hours=hours))
        for minutes, number in ((-5, 1), (5, 0)):
            since = (atelier.clock() + timedelta(minutes=minutes)).astimezone(zone)
            assert len(list(register.rows(atelier, since=since))) == number


def test_an_answer_to_access_names_the_recipients_the_data_really_went_to(atelier: Company) -> None:
    disclose(atelier, "couriers", [buyer(1)], purpose="delivery")
    disclose(atelier, "authorities", [buyer(1), buyer(2)], purpose="demands", evidence=DOCUMENT)
    found = passed_on.rows(atelier, "buyer", [("1",), ("3",)])
    assert [(key, row["recipient"], row["for"], row["ground"]) for key, row in found] == [
        (("1",), "Couriers", "delivery", "contract"),
        (("1",), "authorities", "demands", "legal duty"),
    ]
    assert "court" not in json.dumps([dict(row) for _, row in found])


def test_what_nobody_can_read_has_to_be_handed_over(tmp_path: Path) -> None:
    text = POLICY.replace(
        'shop: {at: "sqlite:///shop.sqlite", region: eea}',
        'shop: {at: "sqlite:///shop.sqlite", region: eea}\n  paper: {kind: outside}',
    ).replace(
        "{shop.orders: {item: transaction, at: recorded}}",
        "{paper.orders: {item: transaction, at: recorded}}",
    )
    with shop(tmp_path / "atelier", text=text) as company:
        with pytest.raises(TerminalError, match=r"paper\.orders"):
            disclose(company, "printer", [buyer(1)], purpose="printing")
        done = disclose(
            company, "printer", [buyer(1)], purpose="printing", records={buyer(1): {"item": "a print"}}
        )
        assert done.columns == ("paper.orders.item",)


def test_the_gates_memory_and_the_register_agree_on_who_is_refused(atelier: Company) -> None:
    people = [buyer(n) for n in range(1, 12)]
    done = disclose(atelier, "couriers", people, purpose="delivery")
    allowed = {who for who in people if Gate.of(atelier).decide("delivery", person=who).allowed}
    assert set(done.records) == allowed == {buyer(n) for n in range(1, 9)}


def test_rows_past_their_limit_are_left_out(tmp_path: Path) -> None:
    limited = (
        POLICY + "retention:\n  orders: {keeps: orders, until: 24 months after recorded, then: delete}\n"
    )
    clock = Clock(datetime(2026, 6, 1, 12, tzinfo=UTC))
    with shop(tmp_path / "atelier", clock, text=limited) as company:
        with closing(sqlite3.connect(company.directory / "shop.sqlite")) as raw, raw:
            raw.execute("UPDATE orders SET at = '2024-05-01T10:00:00+00:00' WHERE item = 'print 1-1'")
        done = disclose(company, "printer", [buyer(1), buyer(2)], purpose="printing")
        items = [row["item"] for who in (1, 2) for row in done.records[buyer(who)]["shop.orders"]]
        assert items == ["print 1-2", "print 2-1", "print 2-2"]
