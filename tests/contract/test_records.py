"""What every store of records does, whatever is behind it: HubSpot, Stripe, a partner's system."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from kept.errors import StoreError, TerminalError, TransientError
from kept.stores.records.store import Erased, Later
from tests.contract.records.worlds import KEY, HubSpotWorld, PartnerWorld, StripeWorld, World, localstripe

ODD = "Ōda+news/../%2e%2e?x=1&y='\"#@exämple.org"


@pytest.fixture(scope="session")
def stripe_address() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with localstripe(port) as address:
        yield address


@pytest.fixture
def stripe(stripe_address: str) -> Callable[[bool], StripeWorld]:
    def world(searches: bool = False) -> StripeWorld:
        httpx.delete(f"{stripe_address}/_config/data", trust_env=False)
        return StripeWorld(stripe_address, searches)

    return world


@pytest.fixture(params=["hubspot", "stripe", "stripe with search", "partner"])
def world(request: pytest.FixtureRequest, stripe: Callable[[bool], StripeWorld]) -> Iterator[World]:
    made: HubSpotWorld | StripeWorld | PartnerWorld
    match request.param:
        case "hubspot":
            made = HubSpotWorld()
        case "partner":
            made = PartnerWorld()
        case kind:
            made = stripe("search" in kind)
    with ExitStack() as stack:
        stack.callback(made.store.dispose)
        if isinstance(made, StripeWorld):
            stack.callback(made.http.close)
        stack.enter_context(made.server)
        yield made


def rows(world: World, *subjects: str, act: str = "look") -> list[tuple[str, object]]:
    tables = {world.hanging: (world.column,)}
    found = world.store.collect(subjects, tables, act)
    return sorted(((who, row[world.column]) for who, _, row in found), key=str)


def test_a_person_is_found_by_email_whatever_the_capitals(world: World) -> None:
    ada = world.person("Ada@example.org")
    world.person("adam@example.org")
    found = world.store.find("email", ["ada@EXAMPLE.org", "nobody@example.org"])
    if world.store.searchable:
        assert found == {"ada@EXAMPLE.org": (ada,)}
    else:
        assert found["ada@EXAMPLE.org"] == ("email:ada@EXAMPLE.org",)


def test_two_people_with_one_email_are_both_found(world: World) -> None:
    first, second = world.person("both@example.org"), world.person("both@example.org")
    (found,) = world.store.find("email", ["both@example.org"]).values()
    assert set(found) == {first, second}
    assert len(list(world.store.collect(found, {world.people: ("email",)}, "look"))) == 2


def test_more_people_are_found_than_a_page_holds(world: World) -> None:
    emails = [f"p{n}@example.org" for n in range(205)]
    people = [world.person(email) for email in emails]
    found = world.store.find("email", emails)
    assert [found[email] for email in emails] == [(person,) for person in people]


def test_only_those_who_are_there_exist(world: World) -> None:
    ada = world.person("ada@example.org")
    odd = ["", ".", "..", "search", "0", "1/../2", "cus_x?y=1#z", "ōé", "9" * 400, "\r\nX: y"]
    there = world.store.existing([ada, *odd])
    assert there == ({ada} if world.store.searchable else {ada, *odd})


def test_a_person_is_told_by_what_identifies_them(world: World) -> None:
    ada = world.person("ada@example.org")
    assert world.store.identifiers([ada], {"email": "email"}) == {ada: {"email": "ada@example.org"}}
    assert (
        world.store.identifiers([world.nobody if world.store.searchable else "phone:7"], {"email": "email"})
        == {}
    )


def test_everything_of_a_person_is_collected_and_nothing_of_anybody_else(world: World) -> None:
    ada, bob = world.person("ada@example.org"), world.person("bob@example.org")
    mine = [world.hang(ada, f"row {n}") for n in range(3)]
    world.hang(bob, "not hers")
    assert rows(world, ada) == [(ada, value) for value in mine]
    assert len(rows(world, ada, bob, ada)) == 4
    assert rows(world, world.nobody) == []


def test_a_row_has_the_columns_asked_for_and_no_others(world: World) -> None:
    ada = world.person("ada@example.org")
    ((who, table, row),) = world.store.collect([ada], {world.people: ("email",)}, "look")
    assert (who, table, dict(row)) == (ada, world.people, {"email": "ada@example.org"})


def test_what_hangs_on_a_person_is_collected_over_several_pages(world: World) -> None:
    ada = world.person("ada@example.org")
    mine = [world.hang(ada, f"row {n:03}") for n in range(230)]
    assert [value for _, value in rows(world, ada)] == mine


def test_odd_values_come_back_as_they_went_in(world: World) -> None:
    odd = world.person(ODD)
    world.hang(odd, "zero\u200b width, 漢字, \u202e, '); DROP TABLE")
    (subject,) = world.store.find("email", [ODD])[ODD]
    assert subject == odd
    assert [value for _, value in rows(world, odd)] == ["zero\u200b width, 漢字, \u202e, '); DROP TABLE"]


def test_an_erased_person_is_gone_and_others_stay(world: World) -> None:
    ada, bob = world.person("ada@example.org"), world.person("bob@example.org")
    world.hang(ada, "hers")
    world.hang(bob, "his")
    done = world.store.erase(ada, [world.hanging], act="request 1")
    assert done.deleted[world.people] == 1
    if world.store.searchable:
        assert world.store.existing([ada, bob]) == {bob}
        assert world.store.find("email", ["ada@example.org", "bob@example.org"]) == {
            "bob@example.org": (bob,)
        }
    assert len(rows(world, bob)) == world.hung(bob) == 1


def test_an_erasure_done_twice_deletes_once(world: World) -> None:
    ada = world.person("ada@example.org")
    first = world.store.erase(ada, [world.hanging], act="request 1")
    again = world.store.erase(ada, [world.hanging], act="request 1")
    assert first.deleted[world.people] == 1
    # A partner answers with what the request did; the others have nothing left to do.
    assert again == (Erased() if world.store.searchable else first)


def test_erasing_somebody_who_was_never_there_deletes_nothing(world: World) -> None:
    for odd in (world.nobody, "..", "1/../2") if world.store.searchable else (world.nobody,):
        assert world.store.erase(odd, [world.hanging], act="request 1") == Erased()


def test_an_unknown_column_is_refused_before_a_row_is_given(world: World) -> None:
    ada = world.person("ada@example.org")
    if not world.store.searchable:
        assert next(iter(world.store.collect([ada], {world.people: ("no_such",)}, "look")))[2] == {
            "no_such": None
        }
        return
    with pytest.raises(TerminalError, match="have no `no_such`"):
        list(world.store.collect([ada], {world.people: ("no_such",)}))


def test_a_limit_is_waited_for_as_long_as_the_server_says(world: World) -> None:
    ada = world.person("ada@example.org")
    world.hang(ada, "hers")
    world.server.fail(429, world.reading, times=2, headers={"Retry-After": "7"})
    assert len(rows(world, ada)) == 1
    assert world.hours.slept == [7, 7]


def test_a_limit_that_lasts_is_told_with_its_end(world: World) -> None:
    ada = world.person("ada@example.org")
    world.server.fail(429, "", times=1, headers={"Retry-After": "600"})
    start = world.hours.at
    with pytest.raises(Later) as raised:
        world.store.erase(ada, act="request 1")
    assert (raised.value.at - start).total_seconds() == 600
    assert f"{raised.value.at:%H:%M:%S} UTC" in raised.value.message
    assert world.hours.slept == []
    assert world.store.erase(ada, act="request 1").deleted[world.people] == 1


def test_a_limit_without_an_end_is_waited_for_longer_and_longer_and_not_for_ever(world: World) -> None:
    world.server.fail(429, "", times=99)
    with pytest.raises(Later):
        world.store.erase(world.person("ada@example.org"), act="request 1")
    assert world.hours.slept == [0.5, 1, 2, 4]
    assert len(world.server.calls) == 5


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_passing_fault_is_tried_again(world: World, status: int) -> None:
    ada = world.person("ada@example.org")
    world.server.fail(status, "", times=2)
    assert world.store.erase(ada, act="request 1").deleted[world.people] == 1


def test_a_fault_that_lasts_is_transient(world: World) -> None:
    ada = world.person("ada@example.org")
    world.server.fail(503, "", times=99)
    with pytest.raises(TransientError, match="fault"):
        world.store.erase(ada, act="request 1")
    world.server.faults.clear()
    assert world.store.erase(ada, act="request 1").deleted[world.people] == 1


@pytest.mark.parametrize("lost", [False, True], ids=["before", "after"])
def test_a_connection_that_breaks_over_an_erasure_is_made_again(world: World, lost: bool) -> None:
    ada = world.person("ada@example.org")
    world.server.cut(world.erasing, times=1, done=lost)
    assert world.store.erase(ada, act="request 1").deleted == {world.people: 1}
    assert world.server.count(world.erasing) == 2
    assert world.store.existing([ada]) == (set() if world.store.searchable else {ada})


def test_an_erasure_cut_short_is_finished_by_the_next_call(world: World) -> None:
    ada = world.person("ada@example.org")
    for n in range(3):
        world.hang(ada, f"row {n}")
    world.server.fail(500, world.erasing, times=99)
    with pytest.raises(TransientError):
        world.store.erase(ada, [world.hanging], act="request 1")
    assert ada in world.store.existing([ada])
    world.server.faults.clear()
    assert world.store.erase(ada, [world.hanging], act="request 1").deleted[world.people] == 1
    if not isinstance(world, StripeWorld):
        assert world.hung(ada) == 0


def test_a_server_that_is_down_is_transient(world: World) -> None:
    ada = world.person("ada@example.org")
    world.server.stop()
    with pytest.raises(TransientError, match="can't be reached"):
        world.store.erase(ada, act="request 1")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_and_says_what_to_do(world: World, status: int) -> None:
    ada = world.person("ada@example.org")
    world.server.fail(status, "", times=99)
    with pytest.raises(TerminalError) as raised:
        world.store.erase(ada, act="request 1")
    assert raised.value.help
    assert len(world.server.calls) <= 2  # not tried again; a partner's discovery may have been read


def test_a_redirect_is_not_followed_with_the_key(world: World) -> None:
    ada = world.person("ada@example.org")
    world.server.fail(302, "", times=99, headers={"Location": "/elsewhere"})
    with pytest.raises(TerminalError, match="another address"):
        world.store.erase(ada, act="request 1")
    assert world.server.count("elsewhere") == 0


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1, 2", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_an_answer_that_is_no_json_object_is_no_crash(world: World, body: bytes) -> None:
    ada = world.person("ada@example.org")
    world.server.fail(200, world.reading, times=1, body=body)
    with suppress(StoreError):
        rows(world, ada)


def test_no_personal_value_and_no_secret_stands_in_an_error_or_a_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ada = world.person("secret.person@example.org")
    quoting = {
        "message": "secret.person@example.org",
        "error": {"message": "secret.person@example.org", "code": "x"},
    }
    for status in (400, 401, 403, 418, 429, 500):
        world.server.fail(status, "", times=5 if status >= 429 else 1, body=quoting)
        with pytest.raises(StoreError) as raised:
            world.store.erase(ada, act="request 1")
        told = f"{raised.value!s} {raised.value!r} {raised.value.__cause__!r}"
        assert "secret.person" not in told and KEY not in told and "pat-eu1" not in told
        world.server.faults.clear()
    world.store.find("email", ["secret.person@example.org"])
    assert "secret.person" not in caplog.text and KEY not in caplog.text and "pat-eu1" not in caplog.text
    assert KEY not in repr(world.store) and "pat-eu1" not in repr(vars(world.store))


def test_what_was_disposed_of_opens_anew(world: World) -> None:
    ada = world.person("ada@example.org")
    world.store.identifiers([ada], {"email": "email"})
    world.store.dispose()
    world.store.dispose()
    assert world.store.erase(ada, act="request 1").deleted[world.people] == 1
