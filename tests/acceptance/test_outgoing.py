"""The ways out: an HTTP client and letters, bound to one recipient each, that disclose before they send."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kept.company import Company
from kept.controls.disclosure.outgoing.http import AsyncOutgoing, Field, Outgoing
from kept.controls.disclosure.outgoing.mail import write_to
from kept.controls.refused import Refused
from kept.controls.rights.erasing import used
from kept.errors import TerminalError, TransientError
from kept.mail.letter import Letter
from kept.testing.loopback import Call, Loopback, Reply
from tests.acceptance.disclosing import POLICY, buyer, rows, shop

ADDRESS = "http://api.couriers.example/v1"
RECORD = {"email": "b1@mail.example", "street": "1 Long Road", "iban": "DE02120300000000202051"}


class Couriers(Loopback):
    """The recipient: it takes whatever comes."""

    def handle(self, call: Call) -> Reply:
        return Reply(201, {"took": len(call.body)})


@pytest.fixture
def couriers() -> Iterator[Couriers]:
    with Couriers() as running:
        yield running


@pytest.fixture
def atelier(tmp_path: Path) -> Iterator[Company]:
    with shop(tmp_path / "atelier") as opened:
        yield opened


def at(server: Loopback) -> dict[str, str]:
    """The recipient's hosts, as they are found on this machine."""
    return {"api.couriers.example": server.address.removeprefix("http://")}


def client(company: Company, server: Loopback, **more: Any) -> Outgoing:
    return Outgoing(
        company,
        "couriers",
        purpose="delivery",
        address=more.pop("address", ADDRESS),
        loopback=at(server),
        **more,
    )


def test_what_is_sent_is_what_was_disclosed_and_no_more(atelier: Company, couriers: Couriers) -> None:
    with client(atelier, couriers, headers={"Authorization": "Bearer t-o-k-e-n"}) as out:
        sent = out.send({buyer(1): RECORD}, "/parcels", query={"mode": "now"})
    assert sent.status == 201 and sent.json() == {"took": len(couriers.calls[0].body)}
    (call,) = couriers.calls
    assert call.target == "POST /v1/parcels" and call.query == {"mode": "now"}
    assert call.json() == {"email": "b1@mail.example", "street": "1 Long Road"}
    assert (
        call.headers["host"] == "api.couriers.example" and call.headers["authorization"] == "Bearer t-o-k-e-n"
    )
    assert "cookie" not in call.headers and "transfer-encoding" not in call.headers
    (row,) = rows(atelier)
    assert row.way == "http" and row.fields == ("shop.buyers.email", "shop.buyers.street")
    assert sent.disclosed.stripped == ("iban",)


def test_several_people_go_in_one_request_and_whoever_may_not_be_given_is_left_out(
    atelier: Company, couriers: Couriers
) -> None:
    records = {
        buyer(n): {"name": f"Buyer Nr {n}", "shop.buyers.email": f"b{n}@mail.example"} for n in (1, 2, 77)
    }
    with client(atelier, couriers, template={"to": {"name": Field("name"), "phone": Field("phone")}}) as out:
        sent = out.send(records, "/parcels")
    assert couriers.calls[0].json() == [{"to": {"name": "Buyer Nr 1"}}, {"to": {"name": "Buyer Nr 2"}}]
    assert set(sent.disclosed.refused) == {buyer(77)}


def test_the_asynchronous_client_does_the_same(atelier: Company, couriers: Couriers) -> None:
    async def go() -> int:
        async with AsyncOutgoing(
            atelier, "couriers", purpose="delivery", address=ADDRESS, loopback=at(couriers)
        ) as out:
            sent = await asyncio.gather(*(out.send({buyer(n): {"name": f"Buyer Nr {n}"}}) for n in (1, 2, 4)))
        return sum(one.status == 201 for one in sent)

    assert asyncio.run(go()) == 3 and couriers.count("POST /v1/") == 3 and len(rows(atelier)) == 3


def test_what_is_refused_is_neither_sent_nor_on_the_register(atelier: Company, couriers: Couriers) -> None:
    with client(atelier, couriers) as out:
        for who, record in ((77, {"name": "x"}), (1, {"iban": "x"}), (1, {"email": "b2@mail.example"})):
            with pytest.raises(Refused):
                out.send({buyer(who): record})
    assert couriers.calls == [] and rows(atelier) == []


def test_a_recipient_that_fails_leaves_a_record_and_the_repetition_adds_none(
    atelier: Company, couriers: Couriers
) -> None:
    couriers.fail(503)
    couriers.cut(skip=0, done=True)
    with client(atelier, couriers) as out:
        for _ in range(2):
            with pytest.raises(TransientError) as failed:
                out.send({buyer(1): {"name": "Buyer Nr 1"}}, key="parcel-9")
            assert "Buyer" not in str(failed.value) and "127.0.0.1" not in str(failed.value)
        assert len(rows(atelier)) == 1
        sent = out.send({buyer(1): {"name": "Buyer Nr 1"}}, key="parcel-9")
    assert sent.disclosed.again and len(rows(atelier)) == 1
    couriers.fail(422, body={"error": "no such street"})
    with client(atelier, couriers) as out, pytest.raises(TerminalError, match="HTTP 422"):
        out.send({buyer(1): {"name": "Buyer Nr 1"}})


def _send_and_die(folder: Path, port: str) -> None:
    with shop(folder) as company:
        out = Outgoing(
            company, "couriers", purpose="delivery", address=ADDRESS, loopback={"api.couriers.example": port}
        )
        out._pool.stream = lambda *_, **__: os._exit(9)  # type: ignore[method-assign]  # killed before a byte leaves
        out.send({buyer(1): {"name": "Buyer Nr 1"}}, key="parcel-1")


def test_a_crash_between_register_and_send_leaves_the_record(tmp_path: Path, couriers: Couriers) -> None:
    with shop(tmp_path / "atelier"):
        pass
    given = (tmp_path / "atelier", couriers.address.removeprefix("http://"))
    process = multiprocessing.get_context("fork").Process(target=_send_and_die, args=given)
    process.start()
    process.join(60)
    assert process.exitcode == 9 and couriers.calls == []
    with shop(tmp_path / "atelier") as company:
        assert [row.recipient for row in rows(company)] == ["couriers"]


def test_a_field_stands_in_the_path_only_where_that_was_declared(
    atelier: Company, couriers: Couriers
) -> None:
    with client(atelier, couriers, in_path=("name",)) as out:
        out.send({buyer(1): {"name": "Ada ?#é"}}, "/people/{name}", method="PUT")
        for leading in ("a/../b", "..", "a\\b", "a\r\nHost: b", ""):
            with pytest.raises(Refused):
                out.send({buyer(1): {"name": leading}}, "/people/{name}")
        with pytest.raises(Refused, match="wasn't declared"):
            out.send({buyer(1): {"email": "b1@mail.example"}}, "/people/{email}")
        with pytest.raises(Refused, match="one person's"):
            out.send({buyer(1): {"name": "x"}, buyer(2): {"name": "y"}}, "/people/{name}")
    (call,) = couriers.calls
    assert call.path == "/v1/people/Ada%20%3F%23%C3%A9" and len(rows(atelier)) == 1
    with pytest.raises(Refused, match="does not give"):
        client(atelier, couriers, in_path=("iban",))


def test_dates_and_numbers_are_written_as_programs_read_them(atelier: Company, couriers: Couriers) -> None:
    with client(atelier, couriers) as out:
        out.send({buyer(1): {"name": "x", "street": date(2026, 1, 2), "country": 7}})
    assert couriers.calls[0].json() == {"name": "x", "street": "2026-01-02", "country": 7}


def test_a_letter_goes_to_the_declared_address_with_what_was_disclosed(atelier: Company) -> None:
    done = write_to(
        atelier,
        "couriers",
        {buyer(1): {**RECORD, "name": "Buyer\r\nBcc: someone@else.example"}},
        purpose="delivery",
        subject="A parcel",
        before="Please fetch this today.",
    )
    (waiting,) = atelier.outbox.entries()
    assert waiting.what == "disclosure"

    sent: list[Letter] = []

    class Post:
        def send(self, letter: Letter, id: str, when: object) -> None:
            sent.append(letter)

    assert atelier.outbox.send(Post()).sent == 1
    assert sent[0].to == "office@couriers.example" and "DE02" not in sent[0].text
    assert (
        "email: b1@mail.example\nstreet: 1 Long Road\nname: Buyer Bcc: someone@else.example" in sent[0].text
    )
    assert rows(atelier)[0].way == "mail" and done.stripped == ("iban",)


def test_a_letter_without_a_declared_address_or_with_a_value_in_its_subject_is_refused(
    atelier: Company,
) -> None:
    for recipient, subject in (("archive", "Orders"), ("couriers", "For b1@mail.example")):
        with pytest.raises(Refused):
            write_to(
                atelier,
                recipient,
                {buyer(1): {"email": "b1@mail.example"}},
                purpose="delivery" if recipient == "couriers" else "filing",
                subject=subject,
            )
    assert atelier.outbox.entries() == () and rows(atelier) == []


def test_a_client_is_made_for_a_declared_recipient_with_hosts_alone(atelier: Company) -> None:
    for recipient, reason in (("networks", "host"), ("couriers ", "lookalike"), ("somebody", "recipient")):
        with pytest.raises(Refused) as refused:
            Outgoing(atelier, recipient, purpose="delivery", address="https://couriers.example/")
        assert refused.value.reason == reason
    assert "hosts" in POLICY


def test_a_letter_is_checked_before_anything_is_on_record(tmp_path: Path) -> None:
    for address in (
        "office@couriers.example, other@else.example",
        "Office <office@couriers.example>",
        "office",
    ):
        text = POLICY.replace("email: office@couriers.example", f'email: "{address}"')
        with (
            shop(tmp_path / str(len(address)), text=text) as company,
            pytest.raises(Refused, match="not an e-mail address"),
        ):
            write_to(company, "couriers", {buyer(1): {"name": "x"}}, purpose="delivery", subject="A parcel")
        with shop(tmp_path / str(len(address)), text=text) as company:
            assert rows(company) == []


@pytest.mark.parametrize(
    "before",
    [
        "IBAN DE02120300000000202051",
        "of b1@mail.example",  # theirs, and not in the record
        "of somebody-else@mail.example",
        "1 Long Road",
    ],
)
def test_the_text_of_a_letter_holds_no_value_that_was_not_disclosed(atelier: Company, before: str) -> None:
    record = {
        buyer(1): {"name": "Buyer Nr 1", "iban": "DE02120300000000202051", "nested": {"a": ["1 Long Road"]}}
    }
    with pytest.raises(Refused) as refused:
        write_to(atelier, "couriers", record, purpose="delivery", subject="A parcel", before=before)
    assert refused.value.reason == "personal" and before not in str(refused.value)
    assert rows(atelier) == [] and atelier.outbox.entries() == ()
    ask = "Questions? office@couriers.example or privacy@atelier.example"
    assert write_to(atelier, "couriers", record, purpose="delivery", subject="A parcel", before=ask).records


def test_a_letter_that_still_waits_is_destroyed_with_the_person(atelier: Company) -> None:
    for number in (1, 2):
        write_to(
            atelier,
            "couriers",
            {buyer(number): {"name": f"Buyer Nr {number}"}},
            purpose="delivery",
            subject="A parcel",
        )
    used.forget(atelier, list(atelier.pseudonyms.find(["buyer:1"]).values()))
    sent: list[Letter] = []

    class Post:
        def send(self, letter: Letter, id: str, when: object) -> None:
            sent.append(letter)

    atelier.outbox.send(Post())
    assert ["Buyer Nr 2" in one.text for one in sent] == [True]


def test_a_field_that_never_leaves_stands_in_no_path(atelier: Company, couriers: Couriers) -> None:
    with pytest.raises(Refused, match="does not give"):
        client(atelier, couriers, in_path=("password",))  # declared, a credential
    with client(atelier, couriers, in_path=("name",)) as out, pytest.raises(Refused):
        out.send({buyer(1): {"name": {"a": "b"}, "email": "b1@mail.example"}}, "/people/{name}")
    assert rows(atelier) == [] and couriers.calls == []


def test_whoever_logs_what_came_back_logs_nobody(atelier: Company, couriers: Couriers) -> None:
    with client(atelier, couriers, headers={"Authorization": "Bearer t-o-k-e-n"}) as out:
        sent = out.send({buyer(1): RECORD})
    for value in ("b1@mail.example", "Long Road", "DE02", "t-o-k-e-n"):
        assert value not in repr(sent) and value not in repr(out)


def test_a_header_of_the_clients_own_is_sent_once(atelier: Company, couriers: Couriers) -> None:
    with client(atelier, couriers, headers={"Accept": "text/plain"}) as out:
        out.send({buyer(1): {"name": "x"}}, headers={"User-Agent": "atelier"})
    headers = couriers.calls[0].headers
    assert (headers["accept"], headers["user-agent"]) == ("text/plain", "atelier")


def test_a_number_that_json_cannot_say_is_taken_out(atelier: Company, couriers: Couriers) -> None:
    with client(atelier, couriers) as out:
        out.send({buyer(1): {"name": "x", "country": float("nan"), "street": float("inf")}})
    assert couriers.calls[0].json() == {"name": "x"}
