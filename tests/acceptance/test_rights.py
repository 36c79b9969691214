"""Every right on every example company, with all its stores really there, through the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from kept.controls.rights import instruct
from kept.controls.rights.people import person_of
from tests.acceptance.asking import (
    LEAVING,
    Joining,
    asked,
    by_hand,
    erased,
    finished,
    held,
    named,
    shown,
    zipped,
)
from tests.acceptance.asking import built as built  # fixtures
from tests.acceptance.asking import joined as joined
from tests.acceptance.connected import Everything, others_changed
from tests.contract.test_records import stripe_address as stripe_address  # a fixture

# Everybody who can ask, by company: a WHO, and the table of their own row, where it stands in a database of ours.
EVERYBODY = [
    ("sitelucent", "user:2", "app.users"),
    ("sitelucent", "lead:1", None),  # at home in HubSpot
    ("sitelucent", "visitor:GA1.2.3", None),  # known to another company's statistics alone
    ("lucent-commerce", "customer:2", "app.customers"),
    ("lucent-commerce", "visitor", "app.visits"),
    ("lucent-marketplace", "member:2", "shop.members"),
    ("lucent-marketplace", "member:6", "shop.members"),  # a minor
    ("lucent-marketplace", "applicant:2", "shop.applicants"),
    ("lucent-marketplace", "supplier:2", "shop.suppliers"),
    ("lucent-marketplace", "subscriber:1", "shop.subscribers"),
    ("lucent-marketplace", "visitor", "shop.visits"),
    ("lumensol", "contact:2", "crm.contacts"),
    ("lumensol", "visitor", "crm.visits"),
    ("lumnar", "customer:2", "app.customers"),
    ("lumnar", "chatter:2", "app.chatters"),
    ("lumnar", "visitor", "app.sessions"),
]
# Neither by the policy nor by a law of where they are (the USA).
NOT_OFFERED = {("member:6", "human-decision"), ("member:6", "complain")}


# ── What changes nothing ──


@pytest.mark.parametrize(("name", "who", "table"), EVERYBODY)
def test_what_only_tells_or_instructs_is_done_and_changes_nobodys_data(
    name: str, who: str, table: str | None, joined: Joining
) -> None:
    company = joined(name)
    who = named(company, who, table)
    before = company.everything()
    for verb in ("access", "export"):
        assert "index.html" in zipped(company, finished(company, verb, who)["id"])
    instructions = ("restrict", "object", "withdraw", "human-decision")
    for verb in instructions:
        if (who, verb) not in NOT_OFFERED:
            finished(company, verb, who)
    if (who, "complain") not in NOT_OFFERED:
        [complaint] = asked(company, "complain", who, "--words", "Nobody answers.")["requests"]
        assert shown(company, complaint)["awaits"] == "answer"
        assert company.run("request", "answer", complaint, "--words", "We do now.", "--by", "Ines").code == 0
    for who_, verb in NOT_OFFERED:
        if who_ == who:
            ran = company.run("request", verb, who, *(("--words", "No.") if verb == "complain" else ()))
            assert ran.code == 2 and "offers" in ran.err
    assert company.run("request", "list").out == "No request is open.\n"
    with company.at(timedelta(0)) as desk:
        person = person_of(desk.company.policy, who)
        said = {verb for verb, _ in instruct.in_force(desk.company, [person]).get(person, ())}
    assert {"restrict"} <= said <= set(instructions)
    assert company.everything() == before


@pytest.mark.parametrize("who", ["tenant:2"])
@pytest.mark.parametrize("verb", ["access", "export", "erase", "restrict"])
def test_what_a_tenant_asks_is_passed_on_and_nothing_is_done(who: str, verb: str, joined: Joining) -> None:
    company = joined("lumensol")
    before = company.everything()
    told = asked(company, verb, who)
    assert (told["state"], told["awaits"]) == ("open", ["client"])
    assert not (company.folder / "answers").exists() and company.everything() == before


# ── What an answer holds ──


def test_a_lead_is_told_what_stands_in_hubspot(joined: Joining) -> None:
    company = joined("sitelucent")
    assert company.hubspot is not None
    lead = company.hubspot.objects["contacts"]["1"].properties
    files = zipped(company, finished(company, "access", "lead:1")["id"])
    [row] = held(files, "enquiry", "crm.contacts")
    assert (row["email"], row["phone"]) == (lead["email"], lead["phone"])
    assert row["name"] == f"{lead['firstname']} {lead['lastname']}"
    others = company.hubspot.objects["contacts"]["2"].properties["email"].encode()
    assert not any(others in content for content in files.values())


def test_a_lead_can_be_named_by_the_address_hubspot_has(joined: Joining) -> None:
    company = joined("sitelucent")
    assert company.hubspot is not None
    address = company.hubspot.objects["contacts"]["1"].properties["email"]
    files = zipped(company, finished(company, "access", address)["id"])
    assert held(files, "enquiry", "crm.contacts")[0]["email"] == address


def test_a_customer_is_told_their_charges_and_nobody_elses(joined: Joining) -> None:
    company = joined("lumnar")
    [(address,)] = company.sql("SELECT email FROM customers WHERE id = 2")
    [customer] = company.customers(address)
    charges = {id for id, one in company.everything().stripe.items() if one.get("customer") == customer}
    files = zipped(company, finished(company, "access", "customer:2")["id"])
    assert {row["id"] for row in held(files, "payment", "stripe.charges")} == charges != set()


def test_a_members_answer_has_their_card_and_their_files(joined: Joining) -> None:
    company = joined("lucent-marketplace")
    [(member,)] = company.sql("SELECT min(member_id) FROM payouts")
    paths = [
        p
        for row in company.sql(f"SELECT portrait, proof FROM payouts WHERE member_id = {member}")
        for p in row
    ]
    files = zipped(company, finished(company, "access", f"member:{member}")["id"])
    [(address,)] = company.sql(f"SELECT email FROM members WHERE id = {member}")
    [customer] = company.customers(address)
    cards = company.everything().stripe[customer]["cards"]
    assert [row["id"] for row in held(files, "billing", "payments.payment_methods")] == cards
    for path in paths:
        assert files[f"files/uploads/{path}"] == (company.folder / "uploads" / path).read_bytes()
    others = {
        p
        for row in company.sql(f"SELECT portrait, proof FROM payouts WHERE member_id <> {member}")
        for p in row
    }
    assert others and not {f"files/uploads/{path}" for path in others} & set(files)


def test_both_ends_of_a_chat_get_its_attachments_and_a_lost_one_is_said(joined: Joining) -> None:
    company = joined("lumnar")
    [(customer, chatter, path)] = company.sql(
        "SELECT customer_id, chatter_id, attachment FROM messages JOIN conversations ON conversations.id ="
        " conversation_id WHERE attachment IS NOT NULL ORDER BY messages.id LIMIT 1"
    )
    content = (company.folder / "uploads" / path).read_bytes()
    for who in (f"customer:{customer}", f"chatter:{chatter}"):
        files = zipped(company, finished(company, "access", who)["id"])
        assert files[f"files/uploads/{path}"] == content
        told = {one["path"]: one for one in json.loads(files["data.json"])["files"]}
        assert told[path]["file"] == f"files/uploads/{path}" and told[path]["bytes"] == len(content)
    (company.folder / "uploads" / path).unlink()
    files = zipped(company, finished(company, "access", f"chatter:{chatter}")["id"])
    told = {one["path"]: one for one in json.loads(files["data.json"])["files"]}
    assert told[path] == {"store": "uploads", "path": path, "missing": "it isn't there any more"}
    assert path.encode() in files["index.html"] and f"files/uploads/{path}" not in files


def test_a_contacts_recorded_calls_come_along(joined: Joining) -> None:
    company = joined("lumensol")
    paths = company.sql("SELECT contact_id, audio FROM calls WHERE audio IS NOT NULL ORDER BY id")
    contact = paths[0][0]
    asked(company, "access", f"contact:{contact}")
    assert [text.split(": ", 1)[1] for text in by_hand(company)] == [
        f"send them what stands in meetings: notes: contact:{contact}"
    ]
    [answer] = (company.folder / "answers").glob("*.zip")
    files = zipped(company, answer.stem)
    assert {name for name in files if name.startswith("files/")} == {
        f"files/calls/{path}" for one, path in paths if one == contact
    }


# ── Erasing ──


@pytest.mark.parametrize(("name", "who", "table"), EVERYBODY)
def test_an_erased_person_is_gone_from_every_store_and_nobody_else_is_touched(
    name: str, who: str, table: str | None, joined: Joining
) -> None:
    company = joined(name)
    who = named(company, who, table)
    before = company.everything()
    address = address_of(before, who, table)
    erased(company, who)
    after = company.everything()

    if table is None:
        assert after.tables == before.tables
    else:
        store, _, own = table.partition(".")
        key = key_of(before, who, table)
        assert others_changed(before, after, company.databases()[store], own, key) == []
        row = after.tables[table].get(key, {})
        assert not any(row.get(column) for column in ("name", "first_name", "email", "phone", "ip", "cv"))
    # Files go where no row names them any more, and no others.
    paths = {value for rows in after.tables.values() for row in rows.values() for value in row.values()}
    assert after.files == {p: c for p, c in before.files.items() if p.partition("/")[2] in paths}

    theirs = {"contacts 1", "deals 1"} if who == "lead:1" else set()
    assert after.hubspot == {one: held for one, held in before.hubspot.items() if one not in theirs}
    accounts = {one for one, held in before.stripe.items() if address and is_account(held, address)}
    kept = {one: held for one, held in before.stripe.items() if one not in accounts}
    assert {one: after.stripe.get(one) for one in kept} == kept and not accounts & set(after.stripe)

    if address is not None and not shared(before, address):
        # What Stripe and HubSpot would hold as built stands in these two files, which nothing reads any more.
        assert set(company.files_with(address)) <= {"stripe.json", "crm.json"}


def key_of(before: Everything, who: str, table: str) -> tuple[object, ...]:
    return next(key for key in before.tables[table] if str(key[0]) == who.partition(":")[2])


def address_of(before: Everything, who: str, table: str | None) -> str | None:
    """By which e-mail address somebody is known, if by any."""
    if who == "lead:1":
        return str(before.hubspot["contacts 1"][0]["email"])
    return before.tables[table][key_of(before, who, table)].get("email") if table is not None else None


def is_account(held: dict[str, Any], address: str) -> bool:
    customer = held.get("customer")  # of a charge it is an id
    return isinstance(customer, dict) and bool(customer["email"] == address)


def shared(before: Everything, address: str) -> bool:
    rows = [row for rows in before.tables.values() for row in rows.values()]
    return bool(sum(row.get("email") == address for row in rows) > 1)


def test_what_stripe_keeps_by_law_is_told_with_its_reason(joined: Joining) -> None:
    company = joined("lumnar")
    [(address,)] = company.sql("SELECT email FROM customers WHERE id = 2")
    [customer] = company.customers(address)
    charges = sum(one.get("customer") == customer for one in company.everything().stripe.values())
    ended = erased(company, "customer:2")
    [kept] = ended["outcome"]["stays"]["stripe"]
    assert (kept["table"], kept["rows"]) == ("charges", charges) and "laws on payments" in kept["reason"]
    assert company.customers(address) == []
    ran = company.run("request", "show", ended["id"])
    assert "laws on payments" in ran.out and address not in ran.out


@pytest.mark.parametrize("who", ["member:2", "applicant:2"])
def test_who_comes_back_within_the_waiting_period_has_everything_again(who: str, joined: Joining) -> None:
    company = joined("lucent-marketplace")
    before = company.everything()
    told = asked(company, "erase", who)
    assert told["awaits"] == ["period"]
    hidden = company.everything()
    assert hidden.tables != before.tables
    assert (hidden.files, hidden.stripe) == (before.files, before.stripe)  # nothing is lost for good so far
    with company.at(timedelta(days=29)) as desk:
        assert desk.work().problem is None
    assert company.everything() == hidden
    assert company.run("request", "undo", told["requests"][0]).code == 0
    assert company.everything() == before
    with company.at(LEAVING) as desk:
        assert desk.work().problem is None
    assert company.everything() == before


def test_the_files_of_a_member_go_when_the_waiting_period_is_over(joined: Joining) -> None:
    company = joined("lucent-marketplace")
    [(member,)] = company.sql("SELECT min(member_id) FROM payouts")
    paths = [
        p
        for row in company.sql("SELECT portrait, proof FROM payouts WHERE member_id = ?", member)
        for p in row
    ]
    assert all((company.folder / "uploads" / path).exists() for path in paths)
    erased(company, f"member:{member}")
    assert not any((company.folder / "uploads" / path).exists() for path in paths)
