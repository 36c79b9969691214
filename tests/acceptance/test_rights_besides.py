"""What an entry of `rights` promises besides: ways to ask, a copy first, who may, during a case, without weighing."""

from __future__ import annotations

import imaplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from examples.generators import lucent_commerce, lucent_marketplace, lumensol, lumnar
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import examine, load
from kept.controls.rights import besides, cases, copies, instruct, intake, life, register, ways
from kept.controls.rights.declare import Right
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.prove import prove
from kept.controls.rights.register import Request, Subject
from kept.errors import KeptError, TransientError
from kept.evidence.proof import Proof
from kept.mail.imap import ImapMailbox
from kept.state import workflows
from tests.acceptance.serving import Clock, Inside, free_port, inside, link, text, until

LUCENT = "app_support@lucent.example"


@contextmanager
def at(folder: Path, clock: Clock | None = None) -> Iterator[Company]:
    """The company in a folder, opened."""
    with opened(load(folder / "policy.yaml"), folder, clock or Clock()) as company:
        yield company


def right(company: Company, verb: str) -> Right:
    found = company.policy.section("rights")[verb]
    assert isinstance(found, Right)
    return found


def says(folder: Path, old: str, new: str) -> None:
    """Change what the policy of a company says."""
    file = folder / "policy.yaml"
    told = file.read_text("utf-8")
    assert told.count(old) == 1
    file.write_text(told.replace(old, new), "utf-8")


def setting(folder: Path, **settings: str) -> None:
    with (folder / ".env").open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in settings.items())


def verdicts(proofs: list[Proof]) -> list[str]:
    return [proof.verdict for proof in proofs]


def requests(company: Company, verb: str) -> list[Request]:
    return register.listing(company, state=None, verb=verb)


# ── through ──


@pytest.fixture
def commerce(tmp_path: Path) -> Path:
    lucent_commerce.build(tmp_path / "company", 20, 3)
    return tmp_path / "company"


@pytest.fixture
def mail_server() -> Iterator[int]:
    """A real IMAP server, whose one user is the published address of the company."""
    port = free_port()
    command = "import sys; from pymap.main import main; sys.exit(main())"
    where = ("--host", "127.0.0.1", "--port", str(port), "--no-tls")
    server = subprocess.Popen(
        [sys.executable, "-c", command, *where, "dict", "--demo-user", LUCENT, "--demo-password", "pass"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> imaplib.IMAP4 | None:
        try:
            return imaplib.IMAP4("127.0.0.1", port, timeout=10)
        except OSError:
            return None

    try:
        box = until(answers, "the mailbox opens")
        box.login(LUCENT, "pass")
        box.create("requests")
        box.logout()
        yield port
    finally:
        server.kill()
        server.wait()


def mailbox(port: int, password: str = "pass") -> str:
    return f"imap://{LUCENT.replace('@', '%40')}:{password}@127.0.0.1:{port}/requests"


def test_by_email_is_unproven_while_nobody_takes_the_mail_and_says_what_to_set(commerce: Path) -> None:
    with at(commerce) as company:
        [proof] = ways.prove(company, right(company, "access"))
    assert proof.verdict == "unproven" and LUCENT in proof.says and "KEPT_IMAP_URL" in proof.says


def test_by_email_is_kept_where_the_published_mailbox_opens_and_is_emptied(
    commerce: Path, mail_server: int
) -> None:
    setting(commerce, KEPT_IMAP_URL=mailbox(mail_server))
    clock = Clock()
    with at(commerce, clock) as company:
        [unread] = ways.prove(company, right(company, "access"))
        assert unread.verdict == "unproven" and "emptied it yet" in unread.says
        intake.fetch(company)
        [proof] = ways.prove(company, right(company, "access"))
        assert (proof.verdict, proof.kind) == ("kept", "probe") and LUCENT in proof.says
        clock.on(days=2)
        [stale] = ways.prove(company, right(company, "access"))
        assert stale.verdict == "unproven" and "emptied it since" in stale.says


def test_by_email_is_unproven_where_the_mailbox_is_refused_or_is_somebody_elses(
    commerce: Path, mail_server: int
) -> None:
    setting(commerce, KEPT_IMAP_URL=mailbox(mail_server, "wrong"))
    with at(commerce) as company:
        [proof] = ways.prove(company, right(company, "access"))
    assert proof.verdict == "unproven" and "refused user and password" in proof.says
    assert "wrong" not in proof.says
    setting(commerce, KEPT_IMAP_URL=mailbox(mail_server))
    says(commerce, LUCENT, "somebody.else@lucent.example")
    with at(commerce) as company:
        intake.fetch(company)
        [proof] = ways.prove(company, right(company, "access"))
    assert proof.verdict == "unproven" and "can't be seen from here" in proof.says


def test_by_email_is_broken_where_no_address_is_published(commerce: Path) -> None:
    says(commerce, f"{{email: {LUCENT}}}", '{post: "1 Example Street"}')
    says(commerce, "email: legal@lucent.example", 'post: "1 Example Street"')
    with at(commerce) as company:
        [proof] = ways.prove(company, right(company, "access"))
    assert proof.verdict == "broken"


def test_in_the_account_is_kept_once_the_application_has_asked(commerce: Path) -> None:
    with at(commerce) as company:
        [account, _] = ways.prove(company, right(company, "correct"))
    assert account.verdict == "unproven" and "KEPT_API_TOKEN" in account.says
    with inside(commerce) as shop, shop.client(api=True) as client:
        [account, _] = ways.prove(shop.company, right(shop.company, "correct"))
        assert account.verdict == "unproven" and "no such request" in account.says
        asked = {"verb": "correct", "who": "customer:2", "proven": True, "words": "My name is Ada."}
        assert client.post("/api/requests", json=asked).status_code == 201
        [account, _] = ways.prove(shop.company, right(shop.company, "correct"))
        assert account.verdict == "kept" and account.measured["requests"] == 1


def test_through_the_form_is_kept_where_it_answers_and_unproven_where_nothing_does(
    commerce: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "JUST", -1.0)
    says(commerce, "access:  {through: email,", "access:  {through: [form, post],")
    with at(commerce) as company:
        form, post = ways.prove(company, right(company, "access"))
        assert form.verdict == post.verdict == "unproven" and "KEPT_PUBLIC_URL" in form.says
    with inside(commerce) as shop:
        form, _ = ways.prove(shop.company, right(shop.company, "access"))
        assert form.verdict == "kept", form.says
    with at(commerce) as company:
        form, _ = ways.prove(company, right(company, "access"))
        assert form.verdict == "unproven" and "doesn't answer" in form.says


def test_one_board_looks_at_one_mailbox_once(
    commerce: Path, mail_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_: list[str] = []

    def counted(url: str) -> ImapMailbox:
        opened_.append(url)
        return ImapMailbox(url)

    monkeypatch.setattr("kept.controls.rights.ways.ImapMailbox", counted)
    setting(commerce, KEPT_IMAP_URL=mailbox(mail_server))
    with at(commerce) as company:
        for verb in ("access", "correct", "erase"):
            assert ways.prove(company, right(company, verb))[-1].measured["opens"]
    assert len(opened_) == 1


# ── offers: copy ──


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Lucent's marketplace; whoever applied for work there stands in its database alone."""
    lucent_marketplace.build(tmp_path / "company", 30, 3)
    return tmp_path / "company"


def applicant(shop: Inside, number: int) -> str:
    with shop.company.stores["shop"].read() as connection:
        row = connection.exec_driver_sql("SELECT email FROM applicants WHERE id = ?", (number,)).one()
    return str(row[0])


def offered(company: Company) -> Proof:
    [proof] = besides.offers(company, right(company, "erase"))
    return proof


def erased_soon(folder: Path) -> None:
    """Nobody waits thirty days for a test."""
    says(folder, "waits: 30 days, offers: copy", "offers: copy")


def test_whoever_asks_to_be_erased_is_offered_a_copy_and_has_it_before_anything_goes(market: Path) -> None:
    erased_soon(market)
    with inside(market) as shop:
        email = applicant(shop, 2)
        shop.ask("erase", email)
        shop.work()
        asked = shop.box.to(email, "was you")
        assert "you can have a copy of everything" in text(asked)
        page = link(asked, "verify")
        with shop.client() as client:
            assert "a copy first" in client.get(page).text
            taken = client.post(f"{page}/copy")
            assert taken.status_code == 303 and "/request/" in taken.headers["location"]
            [erasure] = requests(shop.company, "erase")
            [copy] = requests(shop.company, "access")
            assert (erasure.awaits, copy.awaits, copy.channel) == ("identity", "work", "link")
            # Pressed too early the erasure doesn't begin: it would take the copy with it.
            early = client.post(page)
            assert early.status_code == 200 and "We are making it" in early.text
            assert register.get(shop.company, erasure.id).awaits == "identity"
            shop.work()
            assert "still want your data erased" in text(shop.box.to(email, "put together"))
            assert applicant(shop, 2) == email
            own = client.get(taken.headers["location"])
            assert "through the link in our letter" in own.text
            zipped = client.get(f"{taken.headers['location']}/answer")
            assert zipped.status_code == 200 and zipped.content[:2] == b"PK"
            assert "Your copy is there" in client.get(page).text
            assert client.post(page).status_code == 303
        shop.work()
        done = register.get(shop.company, erasure.id)
        assert done.state == "done", done
        whats = [event.what for event in register.history(shop.company, erasure.id)]
        assert whats.count("offered-copy") == whats.count("copy-asked") == 1
        assert not list((market / "answers").glob("*.zip"))
        proof = offered(shop.company)
        assert (proof.verdict, proof.measured["carried_out"]) == ("kept", 1)


def test_a_copy_asked_for_twice_is_one_and_one_can_go_on_without_it(market: Path) -> None:
    with inside(market) as shop:
        email = applicant(shop, 3)
        shop.ask("erase", email)
        shop.work()
        page = link(shop.box.to(email, "was you"), "verify")
        with shop.client() as client:
            for _ in range(2):
                assert client.post(f"{page}/copy").status_code == 303
            assert len(requests(shop.company, "access")) == 1
            assert client.post(f"{page}?copy=without").status_code == 303
            [erasure] = requests(shop.company, "erase")
            assert erasure.awaits == "work"
            assert client.post(f"{page}/copy").status_code == 409  # the link was used


def test_a_copy_joins_the_request_for_one_that_awaits_its_person(market: Path) -> None:
    with inside(market) as shop:
        email = applicant(shop, 3)
        shop.ask("access", email)
        shop.work()
        first = link(shop.box.to(email, "to see what we hold"), "verify")
        shop.ask("erase", email)
        shop.work()
        page = link(shop.box.to(email, "to have your data erased"), "verify")
        with shop.client() as client:
            assert client.post(f"{page}/copy").status_code == 303
            [copy] = requests(shop.company, "access")
            assert copy.awaits == "work" and copy.identified is not None
            assert client.post(first).status_code == 409


def test_no_copy_is_offered_for_other_rights_or_by_other_policies(market: Path) -> None:
    with inside(market) as shop, shop.client() as client:
        email = applicant(shop, 2)
        shop.ask("access", email)
        shop.work()
        asked = shop.box.to(email, "was you")
        page = link(asked, "verify")
        assert "copy" not in text(asked) and "a copy first" not in client.get(page).text
        assert client.post(f"{page}/copy").status_code == 404
        assert len(requests(shop.company, "access")) == 1


def test_the_application_offers_the_copy_itself_or_a_letter_does(market: Path) -> None:
    with inside(market) as shop, shop.client(api=True) as client:
        email = applicant(shop, 2)
        new = {"verb": "erase", "who": "applicant:2", "proven": True}
        told = client.post("/api/requests", json=new).json()
        assert (told["awaits"], told["channel"]) == ("identity", "api")
        shop.work()
        assert "you can have a copy" in text(shop.box.to(email, "was you"))
        told = client.post("/api/requests", json=new | {"copy_offered": True}).json()
        assert told["awaits"] == "work"
        # Another takes the copy first, in the application.
        third = {"who": "applicant:3", "proven": True}
        assert client.post("/api/requests", json=third | {"verb": "access"}).status_code == 201
        early = client.post("/api/requests", json=third | {"verb": "erase", "copy_offered": True})
        assert early.status_code == 409 and "not made yet" in early.json()["error"]
        shop.work()
        later = client.post("/api/requests", json=third | {"verb": "erase", "copy_offered": True})
        assert later.status_code == 201 and later.json()["channel"] == "account"
        proof = offered(shop.company)
        assert (proof.verdict, proof.measured["carried_out"]) == ("kept", 2), proof


def test_an_application_that_says_nothing_of_a_copy_is_refused_where_nobody_can_be_written_to(
    market: Path,
) -> None:
    with inside(market, KEPT_SMTP_URL="") as shop, shop.client(api=True) as client:
        new = {"verb": "erase", "who": "applicant:2", "proven": True}
        refused = client.post("/api/requests", json=new)
        assert refused.status_code == 409 and "copy_offered" in refused.json()["help"]
        assert client.post("/api/requests", json=new | {"copy_offered": True}).status_code == 201
        assert client.post("/api/requests", json=new | {"verb": "access"}).status_code == 201


def test_an_erasure_that_began_without_an_offer_is_seen(market: Path) -> None:
    with at(market) as company:
        proof = offered(company)
        assert proof.verdict == "unproven" and "KEPT_PUBLIC_URL" in proof.says
        desk = Desk(company, kinds(company))
        people = [Person("applicant", (number,)) for number in ("2", "3")]
        desk.receive("erase", Subject(people[0]), "Ada", channel="desk")
        at_desk = offered(company)
        assert at_desk.verdict == "unproven" and "1 of 1 requests were entered" in at_desk.says
        desk.receive("erase", Subject(people[1]), "a program", channel="account")
        missed = offered(company)
        assert missed.verdict == "broken" and missed.measured["without_offer"] == 1
        with company.state.write() as connection:
            for person in people:
                copies.offered(company, connection, person, "erase", "Ada")
        assert offered(company).verdict == "kept"


def test_staff_who_offered_the_copy_themselves_say_so_when_they_enter_it(market: Path) -> None:
    with at(market) as company:
        desk = Desk(company, kinds(company))
        two = [Subject(Person("applicant", (number,))) for number in ("2", "3")]
        desk.carry_out("erase", two[:1], "Ada", confirmed=True)
        assert offered(company).verdict == "unproven"
        desk.carry_out("erase", two, "Ada", confirmed=True, copy_offered=True)  # one joins, one is new
        assert [event.what for event in register.history(company, register.listing(company)[0].id)].count(
            "offered-copy"
        ) == 1
        assert offered(company).measured["without_offer"] == 0


# ── by ──


@pytest.fixture
def automations(tmp_path: Path) -> Path:
    lumnar.build(tmp_path / "company", 20, 3)
    return tmp_path / "company"


def test_everybody_to_whom_it_is_promised_may_ask_and_whoever_a_law_protects(automations: Path) -> None:
    with at(automations) as company:
        people, ends = besides.by(company, right(company, "erase"))
    assert people.verdict == "kept" and dict(people.measured) == {
        "may_ask": 2,
        "refused": 0,
        "by_law": 1,  # a visitor: the GDPR gives it to everybody
        "turned_away": 0,
    }
    assert ends.verdict == "unproven" and "`conversation.customer`" in ends.says


def test_whoever_is_not_named_is_refused_where_no_law_gives_it(automations: Path) -> None:
    says(automations, "laws: [gdpr, uk-gdpr, ccpa]", "laws: [ccpa]")
    says(
        automations,
        "restrict: {through: email, regions: [eea, uk], clause: LU-16}",
        "human-decision: {through: email, by: customer, clause: LU-16}",
    )
    with at(automations) as company:
        [proof] = besides.by(company, right(company, "human-decision"))
        assert proof.verdict == "kept" and (proof.measured["may_ask"], proof.measured["refused"]) == (1, 2)
        desk = Desk(company, kinds(company))
        with pytest.raises(KeptError, match="to `customer`, and to no `chatter`"):
            desk.receive("human-decision", Subject(Person("chatter", ("2",))), "Ada", channel="desk")
        assert requests(company, "human-decision") == []
        assert desk.receive(
            "human-decision", Subject(Person("customer", ("2",))), "Ada", channel="desk"
        ).is_open


def test_somebody_promised_the_right_who_would_be_turned_away_is_seen(
    automations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(policy: object, verb: str, kind: str) -> str | None:
        return "nobody may" if kind == "chatter" else None

    monkeypatch.setattr(life, "barred", nobody)
    with at(automations) as company:
        people, _ = besides.by(company, right(company, "erase"))
    assert people.verdict == "broken" and "chatter" in people.says


def test_a_complaint_is_answered_by_the_officer_whom_the_policy_names(commerce: Path) -> None:
    with at(commerce) as company:
        desk, promise = Desk(company, kinds(company)), right(company, "complain")
        assert verdicts(besides.by(company, promise)) == ["kept"]
        asked = [
            desk.receive("complain", Subject(Person("customer", (n,)), words="No."), "Ada", channel="desk")
            for n in ("2", "3")
        ]
        desk.answer(asked[0], "We do now.", "officer on duty ")
        [proof] = besides.by(company, promise)
        assert (proof.verdict, proof.measured["answered"]) == ("kept", 1)
        desk.answer(asked[1], "We do now.", "Somebody Else")
        [proof] = besides.by(company, promise)
        assert proof.verdict == "unproven" and "1 of 2" in proof.says


# ── case ──


@pytest.fixture
def contacts(tmp_path: Path) -> Path:
    lumensol.build(tmp_path / "company", 20, 3)
    return tmp_path / "company"


def complain(company: Company, contact: int, *, closed: str | None = None) -> None:
    """A complaint in the company's own table, opened a day ago by its clock."""
    opened = company.clock().replace(tzinfo=None).isoformat(" ", "seconds")
    with company.stores["crm"].write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO complaints (contact_id, staff_id, opened_at, closed_at) VALUES (?, 1, ?, ?)",
            (contact, opened, closed),
        )


def nobody_complains(company: Company) -> None:
    with company.stores["crm"].write() as connection:
        connection.exec_driver_sql("DELETE FROM complaints")


def during(company: Company) -> Proof:
    [proof] = besides.case(company, right(company, "restrict"))
    return proof


def test_a_restriction_is_given_while_a_complaint_is_open(contacts: Path) -> None:
    clock = Clock()
    with at(contacts, clock) as company:
        nobody_complains(company)
        complain(company, 2)
        complain(company, 3, closed="2026-01-01 00:00:00")
        assert [case.person for case in cases.open_cases(company, ["complaint"])] == [
            Person("contact", ("2",))
        ]
        clock.on(hours=1)
        desk = Desk(company, kinds(company))
        asked = [
            desk.receive("restrict", Subject(Person("contact", (n,))), "a letter", channel="form")
            for n in ("2", "3")
        ]
        with pytest.raises(KeptError, match="while a case is open"):
            desk.refuse(asked[0], "no-ground-for-restriction", "Ada")
        assert register.get(company, asked[0].id).is_open
        assert desk.refuse(asked[1], "no-ground-for-restriction", "Ada").state == "refused"
        assert during(company).verdict == "kept"
        # Who asks is still to be proven, complaint or not.
        assert desk.refuse(asked[0], "identity-in-doubt", "Ada").state == "refused"
        proof = during(company)
        assert proof.verdict == "kept" and (proof.measured["open"], proof.measured["refused"]) == (1, 0)


def test_a_complaint_whose_end_is_an_empty_text_is_open(contacts: Path) -> None:
    with at(contacts) as company:
        nobody_complains(company)
        complain(company, 2, closed="")
        complain(company, 3, closed="2026-01-01 00:00:00")
        [case] = cases.open_cases(company, ["complaint"])
        assert case.person == Person("contact", ("2",))


def test_open_cases_are_found_in_postgresql_too(tmp_path: Path, fresh_postgresql: str) -> None:
    lumensol.build(tmp_path / "company", 20, 3, url=fresh_postgresql)
    clock = Clock()
    with at(tmp_path / "company", clock) as company:
        store = company.stores["crm"]
        with store.write() as connection:
            connection.exec_driver_sql("DELETE FROM complaints")
            connection.exec_driver_sql(
                "INSERT INTO complaints VALUES (1, 2, 1, '2026-01-02 03:04:05', NULL), "
                "(2, 3, 1, '2026-01-02 03:04:05', '2026-01-03 00:00:00')"
            )
        [case] = cases.open_cases(company, ["complaint"])
        assert case.person == Person("contact", ("2",))
        assert case.began is not None and case.began.isoformat() == "2026-01-02T03:04:05+00:00"
        assert during(company).verdict == "kept"


def test_a_refusal_during_a_complaint_is_seen_and_one_before_it_counts_for_nothing(contacts: Path) -> None:
    clock = Clock()
    with at(contacts, clock) as company:
        nobody_complains(company)
        desk, person = Desk(company, kinds(company)), Person("contact", ("2",))
        early = desk.receive("restrict", Subject(person), "a letter", channel="form")
        desk.refuse(early, "no-ground-for-restriction", "Ada")
        clock.on(hours=1)
        complain(company, 2)
        assert during(company).verdict == "kept"
        clock.on(hours=1)
        late = desk.receive("restrict", Subject(person), "a letter", channel="form")
        with company.state.write() as connection:  # as one would that knew nothing of the promise
            register.close(company, connection, {late.id: {"reason": "no-ground-for-restriction"}}, "refused")
        proof = during(company)
        assert proof.verdict == "broken" and proof.measured["refused"] == 1


def test_a_restriction_lifted_during_a_complaint_is_seen(contacts: Path) -> None:
    clock = Clock()
    with at(contacts, clock) as company:
        nobody_complains(company)
        complain(company, 2)
        clock.on(hours=1)
        with workflows.opened(company.workflows, kinds(company)) as running:
            result = Desk.at_work(company, running).carry_out(
                "restrict", [Subject(Person("contact", ("2",)))], "Ada"
            )
        assert result.problem is None and during(company).verdict == "kept"
        [request] = requests(company, "restrict")
        assert instruct.lift(company, request.id, "Ada") == 1
        proof = during(company)
        assert proof.verdict == "unproven" and proof.measured["lifted"] == 1


def test_nothing_is_refused_or_proven_while_nobody_can_see_who_complains(contacts: Path) -> None:
    with at(contacts) as company:
        asked = Desk(company, kinds(company)).receive(
            "restrict", Subject(Person("contact", ("2",))), "a letter", channel="form"
        )
    (contacts / "crm.sqlite").rename(contacts / "away")
    with at(contacts) as company:
        proof = during(company)
        assert proof.verdict == "unproven" and "can't be seen" in proof.says
        with pytest.raises(TransientError):
            Desk(company, kinds(company)).refuse(asked, "no-ground-for-restriction", "Ada")


def test_a_case_that_never_closes_proves_nothing(contacts: Path) -> None:
    end = ", began: opened_at, ended: closed_at}"
    row = "  complaint: {in: crm.complaints, between: {contact: contact at contact_id, handler: staff at staff_id}"
    says(contacts, row + end, row + end.replace(", ended: closed_at", ""))
    with at(contacts) as company:
        proof = during(company)
    assert proof.verdict == "unproven" and "no `ended`" in proof.says


# ── always ──


@pytest.mark.parametrize("name", ["market", "contacts", "automations"])
def test_an_objection_to_what_always_stops_is_carried_out_and_never_weighed(
    name: str, request: pytest.FixtureRequest
) -> None:
    with at(request.getfixturevalue(name)) as company:
        promise = right(company, "object")
        [proof] = besides.always(company, promise)
        assert (proof.verdict, proof.kind) == ("kept", "probe"), proof
        kind = next(k for k in besides.own_kinds(company) if k in ("member", "contact", "customer"))
        desk, always = Desk(company, kinds(company)), str(promise.always[0])
        everything = desk.receive("object", Subject(Person(kind, ("2",))), "x", channel="form")
        this = desk.receive("object", Subject(Person(kind, ("3",)), scope=(always,)), "x", channel="form")
        for asked in (everything, this):
            with pytest.raises(KeptError, match="never weighed"):
                desk.refuse(asked, "compelling-grounds", "Ada")
            assert register.get(company, asked.id).is_open
        assert desk.refuse(this, "manifestly-unfounded", "Ada").state == "refused"


def test_an_objection_to_other_uses_alone_can_be_weighed(market: Path) -> None:
    with at(market) as company:
        asked = Desk(company, kinds(company)).receive(
            "object", Subject(Person("member", ("2",)), scope=("quality",)), "x", channel="form"
        )
        assert Desk(company, kinds(company)).refuse(asked, "compelling-grounds", "Ada").state == "refused"


def test_what_always_stops_is_broken_where_somebody_has_to_approve_it(market: Path) -> None:
    with at(market) as company:
        before = besides.always(company, right(company, "object"))
    assert verdicts(before) == ["kept"]
    says(market, "object:   {always:", "object:   {approved-by: trust, always:")
    _, _, problems = examine(market / "policy.yaml", today=date(2026, 11, 22))
    assert any("somebody has to approve it" in problem.message for problem in problems.errors)
    with at(market) as company:
        [after] = besides.always(company, right(company, "object"))
    assert after.verdict == "broken" and "promotions (member)" in after.says


# ── The board ──


@pytest.mark.parametrize("name", ["market", "contacts", "automations", "commerce"])
def test_of_no_word_of_the_examples_the_board_says_that_it_is_not_seen_to(
    name: str, request: pytest.FixtureRequest
) -> None:
    with at(request.getfixturevalue(name)) as company:
        for promise in company.policy.section("rights").values():
            assert isinstance(promise, Right)
            proofs = prove(company, promise)
            assert all(
                "does not see to" not in proof.says or "no-retaliation" in proof.says for proof in proofs
            )
            looked = [word for word in besides.SEEN if getattr(promise, word)]
            assert len(proofs) >= len(looked) + len(ways.prove(company, promise))
            assert all(proof.verdict != "broken" for proof in proofs)
