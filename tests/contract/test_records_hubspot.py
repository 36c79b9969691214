"""What is HubSpot's own: objects of two contacts, the recycling bin, scopes, limits, what search doesn't see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kept.errors import TerminalError, TransientError
from kept.stores.records.store import Erased, Kept, Later
from tests.contract.records.worlds import HubSpotWorld


@pytest.fixture
def world() -> Iterator[HubSpotWorld]:
    made = HubSpotWorld(page=7)
    with made.server:
        yield made
        made.store.dispose()


def test_a_deal_of_two_contacts_stays_and_is_untied_from_the_one_who_goes(world: HubSpotWorld) -> None:
    ada, bob = world.person("ada@example.org"), world.person("bob@example.org")
    shared, own = world.server.add("deals", dealname="both"), world.server.add("deals", dealname="hers")
    for contact in (ada, bob):
        world.server.tie("contacts", contact, "deals", shared)
    world.server.tie("contacts", ada, "deals", own)
    world.server.fail(500, "gdpr-delete", times=99)  # HubSpot may take 30 days over it: the tie must not
    with pytest.raises(TransientError):
        world.store.erase(ada, ["deals"])
    untied = world.server.record("deals", shared)
    assert untied is not None and untied.tied == {("contacts", bob)}
    world.server.faults.clear()
    world.server.tie("contacts", ada, "deals", shared)
    world.server.tie("contacts", ada, "deals", own := world.server.add("deals", dealname="hers too"))
    done = world.store.erase(ada, ["deals"])
    assert done.deleted == {"contacts": 1, "deals": 1}
    kept = [(one.table, one.rows, "other people" in one.reason) for one in done.kept]
    assert kept == [("deals", 1, False), ("deals", 1, True), ("contacts", 1, False)]
    left, gone = world.server.record("deals", shared), world.server.record("deals", own)
    assert left is not None and not left.archived and left.tied == {("contacts", bob)}
    assert gone is not None and gone.archived


def test_what_hubspot_keeps_after_an_erasure_is_told_with_its_end(world: HubSpotWorld) -> None:
    ada = world.person("ada@example.org")
    world.hang(ada, "hers")
    kept = {one.table: one for one in world.store.erase(ada, ["deals"]).kept}
    today = world.hours.at.date()
    assert kept["contacts"].until == today + timedelta(days=30)
    assert kept["deals"].until == today + timedelta(days=90)
    assert "90 days" in kept["deals"].reason and "30 days" in kept["contacts"].reason


def test_tables_not_named_are_left_alone(world: HubSpotWorld) -> None:
    ada = world.person("ada@example.org")
    deal = world.server.add("deals", dealname="a sale")
    world.server.tie("contacts", ada, "deals", deal)
    assert world.store.erase(ada).deleted == {"contacts": 1}
    record = world.server.record("deals", deal)
    assert record is not None and not record.archived and record.tied == set()


def test_a_contact_in_the_recycling_bin_is_erased_from_there_too(world: HubSpotWorld) -> None:
    ada = world.person("ada@example.org")
    contact = world.server.record("contacts", ada)
    assert contact is not None
    contact.archived = True
    assert world.store.existing([ada]) == set()
    assert world.store.erase(ada).deleted == {"contacts": 1}
    assert world.server.record("contacts", ada) is None


def test_an_erasure_that_broke_between_deals_and_contact_finds_the_rest(world: HubSpotWorld) -> None:
    ada = world.person("ada@example.org")
    for n in range(230):
        world.hang(ada, f"deal {n}")
    world.server.fail(500, "deals/batch/archive", times=99, skip=1)
    with pytest.raises(TransientError):
        world.store.erase(ada, ["deals"])
    world.server.faults.clear()
    assert world.store.erase(ada, ["deals"]).deleted == {"contacts": 1, "deals": 130}
    assert not [one for one in world.server.objects["deals"].values() if not one.archived]


def test_an_address_that_search_does_not_know_yet_is_found(world: HubSpotWorld) -> None:
    world.server.lagging = True
    ada = world.person("Ada@example.org")
    assert world.store.find("email", ["ada@example.org"]) == {"ada@example.org": (ada,)}


def test_a_second_address_of_a_contact_is_found(world: HubSpotWorld) -> None:
    ada = world.server.add(
        "contacts", email="ada@example.org", hs_additional_emails="a@example.org;Old@example.org"
    )
    assert world.store.find("email", ["old@example.org", "a@example.org", "d@example.org"]) == {
        "old@example.org": (ada,),
        "a@example.org": (ada,),
    }


def test_another_identifier_must_be_equal_to_the_letter(world: HubSpotWorld) -> None:
    ada = world.server.add("contacts", email="ada@example.org", phone="+49 30 AB")
    world.server.add("contacts", email="bob@example.org", phone="+49 30 ab")
    assert world.store.find("phone", ["+49 30 AB"]) == {"+49 30 AB": (ada,)}
    bob = world.server.add("contacts", work_email="Bob@Work.example")
    assert world.store.find("work_email", ["bob@work.EXAMPLE"]) == {"bob@work.EXAMPLE": (bob,)}
    assert world.store.find("id", [ada, "17", "x"]) == {ada: (ada,)}


def test_more_contacts_share_a_value_than_a_search_pages_through(world: HubSpotWorld) -> None:
    for n in range(10_050):
        world.server.add("contacts", email=f"p{n}@example.org", company="Acme")
    (found,) = world.store.find("company", ["Acme"]).values()
    assert len(set(found)) == 10_050


def test_a_thousand_contacts_cost_ten_calls_to_read(world: HubSpotWorld) -> None:
    people = [world.person(f"p{n}@example.org") for n in range(1000)]
    world.store.columns("contacts")
    world.server.calls.clear()
    assert world.store.existing(people) == set(people)
    assert len(list(world.store.collect(people, {"contacts": ("email",)}))) == 1000
    assert len(world.server.calls) == 20


def test_a_deal_of_two_of_the_people_comes_once_for_each(world: HubSpotWorld) -> None:
    ada, bob = world.person("ada@example.org"), world.person("bob@example.org")
    deal = world.server.add("deals", dealname="both")
    for contact in (ada, bob):
        world.server.tie("contacts", contact, "deals", deal)
    found = list(world.store.collect([ada, bob], {"deals": ("id", "contact_id", "dealname")}))
    assert sorted((who, row["contact_id"]) for who, _, row in found) == sorted([(ada, ada), (bob, bob)])
    assert {row["id"] for _, _, row in found} == {deal}


def test_columns_may_be_called_as_the_policy_file_calls_them(world: HubSpotWorld) -> None:
    ada = world.server.add(
        "contacts", email="a@example.org", firstname="Ada", lastname="Ōé", hubspot_owner_id="7"
    )
    ((_, _, row),) = world.store.collect(
        [ada], {"contacts": ("id", "name", "owner_id", "phone", "created_at")}
    )
    assert dict(row, created_at=None) == {
        "id": ada,
        "name": "Ada Ōé",
        "owner_id": "7",
        "phone": None,
        "created_at": None,
    }
    assert row["created_at"] is not None


def test_a_correction_changes_what_differs_and_only_once(world: HubSpotWorld) -> None:
    ada = world.person("ada@example.org")
    assert world.store.correct(ada, "contacts", None, {"lastname": "Byron", "firstname": "Ada"}) == 1
    assert world.store.correct(ada, "contacts", ada, {"lastname": "Byron", "firstname": "Ada"}) == 0
    contact = world.server.record("contacts", ada)
    assert contact is not None and contact.properties["lastname"] == "Byron"
    assert world.server.count("PATCH") == 1


def test_a_correction_refuses_what_is_not_the_persons_alone(world: HubSpotWorld) -> None:
    ada, bob = world.person("ada@example.org"), world.person("bob@example.org")
    shared, his = world.server.add("deals", dealname="both"), world.server.add("deals", dealname="his")
    for contact, deal in ((ada, shared), (bob, shared), (bob, his)):
        world.server.tie("contacts", contact, "deals", deal)
    for table, row, values, said in (
        ("deals", shared, {"dealname": "x"}, "belongs to others too"),
        ("deals", his, {"dealname": "x"}, "isn't the person's"),
        ("deals", "..", {"dealname": "x"}, "isn't there"),
        ("deals", None, {"dealname": "x"}, "isn't said"),
        ("contacts", bob, {"lastname": "x"}, "isn't the person's own"),
        ("contacts", ada, {"name": "x"}, "can't be written"),
        ("contacts", ada, {"created_at": "x"}, "can't be written"),
        ("contacts", ada, {"no_such": "x"}, "have no `no_such`"),
        ("contacts", ada, {"hs_object_id": "2"}, "VALIDATION_ERROR about hs_object_id"),
    ):
        with pytest.raises(TerminalError, match=said):
            world.store.correct(ada, table, row, values)
    assert world.store.correct(bob, "deals", his, {"dealname": "ours"}) == 1


def test_records_are_counted_without_the_recycling_bin(world: HubSpotWorld) -> None:
    first, _ = world.person("a@example.org"), world.person("b@example.org")
    assert world.store.count("contacts") == 2
    world.store.erase(first)
    assert world.store.count("contacts") == 1


def test_an_object_that_hubspot_does_not_have_is_told(world: HubSpotWorld) -> None:
    for table in ("no_such", "../contacts", "contacts/1"):
        with pytest.raises(TerminalError, match="has no object"):
            world.store.columns(table)
    assert {"email", "id", "name"} <= world.store.columns("contacts")
    assert "contact_id" in world.store.columns("deals")


def test_a_missing_scope_is_named(world: HubSpotWorld) -> None:
    ada = world.person("ada@example.org")
    world.server.scopes.remove("crm.objects.contacts.write")
    with pytest.raises(TerminalError) as raised:
        world.store.erase(ada)
    assert "crm.objects.contacts.write" in str(raised.value.help)


def test_an_unknown_token_is_told(world: HubSpotWorld) -> None:
    world.server.token = "another"
    with pytest.raises(TerminalError, match="doesn't know the access token"):
        world.store.existing(["1"])


def test_a_burst_waits_for_hubspots_own_ten_seconds(world: HubSpotWorld) -> None:
    ada = world.person("ada@example.org")
    world.server.limit(times=2)
    assert world.store.existing([ada]) == {ada}
    assert world.hours.slept == [10, 10]


def test_a_spent_day_is_asked_again_in_an_hour_without_waiting(world: HubSpotWorld) -> None:
    world.server.limit(policy="DAILY")
    with pytest.raises(Later) as raised:
        world.store.existing(["1"])
    assert raised.value.at == world.hours.at + timedelta(hours=1)
    assert world.hours.slept == []


def test_records_in_hubspots_own_shape_can_be_loaded(world: HubSpotWorld) -> None:
    world.server.load(
        {
            "contacts": [{"id": "5", "properties": {"email": "a@example.org", "phone": None}}],
            "deals": [
                {
                    "id": "5",
                    "properties": {"dealname": "one"},
                    "associations": {"contacts": {"results": [{"id": "5", "type": "deal_to_contact"}]}},
                }
            ],
        }
    )
    assert [row["dealname"] for _, _, row in world.store.collect(["5"], {"deals": ("dealname",)})] == ["one"]
    assert world.store.erase("5", ["deals"]) != Erased()
    assert all(isinstance(one, Kept) for one in world.store.erase("5").kept)
