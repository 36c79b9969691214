"""The gate of collection over whole companies: what each step takes, of whom, and under which conditions."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from examples.generators import lucent_commerce, lucent_marketplace, lumensol, lumnar
from examples.sitelucent import generate as sitelucent
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.choices.records.book import New, record
from kept.controls.collection.card_numbers.never import Attached
from kept.controls.collection.declare import Collecting, NeverCollected
from kept.controls.collection.enforce import Collected, Refused, collect
from kept.controls.collection.gate.fields import Fields
from kept.controls.collection.gate.location import Coarse, Precise, location
from kept.controls.collection.persons import verified, wards
from kept.controls.collection.persons.age import answer, under_age
from kept.controls.collection.persons.found import found
from kept.controls.registry import load
from kept.controls.rights import register
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.state import workflows
from tests.acceptance.serving import Clock

GENERATORS: dict[str, ModuleType] = {
    "lucent-commerce": lucent_commerce,
    "lucent-marketplace": lucent_marketplace,
    "lumensol": lumensol,
    "lumnar": lumnar,
    "sitelucent": sitelucent,
}
VISITOR = "0f" * 16
CARD = "4111 1111 1111 1111"  # the test number that every issuer's guide prints
ADULT = "1980-05-31"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The five companies, generated."""
    made = {name: tmp_path_factory.mktemp(name) / name for name in GENERATORS}
    for name, folder in made.items():
        folder.mkdir()
        GENERATORS[name].build(folder, 60, 3)
    return made


@contextmanager
def company_in(folder: Path, clock: Clock | None = None) -> Iterator[Company]:
    with opened(load(folder / "policy.yaml"), folder, *([clock] if clock is not None else [])) as company:
        yield company


@pytest.fixture
def market(folders: dict[str, Path], tmp_path: Path) -> Iterator[Company]:
    with company_in(copied(folders["lucent-marketplace"], tmp_path)) as company:
        yield company


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to / folder.name)
    return to / folder.name


def ask(company: Company, database: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(company.directory / f"{database}.sqlite")) as asked:
        return asked.execute(query, values).fetchall()


def do(company: Company, database: str, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(company.directory / f"{database}.sqlite")) as changed, changed:
        changed.execute(statement, values)


def adult(company: Company, where: str = "1 = 1") -> Person:
    [(key,), *_] = ask(
        company,
        "shop",
        f"SELECT id FROM members WHERE born_on < '2000-01-01' AND closed_at IS NULL AND {where}",
    )
    return Person("member", (str(key),))


# Every step of every company.


def steps() -> list[tuple[str, str]]:
    found = []
    for name in GENERATORS:
        policy = load(Path(__file__).parents[2] / "examples" / name / "policy.yaml")
        found += [
            (name, str(step.name))
            for step in policy.section("collection").values()
            if isinstance(step, Collecting)
        ]
    return found


def whole(company: Company, step: Collecting) -> dict[str, object]:
    """A form with every declared field of a step, under its full name."""
    values = {"birth-date": ADULT, "email": "ada@people.example", "phone": "+40 721 000 000"}
    return {
        str(place).replace("*", "x"): values.get(place.sort.type, "something")
        for place in Fields.of(company.policy, step).places
        if place.sort.type != "source"
    }


def somebody(company: Company, name: str, step: Collecting) -> Person:
    """Somebody a step is for, who has said yes to all it waits for."""
    source = str(step.sources[0])
    kind = (
        company.policy.kind_of(source)
        or company.policy.owners(company.policy.data[(*step.takes, *step.optional)[0]])[0]
    )
    root = company.policy.root(kind)
    assert root is not None
    if root.name == "member":
        where = {
            "being-paid": "paid_out",
            "delivering": "id IN (SELECT buyer_id FROM sales WHERE closed_at IS NULL)",
            "questioning": "id IN (SELECT member_id FROM cases WHERE closed_at IS NULL)",
        }
        who = adult(company, where.get(str(step.name), "1 = 1"))
    elif root.name == "visitor":
        who = Person("visitor", (VISITOR,))
    else:
        who = Person(str(root.name), ("1",))
    for choice in map(str, step.choice):
        record(company, [New(who, choice, "yes", "form", region="fr")])
    for column, value in (("email", "ada@people.example"), ("identity", None)):
        verified.note(company, who, column, "a test", value=value)
    return who


@pytest.mark.parametrize(("name", "step"), steps(), ids="/".join)
def test_every_step_takes_its_declared_fields_and_refuses_an_undeclared_one(
    folders: dict[str, Path], tmp_path: Path, name: str, step: str
) -> None:
    with company_in(copied(folders[name], tmp_path)) as company:
        entry = company.policy.section("collection")[step]
        assert isinstance(entry, Collecting)
        form, who, source = whole(company, entry), somebody(company, name, entry), str(entry.sources[0])
        taken = collect(company, step, form, source=source, who=who, region="fr", strict=True)
        columns = {f"{table}.{column}" for table, found in taken.taken.items() for column in found}
        sources = {
            f"{table}.{column}"
            for data in company.policy.data.values()
            for table, found in data.tables.items()
            for column, sort in found.items()
            if sort.type == "source" and table in taken.taken
        }
        assert columns == set(form) | sources
        assert all(taken.taken[one.rpartition(".")[0]][one.rpartition(".")[2]] == source for one in sources)
        assert taken.clause == tuple(entry.clause) and not taken.dropped and not taken.optional_missing
        with pytest.raises(Refused) as refused:
            collect(
                company, step, form | {"shoe_size": "44"}, source=source, who=who, region="fr", strict=True
            )
        assert refused.value.reason == "undeclared" and set(entry.clause) <= set(refused.value.clause)
        dropped = collect(company, step, form | {"shoe_size": "44"}, source=source, who=who, region="fr")
        assert list(dropped.dropped) == ["shoe_size"] and dropped.taken == taken.taken


@pytest.mark.parametrize(("name", "step"), steps(), ids="/".join)
def test_what_is_taken_must_be_there_and_what_is_optional_need_not(
    folders: dict[str, Path], tmp_path: Path, name: str, step: str
) -> None:
    with company_in(copied(folders[name], tmp_path)) as company:
        entry = company.policy.section("collection")[step]
        assert isinstance(entry, Collecting)
        fields, form = Fields.of(company.policy, entry), whole(company, entry)
        who, source = somebody(company, name, entry), str(entry.sources[0])
        for data in map(str, (*entry.takes, *entry.optional)):
            others = {str(place) for place in fields.places if place.data != data}
            without = {field: value for field, value in form.items() if field in others}
            if data in entry.takes and fields.giving(data):
                gone = {str(p) for p in fields.giving(data)} - {
                    str(p) for p in fields.places if p.data != data
                }
                if not gone:
                    continue  # all its columns are another data's too
                with pytest.raises(Refused) as refused:
                    collect(company, step, without, source=source, who=who, region="fr")
                assert refused.value.reason == "missing" and f"`{data}`" in refused.value.message
            elif data in entry.optional:
                taken = collect(company, step, without, source=source, who=who, region="fr")
                assert data in taken.optional_missing


def test_times_and_sources_alone_give_no_data(market: Company) -> None:
    who = adult(market)
    with pytest.raises(Refused, match="is missing"):
        collect(market, "applying", {"at": "2026-01-01"}, source="applicant", who=Person("applicant", ("1",)))
    with pytest.raises(Refused, match="several columns") as refused:
        collect(market, "posting", {"body": "words"}, source="member", who=who)
    assert "shop.listings.body" in str(refused.value.help)


def test_the_source_is_filled_in_and_nobody_else_says_it(folders: dict[str, Path], tmp_path: Path) -> None:
    with company_in(copied(folders["sitelucent"], tmp_path)) as company:
        form = {"first_name": "Ada", "last_name": "B", "email": "ada@people.example", "source": "forged"}
        taken = collect(company, "joining", form, source="administers.admin", who=None)
        assert taken.taken["app.users"]["source"] == "administers.admin"
        assert list(taken.dropped) == ["source"]
        with pytest.raises(Refused) as refused:
            collect(company, "joining", form, source="a friend", who=None)
        assert refused.value.reason == "unknown-source" and refused.value.clause == ("SL-03", "SL-06")
        with pytest.raises(Refused) as refused:
            collect(company, "leaving", form, source="user", who=None)
        assert refused.value.reason == "unknown-step"
        with pytest.raises(Refused) as refused:
            collect(company, "joining", form | {"users.email": "x"}, source="user", who=None)
        assert refused.value.reason == "twice"


# Conditions.


def test_a_choice_is_waited_for_and_a_withdrawn_one_refuses_at_once(market: Company) -> None:
    visitor, form = Person("visitor", (VISITOR,)), {"utm_source": "letter"}

    def arrive(**more: Any) -> Collected:
        return collect(market, "arriving", form, source="visitor", who=visitor, **more)

    with pytest.raises(Refused) as refused:
        arrive(region="fr")
    assert refused.value.reason == "choice" and "LM-19" in refused.value.clause
    with pytest.raises(Refused):
        arrive()  # nobody knows where they are: as where it is strictest
    assert arrive(region="bd").taken == {"shop.visits": {"utm_source": "letter"}}
    with pytest.raises(Refused, match="Global Privacy Control"):
        arrive(region="bd", signals=frozenset({"gpc"}))
    record(market, [New(visitor, "advertising", "yes", "banner", region="fr")])
    assert arrive(region="fr").taken
    record(market, [New(visitor, "advertising", "no", "banner", region="fr")])
    with pytest.raises(Refused, match="said no"):
        arrive(region="bd")
    with pytest.raises(Refused, match="nobody says who"):
        collect(market, "arriving", form, source="visitor", who=None, region="bd")


def test_a_choice_that_nobody_can_read_refuses(market: Company) -> None:
    who = adult(market)
    record(market, [New(who, "location", "yes", "account", region="fr")])
    form: dict[str, Any] = {"lat": 44.43, "lon": 26.1}
    assert collect(market, "locating", form, source="member", who=who).taken
    market.state.engine.dispose()
    (market.directory / "kept.sqlite").rename(market.directory / "away.sqlite")
    (market.directory / "kept.sqlite").mkdir()
    time.sleep(1.2)  # as long as it may be decided by what was read before
    with pytest.raises(Refused) as refused:
        collect(market, "locating", form, source="member", who=who)
    assert "LM-20" in refused.value.clause


def test_an_address_is_taken_during_a_sale_only(market: Company) -> None:
    [(buyer, sale)] = ask(market, "shop", "SELECT buyer_id, id FROM sales WHERE closed_at IS NULL LIMIT 1")
    who = Person("member", (str(buyer),))
    do(market, "shop", "UPDATE members SET born_on = ? WHERE id = ?", ADULT, buyer)
    form = {"addresses.line": "Strada 1"}
    assert collect(market, "delivering", form, source="sale.buyer", who=who).clause == ("LM-05",)
    do(market, "shop", "UPDATE sales SET closed_at = '2026-01-01 00:00:00' WHERE buyer_id = ?", buyer)
    with pytest.raises(Refused) as refused:
        collect(market, "delivering", form, source="sale.buyer", who=who)
    assert refused.value.reason == "during" and refused.value.clause == ("LM-05",)
    do(
        market,
        "shop",
        "UPDATE sales SET closed_at = NULL, buyer_id = NULL, seller_id = ? WHERE id = ?",
        buyer,
        sale,
    )
    with pytest.raises(Refused):  # they sell there, and the address is a buyer's
        collect(market, "delivering", form, source="sale.buyer", who=who)


def test_a_case_must_be_open_and_proofs_of_identity_are_of_payees(market: Company) -> None:
    do(market, "shop", "UPDATE cases SET closed_at = '2026-01-01 00:00:00'")
    who = adult(market, "NOT paid_out")
    with pytest.raises(Refused) as refused:
        collect(market, "questioning", {"body": "he said"}, source="member", who=who)
    assert refused.value.reason == "case" and refused.value.clause == ("LM-09",)
    with pytest.raises(Refused) as refused:
        collect(market, "being-paid", {"iban": "x"}, source="payee", who=who)
    assert refused.value.reason == "not-theirs" and refused.value.clause == ("LM-06",)
    with pytest.raises(Refused, match="nothing of a"):
        collect(market, "supplying", {"signed_by": "A"}, source="supplier", who=who)


REGISTERING: dict[str, Any] = {
    "members.email": "new@people.example",
    "own-name": "Nora",
    "shop-name": "Nora's",
    "billing.present_address": "Strada 1",
}


def test_nobody_is_registered_before_address_and_identity_are_verified(market: Company) -> None:
    claim, age = verified.new_claim(), answer(market, ADULT, "ro")
    evidence = {"verified-email": claim, "verified-identity": claim}

    def register_(**changed: Any) -> Collected:
        form = REGISTERING | changed
        return collect(market, "registering", form, source="member", who=None, age=age, evidence=evidence)

    with pytest.raises(Refused) as refused:
        register_()
    assert refused.value.reason == "verified-email" and "LM-05" in refused.value.clause
    verified.note(market, claim, verified.EMAIL, "a test", value="New@people.example ")
    with pytest.raises(Refused) as refused:
        register_()
    assert refused.value.reason == "verified-identity" and "LM-08" in refused.value.clause
    document = bytearray(b"a passport of a person who does not exist")
    verdict = verified.identify(market, claim, document, {"name": "Nora"}, _Verifier())
    assert verdict.verified and not any(document)
    assert register_().taken["shop.members"] == {"email": "new@people.example", "name": "Nora"}
    with pytest.raises(Refused, match="verified e-mail"):
        register_(**{"members.email": "another@people.example"})
    assert not _anywhere(market.directory, b"a passport of a person")
    who = Person("member", ("1",))
    assert verified.bind(market, claim, who) == 2
    assert verified.stands(market, who, verified.EMAIL, "new@people.example")
    assert verified.stands(market, who, verified.IDENTITY)
    assert not verified.stands(market, claim, verified.IDENTITY)
    with pytest.raises(Refused):  # the claim counts no more, for nobody else may use it
        register_()


class _Verifier:
    name = "a verifier"

    def check(self, document: bytes | bytearray, claims: Any) -> verified.Verdict:
        if b"passport" not in document:
            raise ValueError(bytes(document))
        return verified.Verdict(claims["name"] == "Nora")


def test_a_no_of_the_verifier_takes_back_a_yes_and_a_failure_says_nothing(market: Company) -> None:
    who = adult(market)
    verified.identify(market, who, b"passport", {"name": "Nora"}, _Verifier())
    assert verified.stands(market, who, verified.IDENTITY)
    with pytest.raises(Refused) as refused:
        verified.identify(market, who, b"a secret", {"name": "Nora"}, _Verifier())
    assert "secret" not in str(refused.value) and refused.value.__cause__ is None
    verified.identify(market, who, b"passport", {"name": "Otto"}, _Verifier())
    assert not verified.stands(market, who, verified.IDENTITY)


def test_a_claim_counts_for_a_day_and_a_code_for_ten_minutes_and_five_tries(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    clock = Clock()
    with company_in(copied(folders["lucent-marketplace"], tmp_path), clock) as company:
        claim, sent = verified.new_claim(), list[str]()

        def send(number: str, text: str) -> None:
            assert number == "+40721000000"
            sent.append(next(word for word in text.replace(".", " ").split() if word.isdecimal()))

        def wrong() -> str:
            return f"{(int(sent[-1]) + 1) % 10**6:06}"

        verified.ask_phone(company, claim, "+40 721 000 000", send)
        assert not verified.enter(company, claim, "+40721000000", wrong())
        assert verified.enter(company, claim, "+40721000000", sent[-1])
        assert verified.stands(company, claim, verified.PHONE, "+40 (721) 000 000")
        assert not verified.enter(company, claim, "+40721000000", sent[-1])  # once
        verified.ask_phone(company, claim, "+40 721 000 000", send)
        clock.on(minutes=11)
        assert not verified.enter(company, claim, "+40721000000", sent[-1])
        verified.ask_phone(company, claim, "+40 721 000 000", send)
        for _ in range(5):
            assert not verified.enter(company, claim, "+40721000000", wrong())
        assert not verified.enter(company, claim, "+40721000000", sent[-1])
        with pytest.raises(Refused, match="several codes"):
            verified.ask_phone(company, claim, "+40 721 000 000", send)
        clock.on(days=1)
        assert not verified.stands(company, claim, verified.PHONE, "+40721000000")
        assert not _anywhere(company.directory, b"721000000")
        fresh = verified.new_claim()
        verified.note(company, fresh, verified.IDENTITY, "a test")
        assert verified.tidy(company) == 1 and verified.tidy(company) == 0
        assert verified.stands(company, fresh, verified.IDENTITY)


# Ages.


def test_nothing_of_a_child_is_stored_not_even_that_it_was_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with company_in(copied(folders["lucent-commerce"], tmp_path)) as company:
        before = _files(company.directory)
        born = f"{company.clock().year - 9}-03-17"
        form = {
            "customers.name": "Zacharias",
            "email": "zacharias@people.example",
            "born_on": born,
            "hash": "x",
        }
        with pytest.raises(Refused) as refused:
            collect(company, "registering", form, source="customer", who=None, region="us")
        assert refused.value.reason == "under-age" and refused.value.clause == ("LC-05",)
        assert born not in str(refused.value) and "13" not in str(refused.value)
        assert _files(company.directory) == before
        for wrong in ("17.03.2019", "2019-02-30", "3019-01-01", "1019-01-01", ""):
            with pytest.raises(Refused) as refused:
                collect(
                    company,
                    "registering",
                    form | {"born_on": wrong},
                    source="customer",
                    who=None,
                    region="us",
                )
            assert refused.value.reason == ("unreadable-age" if wrong else "age-unknown")
        taken = collect(
            company, "registering", form | {"born_on": ADULT}, source="customer", who=None, region="us"
        )
        assert taken.age is not None and taken.age.band == "own"


def test_a_member_may_leave_out_the_birth_date_once_their_age_was_asked(market: Company) -> None:
    who = adult(market)
    do(market, "shop", "UPDATE members SET born_on = NULL WHERE id = ?", who.key[0])
    with pytest.raises(Refused) as refused:
        collect(market, "posting", {"listings.body": "a lamp"}, source="member", who=who)
    assert refused.value.reason == "age-unknown"
    verified.note_age(market, who, answer(market, ADULT, "ro"))
    assert collect(market, "posting", {"listings.body": "a lamp"}, source="member", who=who).taken
    assert collect(market, "profile", {}, source="member", who=who).optional_missing == ("birth", "phone")
    assert not _anywhere(market.directory, ADULT.encode(), but=("shop.sqlite",))
    other = adult(market)
    do(market, "shop", "UPDATE members SET born_on = 'soon' WHERE id = ?", other.key[0])
    for nobody_knows in (other, Person("member", ("99999",)), None):
        with pytest.raises(Refused) as refused:
            collect(market, "posting", {"listings.body": "x"}, source="member", who=nobody_knows)
        assert refused.value.reason == "age-unknown" and refused.value.clause == ("LM-02",)


def minor(company: Company) -> tuple[Person, Person]:
    """Somebody of 15 and their guardian, with an open link."""
    young, guardian = adult(company), adult(company, "id > 20")
    year = company.clock().year
    do(
        company,
        "shop",
        "DELETE FROM guardians WHERE member_id = ? OR owner_id = ?",
        young.key[0],
        young.key[0],
    )
    do(company, "shop", "UPDATE members SET born_on = ? WHERE id = ?", f"{year - 15}-01-01", young.key[0])
    do(
        company,
        "shop",
        "INSERT INTO guardians (id, owner_id, member_id, permitted_at) VALUES (9001, ?, ?, '2026-01-01 00:00:00')",
        guardian.key[0],
        young.key[0],
    )
    return young, guardian


def test_the_young_are_there_by_their_guardians_permission_alone(market: Company) -> None:
    young, guardian = minor(market)

    def post() -> Collected:
        return collect(market, "posting", {"listings.body": "a lamp"}, source="member", who=young)

    def why() -> list[str]:
        return [one.why for one in wards.closed(market) if one.person == young]

    with pytest.raises(Refused) as refused:
        post()
    assert refused.value.reason == "guardian" and "LM-02" in refused.value.clause
    assert why() == ["no permission was ever given"]
    record(market, [New(young, "guardian", "yes", "account", decider=guardian)])
    assert post().taken and why() == []
    assert [(one.person, one.state) for one in wards.wards(market, guardian)] == [(young, "Given")]
    with pytest.raises(Refused, match="do not answer"):
        wards.end(market, adult(market, "id > 30"), young)
    wards.end(market, guardian, young)
    with pytest.raises(Refused):
        post()
    assert why() == ["the permission was refused or taken back"]


@pytest.mark.parametrize(
    "gone",
    [
        "UPDATE guardians SET ended_at = '2026-02-01 00:00:00' WHERE id = 9001",
        "DELETE FROM guardians WHERE id = 9001",
        "UPDATE guardians SET permitted_at = '2999-01-01 00:00:00' WHERE id = 9001",
        "UPDATE members SET closed_at = '2026-02-01' WHERE id = (SELECT owner_id FROM guardians WHERE id = 9001)",
        "UPDATE members SET born_on = '2015-01-01' WHERE id = (SELECT owner_id FROM guardians WHERE id = 9001)",
        "UPDATE guardians SET owner_id = member_id WHERE id = 9001",
    ],
)
def test_whose_guardian_is_gone_is_closed_at_once(market: Company, gone: str) -> None:
    young, guardian = minor(market)
    record(market, [New(young, "guardian", "yes", "account", decider=guardian)])
    form = {"listings.body": "a lamp"}
    assert collect(market, "posting", form, source="member", who=young).taken
    do(market, "shop", gone)
    with pytest.raises(Refused) as refused:
        collect(market, "posting", form, source="member", who=young)
    assert refused.value.reason == "guardian"
    assert [one.why for one in wards.closed(market) if one.person == young] == [
        "no guardian answers for them any more"
    ]


def test_an_account_of_somebody_young_is_opened_after_the_guardian_permitted_it(market: Company) -> None:
    guardian, other = adult(market), adult(market, "id > 20")
    young = answer(market, f"{market.clock().year - 15}-01-01", "ro")
    claim = verified.new_claim()
    verified.note(market, claim, verified.EMAIL, "a test", value="new@people.example")
    verified.note(market, claim, verified.IDENTITY, "a test")
    evidence = {"verified-email": claim, "verified-identity": claim}

    def open_(by: Person | None) -> Collected:
        return collect(
            market,
            "registering",
            REGISTERING,
            source="member",
            who=None,
            age=young,
            guardian=by,
            evidence=evidence,
        )

    for by in (None, guardian):
        with pytest.raises(Refused) as refused:
            open_(by)
        assert refused.value.reason == "guardian"
    wards.allow(market, guardian, "New@people.example")
    assert open_(guardian).guardian == guardian
    with pytest.raises(Refused):
        open_(other)
    do(market, "shop", "UPDATE members SET born_on = '2012-01-01' WHERE id = ?", guardian.key[0])
    with pytest.raises(Refused):
        open_(guardian)
    with pytest.raises(Refused, match="of age"):
        wards.allow(market, guardian, "x@people.example")


def test_the_measure_counts_children_and_tells_missing_and_unreadable_dates_apart(market: Company) -> None:
    promise = market.policy.section("collection")["children"]
    assert isinstance(promise, NeverCollected)
    nobody = under_age(market, promise)
    assert (nobody.people, nobody.without_date, nobody.unreadable, nobody.looked) == (0, 0, 0, 1)
    year = market.clock().year
    for key, born in ((1, f"{year - 9}-01-01"), (2, None), (3, ""), (4, "2020-13-45"), (5, "long ago")):
        do(market, "shop", "UPDATE members SET born_on = ? WHERE id = ?", born, key)
    found_ = under_age(market, promise)
    assert (found_.people, found_.without_date, found_.unreadable) == (1, 2, 2)


def test_who_is_found_to_be_a_child_is_erased_without_waiting(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder, clock = copied(folders["lucent-commerce"], tmp_path), Clock()
    file = folder / "policy.yaml"
    written = file.read_text("utf-8")
    file.write_text(
        written.replace(
            "erase:   {through: [account, email]", "erase:   {waits: 30 days, through: [account, email]"
        )
    )
    assert "waits: 30 days" in file.read_text("utf-8")
    with company_in(folder, clock) as company, workflows.opened(company.workflows, kinds(company)) as running:
        child = Person("customer", ("3",))
        request = found(company, child, "Ada", "a parent called")
        assert request.due is not None and request.awaits == "work"
        assert timedelta(days=3) <= request.due - clock.now <= timedelta(days=4)
        assert found(company, child, "Ada", "again").id == request.id
        Desk.at_work(company, running).work()
        after = register.get(company, request.id)
        assert (after.state, after.awaits) == ("open", "tasks")  # partners have no address: staff tell them
        left = ask(company, "app", "SELECT name, email, phone, born_on FROM customers WHERE id = 3")
        assert left in ([], [(None, None, None, None)])  # an invoice stays by the tax code, and nothing else
        events = [event.what for event in register.history(company, request.id)]
        assert events[0] == "found" and not company.outbox.entries(request.id)
        acts = _ledger(company, "found")
        assert [(one["request"], one["promise"]) for one in acts] == [(request.id, "retention.children")]
        assert "parent" not in str(acts)


# Locations.


def test_a_location_is_precise_with_permission_and_the_switch_on_and_coarse_otherwise(
    market: Company,
) -> None:
    who = adult(market)

    def at(**more: Any) -> object:
        return location(market, who, 44.4268, 26.1025, **more)

    assert at() is None
    coarse = at(coarse="ro")
    assert isinstance(coarse, Coarse) and coarse.place == "ro" and "LM-20" in coarse.clause
    record(market, [New(who, "location", "yes", "account", region="ro")])
    precise = at(coarse="ro")
    assert precise == Precise(44.4268, 26.1025, "locating", ("LM-20",)) and "44.4" not in repr(precise)
    assert isinstance(at(coarse="ro", signals=frozenset({"device"})), Coarse)
    record(market, [New(who, "location", "no", "account", region="ro")])
    assert isinstance(at(coarse="ro"), Coarse)
    with pytest.raises(Refused):
        location(market, who, float("nan"), 0.0)


def test_nobody_young_is_located_without_their_guardian(market: Company) -> None:
    young, guardian = minor(market)
    record(market, [New(young, "location", "yes", "account", region="ro")])
    assert isinstance(location(market, young, 44.4, 26.1, coarse="ro"), Coarse)
    record(market, [New(young, "guardian", "yes", "account", decider=guardian)])
    assert isinstance(location(market, young, 44.4, 26.1, coarse="ro"), Precise)


# Card numbers.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("body", f"my card is {CARD}, thanks"),
        ("body", {"pay": [{"with": "4111-1111-1111-1111"}]}),
        ("attachment", Attached("note.txt", CARD.encode())),
        ("attachment", b"4111111111111111"),
        ("body", 4111111111111111),
    ],
)
def test_a_card_number_is_refused_wherever_it_stands(
    folders: dict[str, Path], tmp_path: Path, field: str, value: object
) -> None:
    with company_in(copied(folders["lumnar"], tmp_path)) as company:
        form = {"body": "hello"} | {field: value}
        with pytest.raises(Refused) as refused:
            collect(company, "chatting", form, source="conversation.chatter", who=Person("chatter", ("1",)))
        assert refused.value.reason == "card-number" and refused.value.clause == ("LU-06",)
        assert "4111" not in str(refused.value)
        assert collect(
            company,
            "chatting",
            {"body": "hello"},
            source="conversation.chatter",
            who=Person("chatter", ("1",)),
        ).taken


def test_a_card_number_is_blotted_out_by_the_policys_word_and_an_image_is_named(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders["lumnar"], tmp_path)
    file, image = folder / "policy.yaml", b"\x89PNG\r\n\x1a\n" + bytes(64)
    who = Person("chatter", ("1",))
    with company_in(folder) as company, pytest.raises(Refused) as refused:
        collect(
            company, "chatting", {"attachment": image, "body": "x"}, source="conversation.chatter", who=who
        )
    assert refused.value.reason == "unseen"
    file.write_text(
        file.read_text("utf-8").replace("never: card-number", "never: card-number, then: blot-out")
    )
    with company_in(folder) as company:
        form = {"body": f"it is {CARD}", "attachment": image}
        taken = collect(company, "chatting", form, source="conversation.chatter", who=who)
        said = taken.taken["app.messages"]
        assert taken.blotted == ("body",) and taken.unseen == ("attachment",)
        assert "4111" not in said["body"] and said["body"].endswith("1111") and said["attachment"] == image
        secret = {"token": CARD, "endpoint": "https://api.example"}
        with pytest.raises(Refused):  # what is left of a secret opens nothing
            collect(company, "set-up", secret, source="customer", who=Person("customer", ("1",)))


def _anywhere(folder: Path, text: bytes, but: tuple[str, ...] = ()) -> list[str]:
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and path.name not in but and text in path.read_bytes()
    ]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _ledger(company: Company, act: str) -> list[dict[str, Any]]:
    rows = ask(company, "ledger", "SELECT body FROM entries ORDER BY position")
    return [entry for (body,) in rows if (entry := json.loads(body))["act"] == act]


# Another database.


def test_links_ages_and_permissions_are_read_in_postgresql_as_in_sqlite(
    tmp_path: Path, fresh_postgresql: str
) -> None:
    folder = tmp_path / "market"
    folder.mkdir()
    lucent_marketplace.build(folder, 40, 3, url=fresh_postgresql)

    def change(statement: str, *values: object) -> None:
        with psycopg.connect(fresh_postgresql, autocommit=True) as database:
            database.execute(statement, values)

    with company_in(folder) as company:
        promise = company.policy.section("collection")["children"]
        assert isinstance(promise, NeverCollected)
        year = company.clock().year
        change("UPDATE members SET born_on = NULL WHERE id = 2")
        change("UPDATE members SET born_on = %s WHERE id = 3", f"{year - 9}-01-01")
        counted = under_age(company, promise)
        assert (counted.people, counted.without_date, counted.unreadable) == (1, 1, 0)
        young, guardian = Person("member", ("4",)), Person("member", ("5",))
        change("UPDATE members SET born_on = %s, closed_at = NULL WHERE id = 4", f"{year - 15}-01-01")
        change("UPDATE members SET born_on = %s, closed_at = NULL WHERE id = 5", ADULT)
        change("DELETE FROM guardians WHERE member_id IN (4, 5) OR owner_id = 5")
        change(
            "INSERT INTO guardians (id, owner_id, member_id, permitted_at) VALUES (9001, 5, 4, '2026-01-01')"
        )
        record(company, [New(young, "guardian", "yes", "account", decider=guardian)])
        form = {"listings.body": "a lamp"}
        assert collect(company, "posting", form, source="member", who=young).taken
        assert [one.person for one in wards.wards(company, guardian)] == [young]
        assert young not in [one.person for one in wards.closed(company)]
        change("UPDATE guardians SET ended_at = '2026-02-01' WHERE id = 9001")
        with pytest.raises(Refused):
            collect(company, "posting", form, source="member", who=young)
        closed = {one.person: one.why for one in wards.closed(company)}
        assert closed[young] == "no guardian answers for them any more"
        assert closed[Person("member", ("2",))].startswith("nobody can tell how old they are")
        change("UPDATE sales SET buyer_id = 5, seller_id = 1, closed_at = NULL WHERE id = 1")
        line = {"addresses.line": "Strada 1"}
        assert collect(company, "delivering", line, source="sale.buyer", who=guardian).taken


def test_a_store_that_is_away_refuses(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["lucent-marketplace"], tmp_path)
    with company_in(folder) as company:
        who = adult(company)
        assert collect(company, "posting", {"listings.body": "x"}, source="member", who=who).taken
        (folder / "shop.sqlite").unlink()
        (folder / "shop.sqlite").mkdir()
        for store in company.stores.values():
            store.dispose()
        with pytest.raises(Refused) as refused:
            collect(company, "posting", {"listings.body": "x"}, source="member", who=who)
        assert refused.value.reason == "unreachable" and refused.value.clause == ("LM-04",)
