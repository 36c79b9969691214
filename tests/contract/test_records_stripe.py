"""What is Stripe's own: what it keeps by law, cards that go along, search, keys that make a write happen once."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from kept.errors import TerminalError
from tests.contract.records.worlds import CARD, StripeWorld
from tests.contract.test_records import stripe_address as stripe_address  # a fixture


@pytest.fixture(params=[False, True], ids=["without search", "with search"])
def world(request: pytest.FixtureRequest, stripe_address: str) -> Iterator[StripeWorld]:
    httpx.delete(f"{stripe_address}/_config/data", trust_env=False)
    made = StripeWorld(stripe_address, request.param)
    with made.server, made.http:
        yield made
        made.store.dispose()


def test_what_stripe_keeps_by_law_is_told_by_table_with_the_reason(world: StripeWorld) -> None:
    ada = world.person("ada@example.org")
    for n in range(3):
        world.hang(ada, f"charge {n}")
    done = world.store.erase(ada)
    assert done.deleted == {"customers": 1}
    ((table, rows, reason),) = [(one.table, one.rows, one.reason) for one in done.kept]
    assert (table, rows) == ("charges", 3)
    assert "laws on payments" in reason
    assert world.hung(ada) == 3


def test_cards_go_with_the_customer_and_are_counted(world: StripeWorld) -> None:
    ada = world.person("ada@example.org")
    card = world.post("/v1/payment_methods", **{"type": "card", **CARD})["id"]
    world.post(f"/v1/payment_methods/{card}/attach", customer=ada)
    ((_, _, row),) = world.store.collect([ada], {"payment_methods": ("card->last4",)})
    assert row == {"card->last4": "4242"}
    assert world.store.erase(ada, ["payment_methods"]).deleted == {"customers": 1, "payment_methods": 1}


def test_a_value_with_quotes_is_searched_for_as_a_value(world: StripeWorld) -> None:
    world.person("everybody@example.org")
    name = "x' OR name:'Ada Ōé' OR \\'"
    odd = world.post("/v1/customers", name=name, phone="+1 'quoted' \\ 2")["id"]
    assert world.store.find("name", [name]) == {name: (odd,)}
    assert world.store.find("phone", ["+1 'quoted' \\ 2"]) == {"+1 'quoted' \\ 2": (odd,)}
    assert world.server.count("GET /v1/customers$") == (
        0 if world.server.searches else 2
    )  # else all were read


def test_a_customer_is_found_by_a_field_of_metadata(world: StripeWorld) -> None:
    ada = world.post("/v1/customers", **{"metadata[user_id]": "U1"})["id"]
    world.post("/v1/customers", **{"metadata[user_id]": "u1"})
    assert world.store.find("metadata->user_id", ["U1", "u2"]) == {"U1": (ada,)}
    assert world.store.identifiers([ada], {"key": "metadata->user_id"}) == {ada: {"key": "U1"}}


def test_search_asks_for_ten_values_at_a_time(world: StripeWorld) -> None:
    emails = [f"P{n}@example.org" for n in range(25)]
    people = [world.person(email.lower()) for email in emails]
    assert world.store.find("email", emails) == {e: (p,) for e, p in zip(emails, people, strict=True)}
    assert len(set(world.server.queries)) == (3 if world.server.searches else 0)


def test_a_correction_writes_fields_and_fields_inside(world: StripeWorld) -> None:
    ada = world.person("ada@example.org")
    values = {"name": "Ada & Bob=1", "address->city": "Köln", "address->line1": "1 “Street” + 2"}
    assert world.store.correct(ada, "customers", None, values, act="request 1") == 1
    assert world.store.correct(ada, "customers", ada, values, act="request 1") == 0
    ((_, _, row),) = world.store.collect([ada], {"customers": tuple(values)})
    assert row == values


def test_a_correction_that_is_tried_again_carries_the_same_key(world: StripeWorld) -> None:
    ada = world.person("ada@example.org")
    world.server.cut("POST", times=1)
    world.store.correct(ada, "customers", None, {"name": "A"}, act="request 1")
    world.store.correct(ada, "customers", None, {"name": "B"}, act="request 2")
    world.store.correct(ada, "customers", None, {"name": "A"}, act="request 3")
    first, again, *others = [c.headers["idempotency-key"] for c in world.server.calls if c.method == "POST"]
    assert first == again
    assert len({first, *others}) == 3
    assert world.store.identifiers([ada], {"name": "name"}) == {ada: {"name": "A"}}


def test_a_correction_refuses_what_stripe_lets_nobody_change(world: StripeWorld) -> None:
    ada, bob = world.person("ada@example.org"), world.person("bob@example.org")
    for table, row, values, said in (
        ("charges", "ch_1", {"description": "x"}, "lets nobody change charges"),
        ("customers", bob, {"name": "x"}, "isn't the person's own"),
        ("customers", ada, {"created": "1"}, "can't be written"),
        ("customers", ada, {"no_such": "1"}, "have no `no_such`"),
        ("nothing", None, {"x": "1"}, "knows no `nothing`"),
    ):
        with pytest.raises(TerminalError, match=said):
            world.store.correct(ada, table, row, values)
    with pytest.raises(TerminalError, match="isn't there"):
        world.store.correct("cus_nobody", "customers", None, {"name": "x"})


def test_everything_is_counted_over_several_pages(world: StripeWorld) -> None:
    for n in range(205):
        world.person(f"p{n}@example.org")
    assert world.store.count("customers") == 205
    assert world.store.count("charges") == 0
    with pytest.raises(TerminalError, match="customer by customer"):
        world.store.count("tax_ids")


def test_a_permission_that_a_restricted_key_lacks_is_named(world: StripeWorld) -> None:
    ada = world.person("ada@example.org")
    message = (
        "The provided key 'rk_live_***' lacks it. Having the 'rak_customer_write' permission would allow it."
    )
    world.server.fail(403, "DELETE", body={"error": {"type": "invalid_request_error", "message": message}})
    with pytest.raises(TerminalError) as raised:
        world.store.erase(ada)
    assert "rak_customer_write" in str(raised.value.help)
    assert "rk_live" not in str(raised.value)


def test_stripe_says_itself_whether_to_try_again(world: StripeWorld) -> None:
    ada = world.person("ada@example.org")
    world.server.fail(409, "", headers={"Stripe-Should-Retry": "true"})
    assert world.store.existing([ada]) == {ada}
    world.server.fail(500, "", headers={"Stripe-Should-Retry": "false"})
    with pytest.raises(TerminalError):
        world.store.existing([ada])


def test_a_key_that_is_no_key_is_told(world: StripeWorld) -> None:
    world.server.fail(401, "", times=9)
    with pytest.raises(TerminalError, match="doesn't know the key"):
        world.store.existing(["cus_1"])
