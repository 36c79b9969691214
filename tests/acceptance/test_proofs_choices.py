"""What the board says of choices and collection: kept only where something real was seen, broken where it was wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from examples.generators import lucent_marketplace, lumnar
from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.choices import deciding, measured
from kept.controls.choices.declare import Choice
from kept.controls.choices.messages.sending import sending
from kept.controls.choices.records import marks, notices, subjects
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.forgetting import forget
from kept.controls.choices.records.marks import Mark
from kept.controls.collection import tried
from kept.controls.collection.browser import scan
from kept.controls.collection.browser.sites import Visit
from kept.controls.collection.enforce import collect
from kept.controls.collection.gate.forbidden import Looked
from kept.controls.provers import PROVERS
from kept.controls.registry import load
from kept.controls.rights.people import Person
from kept.evidence.proof import Proof, worst
from kept.state.tables import choice_events, choice_readers, metadata, sends
from kept.testing.hubspot import HubSpot
from tests.acceptance.serving import Clock

USERS = [Person("user", (str(number),)) for number in range(1, 21)]
LEADS = [Person("lead", (str(number),)) for number in range(1, 11)]

Open = Callable[[], AbstractContextManager[Company]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def sitelucent(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Company]:
    """SiteLucent, with Kept's state in a file and on a server."""
    build(tmp_path / "c", 60, 3)
    if request.param == "postgresql":
        with (tmp_path / "c" / ".env").open("a") as settings:
            settings.write(f"KEPT_STATE_URL={request.getfixturevalue('fresh_postgresql')}\n")
    with opened(load(tmp_path / "c" / "policy.yaml"), tmp_path / "c", clock) as company:
        yield company


def proofs(company: Company, id: str) -> list[Proof]:
    section, _, name = id.partition(".")
    return PROVERS[section](company, company.policy.section(section)[name])


def says(company: Company, id: str) -> str:
    """The verdict, and of the worst proof what it says."""
    found = proofs(company, id)
    verdict = worst(found)
    return f"{verdict}: {next(one.says for one in found if one.verdict == verdict)}"


def shown(company: Company, choice: str) -> str:
    return notices.keep(company, notices.of_words(company.policy, "May we?", choices=[choice]))


def answer(company: Company, whos: list[Person], choice: str, said: Any, **more: Any) -> None:
    record(company, [New(who, choice, said, "form", notice=shown(company, choice), **more) for who in whos])


def sent(company: Company, who: Person, purpose: str, channel: str = "email") -> None:
    """A message that went past the gate, as a job would note it that doesn't ask."""
    with company.state.write() as connection:
        number, _ = subjects.number(company, connection, [who])[who]
        row = {"subject": number, "purpose": purpose, "channel": channel, "at": company.clock().isoformat()}
        connection.execute(sa.insert(sends), row)


# ── Messages ──


def test_nothing_is_kept_where_nothing_asks(sitelucent: Company) -> None:
    for id in ("choices.alerts", "choices.contact-list"):
        assert says(sitelucent, id).startswith("unproven: No message")
    assert says(sitelucent, "choices.sharing").startswith("unproven: Nothing measures whether Kept is asked")


def test_messages_that_asked_before_are_kept(sitelucent: Company, clock: Clock) -> None:
    answer(sitelucent, LEADS[:4], "contact-list", "yes")
    answer(sitelucent, LEADS[4:6], "contact-list", "no")
    answer(sitelucent, USERS[:3], "alerts", "no")
    clock.on(seconds=2)
    assert len(sending(sitelucent, LEADS, "contact-list", "email")) == 4
    with sitelucent.stores["app"].read() as connection:
        left = connection.scalar(
            sa.text("SELECT count(*) FROM users WHERE id <= 20 AND deactivated_at IS NOT NULL")
        )
    assert len(sending(sitelucent, USERS, "alerts", "email")) == 20 - 3 - int(left or 0)
    for id in ("choices.alerts", "choices.contact-list"):
        assert worst(proofs(sitelucent, id)) == "kept", says(sitelucent, id)
    [messages] = [one for one in proofs(sitelucent, "choices.contact-list") if "messages" in one.measured]
    assert messages.measured["messages"] == 4


@pytest.mark.parametrize("history", ["never", "no", "withdrawn", "put off", "lapsed"])
def test_one_message_without_a_standing_yes_is_found_among_many(
    sitelucent: Company, clock: Clock, history: str
) -> None:
    answer(sitelucent, LEADS[:5], "contact-list", "yes")
    sending(sitelucent, LEADS[:5], "contact-list", "email")
    assert worst(proofs(sitelucent, "choices.contact-list")) == "kept"
    who = LEADS[9]
    if history in ("withdrawn", "lapsed"):
        answer(sitelucent, [who], "contact-list", "yes")
        clock.on(hours=1)
    if history == "lapsed":
        with (
            sitelucent.state.write() as connection
        ):  # as if the policy had let it lapse, and nobody has noted that yet
            last = sa.select(sa.func.max(choice_events.c.number)).scalar_subquery()
            ends = sa.update(choice_events).where(choice_events.c.number == last)
            connection.execute(ends.values(until=clock().isoformat()))
    elif history != "never":
        answer(sitelucent, [who], "contact-list", "later" if history == "put off" else "no")
    clock.on(hours=1)
    sent(sitelucent, who, "contact-list")
    assert says(sitelucent, "choices.contact-list").startswith("broken: 1 of 6 messages of `contact-list`")


def test_an_alert_after_it_was_switched_off_is_found_and_one_to_somebody_silent_is_none(
    sitelucent: Company, clock: Clock
) -> None:
    sent(sitelucent, USERS[0], "alerts")
    assert worst(proofs(sitelucent, "choices.alerts")) == "kept"
    answer(sitelucent, USERS[:1], "alerts", "no")
    clock.on(days=4)
    sent(sitelucent, USERS[0], "alerts")
    assert says(sitelucent, "choices.alerts").startswith("broken: 1 of 2 messages of `alerts`")


def test_a_message_while_a_change_was_under_way_is_shown_and_breaks_nothing(
    sitelucent: Company, clock: Clock
) -> None:
    answer(sitelucent, USERS[:1], "alerts", "no")  # two days may pass until it is everywhere
    clock.on(hours=1)
    sent(sitelucent, USERS[0], "alerts")
    [messages] = [one for one in proofs(sitelucent, "choices.alerts") if "messages" in one.measured]
    assert messages.verdict == "kept" and messages.measured["while_a_change_was_under_way"] == 1
    answer(sitelucent, LEADS[:1], "contact-list", "yes")
    clock.on(hours=1)
    answer(sitelucent, LEADS[:1], "contact-list", "no")  # at once
    clock.on(seconds=0.5)
    sent(sitelucent, LEADS[0], "contact-list")
    assert worst(proofs(sitelucent, "choices.contact-list")) == "kept"
    clock.on(seconds=1)
    sent(sitelucent, LEADS[0], "contact-list")
    assert worst(proofs(sitelucent, "choices.contact-list")) == "broken"


def test_a_yes_counts_from_when_it_was_known_and_a_later_one_mends_nothing(
    sitelucent: Company, clock: Clock
) -> None:
    sent(sitelucent, LEADS[0], "contact-list")
    clock.on(minutes=1)
    answer(sitelucent, LEADS[:1], "contact-list", "yes", at=clock() - timedelta(hours=2))
    assert worst(proofs(sitelucent, "choices.contact-list")) == "broken"
    clock.on(days=31)
    sending(sitelucent, LEADS[:1], "contact-list", "email")
    assert worst(proofs(sitelucent, "choices.contact-list")) == "kept"


# ── Records ──


def test_marks_that_differ_from_what_people_answered_are_found(sitelucent: Company) -> None:
    answer(sitelucent, USERS[:6], "alerts", "no")
    sending(sitelucent, USERS, "alerts", "email")
    assert worst(proofs(sitelucent, "choices.alerts")) == "kept"
    [mark] = marks.load(sitelucent, ["alerts"])
    assert mark == Mark("alerts", "", marks.NO)
    numbers = sorted(marks.load(sitelucent, ["alerts"])[mark])
    with sitelucent.state.write() as connection:  # as many as before, and of the same sum
        marks.change(
            connection,
            [(mark, 0), (mark, numbers[-1] + numbers[-2])],
            [(mark, numbers[-1]), (mark, numbers[-2])],
        )
    assert says(sitelucent, "choices.alerts").startswith("broken: 1 lists of who said yes or no")


def test_an_answer_that_is_not_on_the_ledger_is_found(sitelucent: Company) -> None:
    answer(sitelucent, USERS[:2], "alerts", "no")
    with sitelucent.state.write() as connection:
        row = dict(connection.execute(sa.select(choice_events).limit(1)).one()._mapping)
        connection.execute(sa.insert(choice_events), row | {"number": 900, "record": "f" * 32, "took": 0})
    assert says(sitelucent, "choices.alerts").startswith("broken: 1 of 3 answers are not on the ledger")


def test_of_very_many_answers_the_newest_and_some_others_are_looked_for(
    sitelucent: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "LEDGER", 4)
    monkeypatch.setattr(measured, "PAGE", 2)
    answer(sitelucent, USERS[:8], "alerts", "no")
    choice = sitelucent.policy.section("choices")["alerts"]
    assert isinstance(choice, Choice)
    found = measured.on_ledger(sitelucent, choice)
    assert (found.events, found.missing) == (8, 0) and 4 <= found.looked <= 6
    with sitelucent.state.write() as connection:
        row = dict(connection.execute(sa.select(choice_events).limit(1)).one()._mapping)
        connection.execute(sa.insert(choice_events), row | {"number": 900, "record": "f" * 32, "took": 0})
    assert measured.on_ledger(sitelucent, choice).missing == 1


def test_a_yes_of_which_nobody_can_say_what_was_asked_is_unproven_where_a_yes_is_needed(
    sitelucent: Company,
) -> None:
    record(
        sitelucent, [New(LEADS[0], "contact-list", "yes", "import"), New(USERS[0], "alerts", "yes", "import")]
    )
    sending(sitelucent, LEADS, "contact-list", "email")
    sending(sitelucent, USERS, "alerts", "email")
    assert (
        says(sitelucent, "choices.contact-list")
        == "unproven: Of 1 yeses, nobody can say for 1 what was asked."
    )
    assert worst(proofs(sitelucent, "choices.alerts")) == "kept"


def test_whoever_was_erased_counts_in_nothing(sitelucent: Company) -> None:
    answer(sitelucent, LEADS[:3], "contact-list", "yes")
    sending(sitelucent, LEADS, "contact-list", "email")
    forget(sitelucent, LEADS[:2])
    found = proofs(sitelucent, "choices.contact-list")
    assert worst(found) == "kept"
    assert next(one.measured["yes"] for one in found if "yes" in one.measured) == 1


# ── Time to effect ──


def reader(company: Company, position: int, longest: int, events: int = 1) -> None:
    now = company.clock().isoformat()
    row = {"id": "r", "since": now, "seen": now, "position": position, "events": events, "longest": longest}
    with company.state.write() as connection:
        connection.execute(sa.delete(choice_readers))
        connection.execute(sa.insert(choice_readers), row | {"asked": 1})


def test_the_time_a_change_takes_is_measured_and_shown(sitelucent: Company, clock: Clock) -> None:
    answer(sitelucent, LEADS[:1], "contact-list", "yes")
    answer(sitelucent, LEADS[:1], "contact-list", "no")
    clock.on(seconds=30)
    reader(sitelucent, 2, 240)
    [effect] = [
        one for one in proofs(sitelucent, "choices.contact-list") if "longest_seconds" in one.measured
    ]
    assert effect.verdict == "kept" and "the slowest in 0.24 s; declared is: at once" in effect.says
    reader(sitelucent, 2, 1800)
    assert "A change took 1.8 s" in says(sitelucent, "choices.contact-list")
    assert not [
        one for one in proofs(sitelucent, "choices.alerts") if one.verdict == "broken"
    ]  # two days, there


def test_a_process_that_has_not_learned_of_a_withdrawal_is_found(sitelucent: Company, clock: Clock) -> None:
    answer(sitelucent, LEADS[:1], "contact-list", "yes")
    answer(sitelucent, LEADS[:1], "contact-list", "no")
    clock.on(seconds=0.5)
    reader(sitelucent, 1, 100)
    assert worst(proofs(sitelucent, "choices.contact-list")) != "broken"  # it has half a second left
    clock.on(seconds=5)
    reader(sitelucent, 1, 100)
    assert "1 haven't learned of a withdrawal" in says(sitelucent, "choices.contact-list")


# ── Probes ──


def test_probes_find_a_gate_that_lets_a_no_through(
    sitelucent: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert next(iter(proofs(sitelucent, "choices.contact-list"))).verdict == "kept"
    yes = deciding.Decision(True, "always")
    monkeypatch.setattr(deciding.Rulings, "_stands", lambda *arguments, **named: yes)
    found = next(iter(proofs(sitelucent, "choices.contact-list")))
    assert (
        found.verdict == "broken" and "though they said no" in found.says
    ) or "nobody ever answered" in found.says


def test_probes_find_a_gate_that_refuses_a_yes(sitelucent: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    no = deciding.Decision(False, "never")
    monkeypatch.setattr(deciding.Rulings, "_stands", lambda *arguments, **named: no)
    found = next(iter(proofs(sitelucent, "choices.alerts")))
    assert found.verdict == "broken" and "is refused though" in found.says


def test_probes_find_a_gate_that_takes_any_yes_for_this_one(
    sitelucent: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding.Rulings, "covers", lambda *arguments: True)
    found = next(iter(proofs(sitelucent, "choices.contact-list")))
    assert found.verdict == "broken" and "a yes was about less" in found.says


def test_a_board_leaves_no_trace_in_what_it_looks_at(sitelucent: Company) -> None:
    answer(sitelucent, LEADS[:3], "contact-list", "yes")

    def rows() -> dict[str, Any]:
        with sitelucent.state.read() as connection:
            return {
                table.name: connection.execute(sa.select(table)).all() for table in metadata.sorted_tables
            }

    before, size = rows(), sitelucent.ledger.size
    for section in ("choices", "collection"):
        for name in sitelucent.policy.section(section):
            proofs(sitelucent, f"{section}.{name}")
    assert rows() == before and sitelucent.ledger.size == size


# ── Collection ──


def test_what_no_program_can_ask_must_be_seen_to_leave_a_browser(sitelucent: Company, clock: Clock) -> None:
    def look(*hosts: str, pages: int = 1) -> str:
        seen = [Visit("before", None, 1, True), Visit("accepted", None, pages, True, hosts=hosts)]
        digest = sitelucent.policy.source.digest
        found = tuple(scan.judged(sitelucent.policy, "website", seen))
        scan.keep(sitelucent, scan.Scan("website", "http://127.0.0.1/", clock(), digest, tuple(seen), found))
        return says(sitelucent, "collection.site-visits")

    assert look() == "unproven: nothing was seen to leave a browser for `stats`."
    assert look("cdn.stats.example").startswith("kept: In 2 visits to 2 pages a browser never met")
    assert look("stats.example.elsewhere.example").startswith("broken: A browser met a request to")


@pytest.fixture
def marketplace(tmp_path: Path, clock: Clock) -> Iterator[Company]:
    lucent_marketplace.build(tmp_path / "m", 60, 3)
    with opened(load(tmp_path / "m" / "policy.yaml"), tmp_path / "m", clock) as company:
        yield company


def positioned(company: Company) -> list[Person]:
    with company.stores["shop"].read() as connection:
        keys = connection.scalars(
            sa.text("SELECT DISTINCT member_id FROM positions ORDER BY member_id")
        ).all()
    return [Person("member", (str(key),)) for key in keys]


def test_exact_positions_need_a_permission_that_stands(marketplace: Company, clock: Clock) -> None:
    def positions() -> Proof:
        found = [
            one for one in proofs(marketplace, "collection.locating") if "without_permission" in one.measured
        ]
        assert len(found) == 1
        return found[0]

    people = positioned(marketplace)
    assert positions().verdict == "unproven"  # who said yes before Kept was here, nobody can tell
    answer(marketplace, people[1:], "location", "yes")
    assert positions().verdict == "broken" and positions().measured["without_permission"] == 1
    answer(marketplace, people[:1], "location", "yes")
    assert positions().verdict == "kept" and positions().measured["people"] == len(people)
    clock.on(minutes=1)
    answer(marketplace, people[3:5], "location", "no")
    assert positions().measured["without_permission"] == 2


def test_a_child_in_the_database_is_found_and_an_unknown_age_is_unproven(
    tmp_path: Path, clock: Clock
) -> None:
    lucent_marketplace.build(tmp_path / "m", 60, 3)

    def verdict() -> str:
        with opened(load(tmp_path / "m" / "policy.yaml"), tmp_path / "m", clock) as company:
            return says(company, "collection.children")

    def born(value: str | None) -> None:
        with closing(sqlite3.connect(tmp_path / "m" / "shop.sqlite")) as database:
            database.execute("UPDATE members SET born_on = ? WHERE id = 7", (value,))
            database.commit()

    assert verdict() == "kept: Nobody in the database is `child`."
    born(None)
    assert verdict().startswith("unproven: Of 1 people nobody can tell")
    born("2020-01-01")
    assert verdict() == "broken: 1 people are `child`, and are there."


def cards(folder: Path, clock: Clock) -> str:
    with opened(load(folder / "policy.yaml"), folder, clock) as company:
        company.unreachable.pop("stripe", None)
        return says(company, "collection.cards")


def test_card_numbers_are_found_where_they_rest_and_never_repeated(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "l"
    lumnar.build(folder, 40, 3)
    assert cards(folder, clock).startswith("unproven: `stripe` was not looked into")
    with closing(sqlite3.connect(folder / "app.sqlite")) as database:
        database.execute("UPDATE messages SET body = 'pay with 4111 1111 1111 1111 please' WHERE id = 3")
        database.commit()
    found = cards(folder, clock)
    assert found == "broken: Full card numbers stand in app.messages.body (1)."
    (folder / "uploads" / "note.txt").write_text("5555 5555 5555 4444")
    found = cards(folder, clock)
    assert found == "broken: Full card numbers stand in app.messages.body (1), uploads (1)."


def test_an_entrance_that_lets_a_card_number_in_is_found(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lumnar.build(tmp_path / "l", 40, 3)
    with opened(load(tmp_path / "l" / "policy.yaml"), tmp_path / "l", clock) as company:
        assert {one.kind: one.verdict for one in proofs(company, "collection.cards")}["probe"] == "kept"
        monkeypatch.setattr(tried, "looked_into", lambda promises, form: Looked(form))
        assert {one.kind: one.verdict for one in proofs(company, "collection.cards")}["probe"] == "broken"


def test_an_entrance_that_takes_what_nobody_declared_is_found(
    sitelucent: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {one.kind: one.verdict for one in proofs(sitelucent, "collection.joining")}["probe"] == "kept"
    real = collect

    def lax(*arguments: Any, **named: Any) -> Any:
        taken = real(*arguments, **named | {"strict": False})
        return replace(taken, dropped={}, form=arguments[2])

    monkeypatch.setattr(tried, "collect", lax)
    assert {one.kind: one.verdict for one in proofs(sitelucent, "collection.joining")}["probe"] == "broken"


def test_sources_are_counted_in_hubspot_too(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "c", 60, 3)
    with HubSpot() as hubspot:
        for number, source in enumerate(("lead", "lead", "", "bought-list"), 1):
            hubspot.add(
                "contacts",
                str(number),
                email=f"{number}@mail.example",
                **({"source": source} if source else {}),
            )
        monkeypatch.setenv("HUBSPOT_TOKEN", hubspot.address.replace("://", "://a-token-for-tests@"))
        hubspot.token = "a-token-for-tests"
        with opened(load(tmp_path / "c" / "policy.yaml"), tmp_path / "c", clock) as company:
            found = says(company, "collection.contact-form")
            assert found.startswith(
                "broken: Of the rows of `enquiry`, 1 have no source and 1 one that isn't declared"
            )
            hubspot.objects["contacts"]["3"].properties["source"] = "lead"
            hubspot.objects["contacts"]["4"].properties["source"] = "lead"
            assert says(company, "collection.contact-form").startswith("kept: Every row of `enquiry`")
