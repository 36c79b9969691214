"""Corrections in every store, and what goes wrong between several of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.asking import Joining, by_hand, erased, finished, held, shown, zipped
from tests.acceptance.asking import built as built  # fixtures
from tests.acceptance.asking import joined as joined
from tests.acceptance.company import SiteLucent
from tests.acceptance.connected import Connected
from tests.contract.test_records import stripe_address as stripe_address

# ── Correcting ──


@pytest.mark.parametrize(
    ("name", "who", "column", "value"),
    [
        ("sitelucent", "user:2", "app.users.first_name", "Ilse"),
        ("sitelucent", "user:2", "app.users.email", "ilse@other.example"),
        ("lucent-commerce", "customer:2", "app.customers.phone", "+32 2 555 00 00"),
        ("lucent-marketplace", "member:2", "shop.members.phone", "+32 2 555 00 00"),
        ("lumensol", "contact:2", "crm.contacts.bill_to", "Other Street 1"),
        ("lumnar", "customer:2", "app.customers.name", "Ilse Other"),
        ("lumnar", "chatter:2", "app.chatters.email", "ilse@other.example"),  # a fact that no data names
    ],
)
def test_a_correction_changes_one_cell_and_everybody_who_got_it_is_told(
    name: str, who: str, column: str, value: str, joined: Joining
) -> None:
    company = joined(name)
    store, table, field = column.split(".")
    before = company.everything()
    ran = company.run("request", "correct", who, "--set", f"{column}={value}", "--dry-run")
    assert ran.code == 0 and f"{store}.{table}: 1 corrected" in ran.out, ran.out + ran.err
    assert company.everything() == before
    ended = finished(company, "correct", who, "--set", f"{column}={value}")
    assert all(one["state"] in ("done", "sent") for one in ended["told"])
    after = company.everything()
    rows = before.tables[f"{store}.{table}"]
    key = next(k for k in rows if str(k[0]) == who.partition(":")[2])
    assert after.tables[f"{store}.{table}"] == {**rows, key: {**rows[key], field: value}}
    assert {k: v for k, v in after.tables.items() if k != f"{store}.{table}"} == {
        k: v for k, v in before.tables.items() if k != f"{store}.{table}"
    }
    assert (after.files, after.hubspot, after.stripe) == (before.files, before.hubspot, before.stripe)


def test_a_lead_is_corrected_in_hubspot(joined: Joining) -> None:
    company = joined("sitelucent")
    before = company.everything()
    finished(company, "correct", "lead:1", "--set", "crm.contacts.phone=+32 2 555 00 00")
    after = company.everything()
    properties, tied = before.hubspot["contacts 1"]
    assert after.hubspot == {
        **before.hubspot,
        "contacts 1": ({**properties, "phone": "+32 2 555 00 00"}, tied),
    }
    assert (after.tables, after.files) == (before.tables, before.files)


def test_a_corrected_address_is_corrected_where_people_are_found_by_it(joined: Joining) -> None:
    company = joined("lumnar")
    [(address,)] = company.sql("SELECT email FROM customers WHERE id = 2")
    customers = company.customers(address)
    finished(company, "correct", "customer:2", "--set", "app.customers.email=ilse@other.example")
    assert company.customers(address) == [] and company.customers("ilse@other.example") == customers != []
    erased(company, "customer:2")
    assert company.customers("ilse@other.example") == []


def test_an_address_that_two_people_share_is_corrected_for_one_and_stays_the_others(joined: Joining) -> None:
    company = joined("lumnar")
    [(address,)] = company.sql("SELECT email FROM customers WHERE id = 2")
    company.change("UPDATE customers SET email = ? WHERE id = 3", address.upper())
    before = company.everything().stripe
    finished(company, "correct", "customer:3", "--set", "app.customers.email=ilse@other.example")
    assert company.sql("SELECT email FROM customers WHERE id IN (2, 3) ORDER BY id") == [
        (address,),
        ("ilse@other.example",),
    ]
    assert company.everything().stripe == before


def test_what_the_policy_leaves_out_of_corrections_is_refused(joined: Joining) -> None:
    company = joined("lucent-marketplace")
    before = company.everything()
    ran = company.run("request", "correct", "member:2", "--set", "shop.members.name=Ilse Other")
    assert ran.code in (1, 2) and "own-name" in ran.err
    assert company.everything() == before


def test_what_the_policy_leaves_out_is_left_out_in_hubspot_too(joined: Joining) -> None:
    company = joined("sitelucent")
    file = company.folder / "policy.yaml"
    text = file.read_text("utf-8")
    file.write_text(text.replace("rights:\n", "rights:\n  correct: {except: enquiry}\n"), "utf-8")
    before = company.everything()
    ran = company.run("request", "correct", "lead:1", "--set", "crm.contacts.phone=+32 2 555 00 00")
    assert ran.code == 2 and "enquiry" in ran.err, ran.err
    assert company.everything() == before


# ── What goes wrong ──


def test_two_people_who_share_an_address_are_not_taken_for_each_other_in_stripe(joined: Joining) -> None:
    company = joined("lumnar")
    [(address,)] = company.sql("SELECT email FROM customers WHERE id = 2")
    company.change("UPDATE customers SET email = ? WHERE id = 3", address.upper())
    before = company.everything()
    for verb in ("access", "erase"):
        ran = company.run("request", verb, "customer:2", "--format", "json")
        assert ran.code == 1, ran.out
        assert "share their address" in ran.json()["problem"] and address not in ran.out
    assert company.everything() == before
    company.change("UPDATE customers SET email = 'other@mail.example' WHERE id = 3")
    assert company.run("work").code == 0
    by_hand(company)
    assert company.run("request", "list").out == "No request is open.\n"
    assert company.customers(address) == []


def test_somebody_whose_record_can_not_be_told_holds_up_nobody_else_of_the_batch(joined: Joining) -> None:
    company = joined("lumnar")
    [(address,)] = company.sql("SELECT email FROM customers WHERE id = 4")
    company.change("UPDATE customers SET email = ? WHERE id = 5", address.upper())
    people = company.folder / "people.txt"
    people.write_text("".join(f"customer:{number}\n" for number in range(1, 7)))
    ran = company.run("request", "erase", f"@{people}", "--format", "json")
    assert ran.code == 1 and "share their address" in ran.json()["problem"], ran.out
    by_hand(company)
    left = company.run("request", "list", "--format", "json").json()
    assert len(left) == 2, left
    assert company.sql("SELECT count(*) FROM customers WHERE id IN (4, 5) AND lower(email) = ?", address) == [
        (2,)
    ]
    assert company.sql("SELECT count(*) FROM customers WHERE id IN (1, 2, 3, 6) AND name IS NOT NULL") == [
        (0,)
    ]
    company.change("UPDATE customers SET email = 'other@mail.example' WHERE id = 5")
    assert company.run("work").code == 0
    by_hand(company)
    assert company.run("request", "list").out == "No request is open.\n"


def test_every_customer_of_stripes_with_a_persons_address_is_theirs(joined: Joining) -> None:
    company = joined("lumnar")
    assert company.stripe is not None
    [(address,)] = company.sql("SELECT email FROM customers WHERE id = 2")
    company.stripe.hang(company.stripe.person(address), "a second account")
    charges = company.everything().stripe
    customers = company.customers(address)
    assert len(customers) == 2
    files = zipped(company, finished(company, "access", "customer:2")["id"])
    told = {row["id"] for row in held(files, "payment", "stripe.charges")}
    assert told == {id for id, one in charges.items() if one.get("customer") in customers}
    [kept] = erased(company, "customer:2")["outcome"]["stays"]["stripe"]
    assert company.customers(address) == [] and kept["rows"] == len(told)


def test_an_erasure_waits_for_hubspot_and_goes_on_where_it_stopped(joined: Joining) -> None:
    company = joined("sitelucent")
    assert company.hubspot is not None
    company.hubspot.scopes.discard("crm.objects.contacts.write")
    before = company.hubspot.record("contacts", "1")
    assert before is not None
    ran = company.run("request", "erase", "lead:1", "--by", "Ines", "--format", "json")
    assert ran.code == 1 and "crm.objects.contacts.write" in ran.json()["problem"]
    assert company.hubspot.record("contacts", "1") is before
    company.hubspot.scopes.add("crm.objects.contacts.write")
    assert company.run("work").code == 0
    assert company.run("request", "list").out == "No request is open.\n"
    found = company.hubspot.record("contacts", "1")
    assert found is None or found.archived


def test_whoever_hubspot_does_not_know_is_nobody(joined: Joining) -> None:
    company = joined("sitelucent")
    before = company.everything()
    for who in ("lead:999999", "nobody@mail.example"):
        ran = company.run("request", "erase", who, "--by", "Ines")
        assert ran.code == 2, ran.out
    assert company.everything() == before


def test_a_company_without_its_setting_receives_and_says_what_is_missing(
    built: dict[str, SiteLucent], tmp_path: Path
) -> None:
    company = Connected(built["lumnar"].copied(tmp_path / "lumnar").folder)
    before = company.everything()
    ran = company.run("request", "access", "customer:2", "--format", "json")
    assert ran.code == 1 and "STRIPE_KEY is missing" in ran.json()["problem"]
    assert company.run("request", "erase", "customer:2", "--dry-run").code == 1
    assert company.everything() == before


def test_what_hubspot_keeps_is_told_even_where_its_answer_was_lost_on_the_way(joined: Joining) -> None:
    company = joined("sitelucent")
    assert company.hubspot is not None
    company.hubspot.scopes.discard("crm.objects.deals.write")
    ran = company.run("request", "erase", "lead:1", "--by", "Ines", "--format", "json")
    assert ran.code == 1, ran.out
    company.hubspot.scopes.add("crm.objects.deals.write")
    assert company.run("work").code == 0
    [request] = ran.json()["requests"]
    kept = {one["table"]: one for one in shown(company, request)["outcome"]["stays"]["crm"]}
    assert set(kept) == {"contacts", "deals"} and kept["contacts"]["until"] is not None


def test_files_whose_paths_stand_in_hubspot_are_said_to_be_out_of_reach(joined: Joining) -> None:
    company = joined("sitelucent")
    file = company.folder / "policy.yaml"
    text = file.read_text("utf-8").replace(
        "  crm:     {", "  scans:   {at: scans, kind: files, region: eea}\n  crm:     {"
    )
    file.write_text(text.replace("phone: phone, createdate", "phone: file in scans, createdate"), "utf-8")
    for verb in ("access", "erase"):
        ran = company.run("request", verb, "lead:1", "--by", "Ines", "--format", "json")
        assert ran.code == 1, ran.out
        assert "files in scans (their paths stand in crm.contacts" in ran.json()["problem"]
    assert company.hubspot is not None and company.hubspot.record("contacts", "1") is not None


# ── Planning ──


def test_a_dry_run_counts_what_stands_behind_an_api_and_says_why_something_stays(joined: Joining) -> None:
    company = joined("lumnar")
    before = company.everything()
    charges = company.run("request", "access", "customer:2", "--dry-run", "--format", "json").json()["plan"]
    planned = company.run("request", "erase", "customer:2", "--dry-run", "--format", "json").json()
    assert (
        planned["plan"]["stripe.charges"] == charges["stripe.charges"]
        and charges["stripe.charges"]["rows"] > 0
    )
    assert planned["plan"]["app.invoices"]["held"] > 0 and planned["unasked"] == []
    assert any("because the law requires it (accounting act)" in sentence for sentence in planned["stays"])
    assert company.everything() == before
