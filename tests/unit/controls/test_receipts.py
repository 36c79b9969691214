"""Consent records, receipts and their export: every mandatory field, from the policy or said to be missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from jsonschema import Draft202012Validator, FormatChecker

from examples.generators import lumnar
from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.choices.asking import choices_of
from kept.controls.choices.records import book, choosing, dpv, iso27560, notices
from kept.controls.choices.records.book import New
from kept.controls.choices.records.forgetting import forget
from kept.controls.choices.records.receipt import Gone, receipt, token_of, verify
from kept.controls.choices.records.states import STATES
from kept.controls.registry import load
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.evidence.ledger import Ledger
from kept.evidence.links import LinkWrong
from kept.state.tables import subjects as subjects_table

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "docs/receipt.schema.json").read_text("utf-8"))
VISITOR = Person("visitor", ("a" * 32,))
SPACES = tuple(dpv.CONTEXT[name] for name in ("dpv", "pd", "loc", "eu-gdpr"))
LEAD = Person("lead", ("7",))


@pytest.fixture
def clock() -> list[datetime]:
    """A clock to be set: its only item is the time."""
    return [datetime(2026, 5, 4, 9, 30, tzinfo=UTC)]


@pytest.fixture
def company(tmp_path: Path, clock: list[datetime], monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    monkeypatch.setenv("WEBSITE_URL", "https://www.sitelucent.example")
    build(tmp_path / "company", 5, 3)
    with opened(load(tmp_path / "company/policy.yaml"), tmp_path / "company", lambda: clock[0]) as found:
        yield found


def shown(company: Company, *choices: str, language: str = "fr") -> str:
    words = "Pouvons-nous compter les visites ?"
    told = notices.of_words(
        company.policy, words, choices=choices, language=language, kind="banner", region="fr"
    )
    return notices.keep(company, told)


def chose(company: Company, clock: list[datetime], answer: Any, way: str = "banner", **more: Any) -> str:
    """Record one answer of the visitor's an hour later; its record's id."""
    clock[0] += timedelta(hours=1)
    more = {"notice": shown(company, "statistics"), "region": "fr"} | more
    [done] = book.record(company, [New(VISITOR, "statistics", answer, way, **more)])
    return done.record


def body(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data)["body"]
    return found


def sound(data: bytes) -> None:
    Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(json.loads(data))


def test_the_schema_of_receipts_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_receipt_has_every_field_that_the_standard_and_the_gdpr_make_mandatory(
    company: Company, clock: list[datetime]
) -> None:
    """ISO/IEC TS 27560:2023 through W3C DPV's guide (consent-27560, table 7.2), in the names of its clauses."""
    data = receipt(company, chose(company, clock, "yes"))
    sound(data)
    record = body(data)["record"]
    assert {"schema_version", "record_id", "pii_principal_id"} <= set(record)
    processing = record["pii_processing"]
    assert processing["language"] == ["fr"]
    assert processing["privacy_notice"][0]["shown"]["words"] == {"text": "Pouvons-nous compter les visites ?"}
    uses = {use["purpose"]: use for use in processing["purposes"]}
    use = uses["improve-site"]
    assert use["lawful_basis"] == [{"ground": "consent", "article": "GDPR Art. 6(1)(a)"}]
    assert {one["pii_type"] for one in use["pii_information"]} >= {"ip-address", "identifier", "behaviour"}
    assert use["pii_controllers"] == ["sitelucent"]
    assert use["collection_method"] == ["the person"]
    assert use["processing_method"] == ["use"] and uses["site-visits"]["processing_method"] == ["collect"]
    assert [place["regions"] for place in use["storage_locations"]] == [["eea", "us"], None]
    assert use["retention_period"][0]["says"] == "forever"
    assert use["jurisdiction"]["laws"][0]["citation"] == "Regulation (EU) 2016/679"
    assert [one["party_id"] for one in use["recipient_third_parties"]] == ["analytics"]
    assert [(one["regions"], one["safeguard"]) for one in use["geographic_restrictions"]] == [
        (["us"], "data-privacy-framework")
    ]
    assert "https://www.sitelucent.example" in use["withdrawal_method"]["urls"]
    assert {"access", "erase", "withdraw", "complain"} <= {one["right"] for one in use["privacy_rights"]}
    assert [one["url"] for one in use["authority_party"]] == ["https://www.cnil.fr"]
    assert use["necessity"] == "optional"
    [controller, _] = record["party_identification"]
    assert (controller["party_id"], controller["party_name"]) == ("sitelucent", "SiteLucent")
    assert controller["party_contact"] == {"support": {"email": "support@sitelucent.example"}}
    assert (controller["party_role"], controller["party_type"]) == ("controller", "data controller")
    [event] = record["events"]
    assert (event["event_state"], event["event_type"]) == ("ConsentGiven", "regular")
    assert event["event_time"] == "2026-05-04T10:30:00+00:00"
    assert event["entity_id"] == record["pii_principal_id"]
    assert event["validity_duration"] == {"until": None, "says": "until it is withdrawn"}


def test_what_the_policy_does_not_say_is_a_finding_and_never_made_up(
    company: Company, clock: list[datetime]
) -> None:
    record = body(receipt(company, chose(company, clock, "yes")))["record"]
    assert record["party_identification"][0]["party_address"] is None
    said = {one["field"]: one["says"] for one in record["findings"]}
    assert (
        said["party_identification.sitelucent.party_address"]
        == "the policy gives no postal address of SiteLucent"
    )
    assert "party_identification.analytics.party_contact" in said
    assert "pii_processing.statistics.purposes.improve-site.retention_period.visits" in said


def test_a_person_is_their_pseudonym_and_never_their_key(company: Company, clock: list[datetime]) -> None:
    record = chose(company, clock, "yes")
    data = receipt(company, record) + json.dumps(list(iso27560.export(company))).encode()
    assert b"a" * 32 not in data
    pseudonym = company.pseudonyms.of([str(VISITOR)])[str(VISITOR)]
    assert body(receipt(company, record))["record"]["pii_principal_id"] == pseudonym


def test_a_refusal_is_as_much_a_record_as_a_yes(company: Company, clock: list[datetime]) -> None:
    data = receipt(company, chose(company, clock, "no"))
    sound(data)
    assert [one.state for one in verify(data).answers] == ["ConsentRefused"]


def test_a_receipt_tells_the_whole_life_of_its_choices_and_proves_its_own_answers(
    company: Company, clock: list[datetime]
) -> None:
    asked = chose(company, clock, "asked")
    given = chose(company, clock, "yes")
    taken_back = chose(company, clock, "no", "page", notice=None)
    [other] = book.record(company, [New(LEAD, "contact-list", "yes", "form")])
    for record in (asked, given, taken_back):
        data = receipt(company, record)
        sound(data)
        events = body(data)["record"]["events"]
        assert [one["event_state"] for one in events] == [
            "ConsentRequested",
            "ConsentGiven",
            "ConsentWithdrawn",
        ]
        assert [one["record_id"] for one in events] == [asked, given, taken_back]
        assert events[0]["entity_id"] == "sitelucent"  # it is the company that asks
        assert [one["entry"]["record"] for one in body(data)["ledger"]["entries"]] == [record]
        verified = verify(data, company.keys.public.hex())
        assert [one.state for one in verified.now] == ["ConsentWithdrawn"]
    assert [one.choice for one in verify(receipt(company, other.record)).answers] == ["contact-list"]
    assert "since then: statistics: ConsentWithdrawn" in str(verify(receipt(company, given)))


def test_an_answer_without_words_beside_it_says_so(company: Company, clock: list[datetime]) -> None:
    for way in ("signal", "api"):
        data = receipt(company, chose(company, clock, "no", way, notice=None))
        sound(data)
        record = body(data)["record"]
        assert record["pii_processing"]["privacy_notice"] == []
        [said] = [one["says"] for one in record["findings"] if "privacy_notice" in one["field"]]
        assert ("device" in said) is (way == "signal")
        verify(data)


def test_a_yes_confirmed_a_second_time_or_in_writing_is_explicit(
    company: Company, clock: list[datetime]
) -> None:
    types = {}
    for way in ("banner", "confirmed", "letter", "signal", "one-click"):
        events = body(receipt(company, chose(company, clock, "yes", way)))["record"]["events"]
        types[way] = events[-1]["event_type"]
    assert [way for way, kind in types.items() if kind == "explicit"] == ["confirmed", "letter"]


def test_a_receipt_costs_as_many_statements_whatever_was_chosen(
    company: Company, clock: list[datetime]
) -> None:
    record = chose(company, clock, "yes")
    receipt(company, record)
    few = counted(company, record)
    for _ in range(60):
        chose(company, clock, "no")
        chose(company, clock, "yes")
    assert counted(company, record) == few == 5


def counted(company: Company, record: str) -> int:
    """Statements on Kept's own database for one receipt."""
    with statements(company) as sent:
        receipt(company, record)
    return len(sent)


@contextmanager
def statements(company: Company) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(connection: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            sent.append(statement)

    sa.event.listen(company.state.engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(company.state.engine, "before_cursor_execute", note)


def test_no_history_makes_a_receipt_grow_without_end(company: Company, clock: list[datetime]) -> None:
    first = chose(company, clock, "yes")
    visits = [New(VISITOR, "statistics", "no" if n % 2 else "yes", "page", at=clock[0]) for n in range(300)]
    book.record(company, visits)
    events = body(receipt(company, first))["record"]["events"]
    assert len(events) == choosing.HISTORY + 1
    assert events[0]["record_id"] == first  # its own is never left out
    [whole] = [one for one in iso27560.export(company, [VISITOR]) if one["record_id"] == first]
    assert whole["events"] == events


@pytest.mark.parametrize("reports", [1, choosing.HISTORY, 3 * choosing.HISTORY])
def test_reports_that_take_no_effect_push_no_answer_out_of_a_receipt(
    company: Company, clock: list[datetime], reports: int
) -> None:
    """A device tells of its switch at each start, and never overrides what somebody did: the no still stands."""
    yes, no = chose(company, clock, "yes"), chose(company, clock, "no", "page")
    clock[0] += timedelta(hours=1)
    told = [New(VISITOR, "statistics", "yes", "device") for _ in range(reports)]
    assert not any(done.took for done in book.record(company, told))
    given = receipt(company, yes)
    sound(given)
    assert [one.state for one in verify(given).now] == ["ConsentWithdrawn"]
    assert [event["record_id"] for event in body(given)["record"]["events"]] == [yes, no]
    exported = {one["record_id"]: one["events"] for one in iso27560.export(company, [VISITOR])}
    assert exported[yes] == exported[no] == body(given)["record"]["events"]
    [*_, late] = exported  # what took no effect is told of in the record it belongs to
    own = body(receipt(company, late))["record"]["events"]
    assert [event["took_effect"] for event in own] == [True, True, False]
    assert [one.state for one in verify(receipt(company, late)).now] == ["ConsentWithdrawn"]
    assert counted(company, yes) == 5


def test_the_same_where_the_state_is_in_postgresql(
    fresh_postgresql: str, tmp_path: Path, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    build(tmp_path / "company", 5, 3)
    with (tmp_path / "company/.env").open("a") as settings:
        settings.write(f"KEPT_STATE_URL={fresh_postgresql}\n")
    with opened(load(tmp_path / "company/policy.yaml"), tmp_path / "company", lambda: clock[0]) as company:
        yes, _ = chose(company, clock, "yes"), chose(company, clock, "no", "page")
        clock[0] += timedelta(hours=1)
        book.record(company, [New(VISITOR, "statistics", "yes", "device") for _ in range(choosing.HISTORY)])
        data = receipt(company, yes)
        sound(data)
        assert [one.state for one in verify(data).now] == ["ConsentWithdrawn"]
        assert company.state.engine.dialect.name == "postgresql"


def test_the_event_in_force_of_each_choice_is_told_however_often_another_was_switched(
    company: Company, clock: list[datetime]
) -> None:
    """One record of two choices: the newest hundred changes are all of one of them, and the other's last is told."""
    about = Person("lead", ("5",))
    names = [choice.name for choice in choices_of(company.policy, "lead")][:2]
    assert len(names) == 2
    both = [New(about, name, "yes", "form", record="d" * 32) for name in names]
    book.record(company, both)
    clock[0] += timedelta(hours=1)
    book.record(company, [New(about, names[0], "no", "page", record="e" * 32)])
    for number in range(choosing.HISTORY + 20):
        clock[0] += timedelta(hours=1)
        book.record(company, [New(about, names[1], "no" if number % 2 else "yes", "page")])
    data = receipt(company, "d" * 32)
    now = {one.choice: one.state for one in verify(data).now}
    assert now == {names[0]: "ConsentWithdrawn", names[1]: "ConsentWithdrawn"}
    events = body(data)["record"]["events"]
    assert len(events) == choosing.HISTORY + 3
    [whole] = [one for one in iso27560.export(company, [about]) if one["record_id"] == "d" * 32]
    assert whole["events"] == events


def test_a_receipt_says_that_its_purposes_are_told_from_the_policy_of_today(
    company: Company, clock: list[datetime], tmp_path: Path
) -> None:
    given, signalled = chose(company, clock, "yes"), chose(company, clock, "yes", "api", notice=None)
    then = company.policy.source.digest
    told = body(receipt(company, given))["record"]["policy"]
    assert (told["sha256"], told["file_then"], told["same_as_then"]) == (then, [then], True)
    assert {"retention_period", "storage_locations", "purpose_description"} <= set(told["tells"])
    assert body(receipt(company, signalled))["record"]["policy"]["same_as_then"] is None
    file = tmp_path / "company/policy.yaml"
    file.write_text(file.read_text("utf-8") + "\n# changed\n", "utf-8")
    clock[0] += timedelta(days=400)
    with opened(load(file), file.parent, lambda: clock[0]) as later:
        data = receipt(later, given)
        sound(data)
        told = body(data)["record"]["policy"]
        assert told["sha256"] != then and told["file_then"] == [then]
        assert told["same_as_then"] is False
        assert "told from this policy file" in told["says"] and "something else" in told["says"]
        [graph, _] = dpv.jsonld(iso27560.export(later))["@graph"]
        assert f"policy: {told['says']}" in graph["dct:description"]
        tells = {name.split(".")[0] for name in told["tells"]}
        assert tells <= {*SCHEMA["$defs"]["use"]["properties"], *SCHEMA["$defs"]["record"]["properties"]}


def test_an_entry_that_a_crash_kept_from_the_ledger_is_there_when_its_receipt_is(
    company: Company, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, before = "c" * 32, company.ledger.size
    with monkeypatch.context() as crashing:
        crashing.setattr(Ledger, "append_many", full)
        with pytest.raises(OSError, match="the disk is full"):
            chose(company, clock, "yes", record=record)
    assert company.ledger.size == before
    verify(receipt(company, record))
    assert company.ledger.size == before + 1
    verify(receipt(company, record))
    assert company.ledger.size == before + 1  # proving writes nothing more


def full(*_: object) -> NoReturn:
    raise OSError("the disk is full")


def test_there_is_no_receipt_of_somebody_erased_nor_of_nothing(
    company: Company, clock: list[datetime]
) -> None:
    record = chose(company, clock, "yes")
    kept = receipt(company, record)
    forget(company, [VISITOR])
    for id in (record, "0" * 32):
        with pytest.raises(Gone):
            receipt(company, id)
    verify(kept, company.keys.public.hex())
    [left] = iso27560.export(company)
    assert left["pii_principal_id"] is None
    assert any("erased" in one["says"] for one in left["findings"])


def test_a_record_id_of_two_people_is_shown_to_neither(company: Company, clock: list[datetime]) -> None:
    """Whoever knows another's record id and uses it again gets nothing of theirs to see."""
    record = chose(company, clock, "yes")
    with company.state.write() as connection:
        connection.execute(sa.insert(subjects_table).values(number=99, kind="lead", pseudonym="f" * 64))
        connection.execute(
            sa.text(
                "INSERT INTO choice_events (record, subject, choice, scope, answer, state, took, at, received, way, "
                "meaning) SELECT record, 99, 'sharing', '', answer, state, took, at, received, way, meaning "
                "FROM choice_events"
            )
        )
    with pytest.raises(KeptError, match="two people"):
        receipt(company, record)


def test_the_link_of_a_receipt_works_for_two_years_and_for_nothing_else(
    company: Company, clock: list[datetime]
) -> None:
    record = chose(company, clock, "yes")
    token = token_of(company, record)
    assert company.links.read(token, "receipt").subject == record
    with pytest.raises(LinkWrong):
        company.links.read(token, "page")
    clock[0] += timedelta(days=731)
    with pytest.raises(LinkWrong, match="no longer valid"):
        company.links.read(token, "receipt")


def test_every_state_has_a_word_of_the_vocabulary() -> None:
    assert set(dpv.STATES) == set(STATES)
    assert {f"{dpv.CONTEXT['dpv']}{one}" for one in dpv.STATES.values()} <= vocabulary()


def vocabulary() -> set[str]:
    """Every term of the Data Privacy Vocabulary 2.3 and of the extensions used, by its IRI."""
    found: set[str] = set()
    base = ""
    for line in (ROOT / "tests/fixtures/dpv-2.3.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            base = line[1:].partition(" ")[0]
        elif not line.startswith("#"):
            found |= {f"{base}{name}" for name in line.split()}
    return found


Triple = tuple[str, str, str]


def triples(document: dict[str, Any]) -> list[Triple]:
    """What a document says, by JSON-LD's own rules for the shapes it has, with no library of anybody's."""
    context, found, made = document["@context"], [], iter(range(10**6))

    def iri(name: str) -> str:
        prefix, colon, rest = name.partition(":")
        return f"{context[prefix]}{rest}" if colon and prefix in context else name

    def walk(node: dict[str, Any]) -> str:
        if "@value" in node:
            found.append((f'"{node["@value"]}"', "@type", iri(node["@type"])))
            return f'"{node["@value"]}"'
        subject = iri(node["@id"]) if "@id" in node else f"_:made-{next(made)}"
        for key, value in node.items():
            if key == "@id":
                continue
            for one in value if isinstance(value, list) else [value]:
                if key == "@type":
                    found.append((subject, "rdf:type", iri(one)))
                else:
                    assert ":" in key, key  # a key without a prefix would say nothing
                    found.append((subject, iri(key), walk(one) if isinstance(one, dict) else f'"{one}"'))
        return subject

    for node in document["@graph"]:
        walk(node)
    return found


def test_the_graph_says_what_the_records_say_in_terms_that_exist(
    company: Company, clock: list[datetime]
) -> None:
    asked, given = chose(company, clock, "asked"), chose(company, clock, "yes", "confirmed")
    book.record(company, [New(LEAD, "contact-list", "no", "form", region="us-ca")])
    document = dpv.jsonld(iso27560.export(company))
    assert json.loads(json.dumps(document)) == document
    found = triples(document)
    used = {term for triple in found for term in triple if term.startswith(SPACES)}
    assert used - vocabulary() == set() and len(used) > 40

    def values(subject: str, name: str) -> set[str]:
        return {
            value for one, key, value in found if one == subject and key == f"https://w3id.org/dpv#{name}"
        }

    def types(subject: str) -> set[str]:
        return {value.rpartition("#")[2] for one, key, value in found if one == subject and key == "rdf:type"}

    record = f"urn:uuid:{given[:8]}-{given[8:12]}-{given[12:16]}-{given[16:20]}-{given[20:]}"
    assert types(record) == {"ConsentRecord"}
    statuses = values(record, "hasConsentStatus")
    assert {one for status in statuses for one in types(status)} == {"ConsentRequested", "ConsentGiven"}
    [yes] = [one for one in statuses if types(one) == {"ConsentGiven"}]
    assert values(yes, "hasLegalBasis") == {"https://w3id.org/dpv#ExplicitlyExpressedConsent"}
    [person] = values(record, "hasDataSubject")
    assert values(yes, "isIndicatedBy") == {person} and types(person) == {"DataSubject"}
    [question] = [one for one in statuses if types(one) == {"ConsentRequested"}]
    [asker] = values(question, "isIndicatedBy")
    assert types(asker) == {"Organisation", "DataController"}
    [notice] = values(record, "hasNotice")
    assert notice.startswith("ni:///sha-256;") and types(notice) == {"ConsentNotice"}
    processes = values(record, "hasProcess")
    data = {one for process in processes for one in values(process, "hasPersonalData")}
    assert {"IPAddress", "PersonalData"} <= {one for datum in data for one in types(datum)}
    assert {"https://w3id.org/dpv/legal/eu/gdpr#A6-1-a"} <= {
        one for process in processes for one in values(process, "hasLegalBasis")
    }
    assert {one for process in processes for one in values(process, "hasJurisdiction")} == {
        "https://w3id.org/dpv/loc#EEA"
    }
    assert asked != given


def test_a_whole_policy_with_three_laws_is_told_region_by_region(tmp_path: Path) -> None:
    """Lumnar: each choice answered in each region; all receipts sound, and a person's own law is cited."""
    lumnar.build(tmp_path / "company", 5, 3)
    with opened(load(tmp_path / "company/policy.yaml"), tmp_path / "company") as company:
        cited = {}
        for number, region in enumerate(("fr", "gb", "us-ca", "jp", None)):
            visitor = Person("visitor", (f"{number:032x}",))
            [done] = book.record(company, [New(visitor, "statistics", "yes", "page", region=region)])
            data = receipt(company, done.record)
            sound(data)
            verify(data, company.keys.public.hex())
            [_, use] = body(data)["record"]["pii_processing"]["purposes"]
            cited[region] = use["withdrawal_method"]["article"], use["authority_party"][0]["url"]
        assert cited["fr"] == ("GDPR Art. 7(3)", "https://www.cnil.fr")
        assert cited["gb"][0] == "UK GDPR Art. 7(3)" and "ico.org.uk" in cited["gb"][1]
        assert cited["us-ca"][0] is None
        used = {t for triple in triples(dpv.jsonld(iso27560.export(company))) for t in triple}
        assert {one for one in used if one.startswith(SPACES)} <= vocabulary()


def test_an_export_of_some_is_of_them_alone_and_of_everybody_in_pages(
    company: Company, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "PAGE", 3)
    everybody = [Person("visitor", (f"{number:032x}",)) for number in range(8)]
    for who in everybody:
        book.record(company, [New(who, "statistics", "no", "page")])
    assert len(list(iso27560.export(company))) == 8
    [mine] = iso27560.export(company, [everybody[5]])
    assert mine["pii_principal_id"] == company.pseudonyms.of([str(everybody[5])])[str(everybody[5])]
    assert list(iso27560.export(company, [VISITOR])) == []
