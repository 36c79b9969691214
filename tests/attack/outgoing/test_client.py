"""The client against servers that try to lead it away, and callers that try to smuggle data through it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kept.company import Company
from kept.controls.disclosure import register
from kept.controls.disclosure.outgoing import network
from kept.controls.disclosure.outgoing.destination import Destination
from kept.controls.disclosure.outgoing.http import Field, Outgoing
from kept.controls.refused import Refused
from kept.errors import TerminalError, TransientError
from kept.testing.loopback import Call, Loopback, Reply
from tests.acceptance.disclosing import buyer, shop
from tests.attack.outgoing.certificates import self_signed

ADDRESS = "http://api.couriers.example/v1"
RECORD = {"name": "Buyer Nr 1"}


class Server(Loopback):
    """Answers with what a test says."""

    reply = Reply(200, {})

    def handle(self, call: Call) -> Reply:
        return self.reply


@pytest.fixture
def atelier(tmp_path: Path) -> Iterator[Company]:
    with shop(tmp_path / "atelier") as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Server]:
    with Server() as running:
        yield running


def client(company: Company, server: Loopback, **more: Any) -> Outgoing:
    at = {"api.couriers.example": server.address.removeprefix("http://")}
    return Outgoing(company, "couriers", purpose="delivery", address=ADDRESS, loopback=at, **more)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(atelier: Company, server: Server, other: Server, status: int) -> None:
    server.reply = Reply(status, headers={"Location": f"{other.address}/take"})
    with client(atelier, server) as out, pytest.raises(TerminalError, match="another address"):
        out.send({buyer(1): RECORD}, "/parcels")
    assert other.calls == [] and len(server.calls) == 1 and len(list(register.rows(atelier))) == 1


def test_the_environment_names_no_proxy(
    atelier: Company, server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, other.address)
    monkeypatch.setenv("NO_PROXY", "")
    with client(atelier, server) as out:
        out.send({buyer(1): RECORD}, "/parcels")
    assert other.calls == [] and len(server.calls) == 1


def test_a_cookie_that_the_recipient_sets_is_never_sent_back(atelier: Company, server: Server) -> None:
    server.reply = Reply(200, {}, {"Set-Cookie": "who=b1; Path=/"})
    with client(atelier, server) as out:
        for _ in range(2):
            out.send({buyer(1): RECORD}, "/parcels")
    assert all("cookie" not in call.headers for call in server.calls)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/parcels/Buyer%20Nr%201", {}),
        ("/parcels", {"query": {"name": "Buyer Nr 1"}}),
        ("/parcels", {"query": {"buyer nr 1": "x"}}),
        ("/parcels", {"headers": {"X-Name": "Buyer Nr 1"}}),
        ("/parcels", {"headers": {"X-Name": "QnV5ZXIgTnIgMQ=="}}),
        ("//evil.example/", {}),
        ("/..", {}),
        ("/parcels", {"method": "GET"}),
        ("/parcels", {"method": "POST / HTTP/1.1\r\nHost: evil.example\r\n\r\nPOST"}),
        ("/parcels", {"headers": {"Host": "evil.example"}}),
        ("/parcels", {"headers": {"Transfer-Encoding": "chunked"}}),
        ("/parcels", {"headers": {"Content-Length": "0"}}),
        ("/parcels", {"headers": {"X-A": "b\r\n\r\nPOST /take HTTP/1.1"}}),
        ("/parcels", {"headers": {"authorization": "another"}}),
        ("/parcels/{name}", {}),
        ("/parcels/b1@mail.example", {}),  # theirs, though the record has no address
        ("/parcels/b1%2540mail.example", {}),
        ("/parcels", {"query": {"of": "b1@mail.example"}}),
        ("/parcels", {"headers": {"X-Of": "YjFAbWFpbC5leGFtcGxl"}}),
        ("/parcels", {"headers": {"X-Of": "somebody-else@mail.example"}}),
        ("/parcels", {"query": {"name": "\uff22uyer Nr 1"}}),  # a full-width letter
        ("/..;/parcels", {}),
    ],
)
def test_a_trick_is_refused_before_anything_is_on_record(
    atelier: Company, server: Server, path: str, asked: dict[str, Any]
) -> None:
    with client(atelier, server, headers={"Authorization": "Bearer t"}) as out, pytest.raises(Refused):
        out.send({buyer(1): RECORD}, path, **asked)
    assert server.calls == [] and list(register.rows(atelier)) == []


def test_whatever_is_smuggled_into_a_record_is_taken_out(atelier: Company, server: Server) -> None:
    smuggled = {
        "name": "Buyer Nr 1",
        "email": {"of": "b2@mail.example"},
        "street": ["1 Long Road", {"iban": "DE02120300000000202051"}],
        "iban": "DE02120300000000202051",
        "buyers": [
            {"country": "fr", "iban": "DE02120300000000202051", "password": "secret-1"},
            "b2@mail.example",
        ],
        "shop.orders": [{"item": "a print"}],
        "__class__": "x",
        "password": "secret-1",
        "contact": {"password": "secret-1"},
        "shop.buyers.password": "secret-1",
    }
    with client(atelier, server) as out:
        out.send({buyer(1): smuggled}, "/parcels")
    body = server.calls[0].body.decode()
    assert server.calls[0].json() == {"name": "Buyer Nr 1", "buyers": [{"country": "fr"}]}
    for value in ("DE02", "secret", "b2@", "a print"):
        assert value not in body


def test_a_template_gives_nothing_that_was_taken_out(atelier: Company, server: Server) -> None:
    template = {"a": Field("iban"), "b": [Field("password"), Field("name")], "c": {"d": Field("shop.orders")}}
    record = {"name": "Buyer Nr 1", "iban": "DE02120300000000202051", "password": "secret-1"}
    with client(atelier, server, template=template) as out:
        out.send({buyer(1): record}, "/parcels")
    assert server.calls[0].json() == {"b": ["Buyer Nr 1"], "c": {}}


@pytest.mark.parametrize(
    "made",
    [
        {"address": f"{ADDRESS}/Buyer%20Nr%201"},
        {"address": f"{ADDRESS}/b1@mail.example"},
        {"headers": {"X-Of": "b1@mail.example"}},
        {"template": {"to": Field("name"), "of": "b1@mail.example"}},
        {"template": [Field("name"), {"of": ["to B1@mail.example"]}]},
        {"template": {"b1@mail.example": Field("name")}},
    ],
)
def test_a_client_made_for_one_person_smuggles_nothing_of_theirs(
    atelier: Company, server: Server, made: dict[str, Any]
) -> None:
    at = {"api.couriers.example": server.address.removeprefix("http://")}
    made = {"address": ADDRESS, **made}
    with Outgoing(atelier, "couriers", purpose="delivery", loopback=at, **made) as out:
        with pytest.raises(Refused) as refused:
            out.send({buyer(1): RECORD}, "/parcels")
        assert refused.value.reason == "personal"
    assert server.calls == [] and list(register.rows(atelier)) == []


def test_text_that_looks_like_json_stays_text(atelier: Company, server: Server) -> None:
    value = '","admin":true,"x":"\r\n\u2028'
    with client(atelier, server) as out:
        out.send({buyer(1): {"name": value}}, "/parcels")
    assert server.calls[0].json() == {"name": value}


def test_a_declared_name_that_leads_to_this_machine_is_not_connected_to(
    atelier: Company, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a name server that was taken over, or answers anew each time, would have it."""
    port = int(server.address.rpartition(":")[2])
    answers = [[("127.0.0.1", port)], [("10.0.0.1", 443), ("93.184.216.34", 443)]]
    for answer in answers:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in answer]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
        with pytest.raises(Refused, match="private network"):
            network.where(Destination("https", "couriers.example", ""), "couriers.example", 443)
    with pytest.raises(Refused, match="one host"):
        network.where(Destination("https", "couriers.example", ""), "evil.example", 443)
    with pytest.raises(Refused, match="one host"):
        network.where(Destination("https", "couriers.example", ""), "couriers.example", 22)
    with (
        Outgoing(atelier, "couriers", purpose="delivery", address="https://couriers.example") as out,
        pytest.raises(Refused, match="private network"),
    ):
        out.send({buyer(1): RECORD})
    assert server.calls == []


def test_an_answer_without_end_is_cut_off(atelier: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "LARGEST", 100_000)
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        taken, _ = listening.accept()
        with taken:
            taken.recv(65536)
            taken.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(1000):
                try:
                    taken.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
                except OSError:
                    return

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    at = {"api.couriers.example": f"127.0.0.1:{listening.getsockname()[1]}"}
    with (
        listening,
        Outgoing(atelier, "couriers", purpose="delivery", address=ADDRESS, loopback=at) as out,
        pytest.raises(TerminalError, match="longer"),
    ):
        out.send({buyer(1): RECORD})
    thread.join(10)


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
def test_a_server_that_speaks_no_http_is_a_fault_of_the_way_and_says_nothing_of_the_data(
    atelier: Company, said: bytes
) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        taken, _ = listening.accept()
        with taken:
            taken.recv(65536)
            taken.sendall(said)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    at = {"api.couriers.example": f"127.0.0.1:{listening.getsockname()[1]}"}
    with (
        listening,
        Outgoing(atelier, "couriers", purpose="delivery", address=ADDRESS, loopback=at) as out,
        pytest.raises(TransientError) as failed,
    ):
        out.send({buyer(1): RECORD})
    assert "Buyer" not in str(failed.value) and "127.0.0.1" not in str(failed.value)
    thread.join(10)


def test_a_tls_recipient_with_a_certificate_nobody_vouches_for_is_not_spoken_to(atelier: Company) -> None:
    def out(place: str, **more: Any) -> Outgoing:
        at, address = {"api.couriers.example": place}, ADDRESS.replace("http:", "https:")
        return Outgoing(atelier, "couriers", purpose="delivery", address=address, loopback=at, **more)

    with self_signed("api.couriers.example") as (place, authority):
        with out(place) as unknown, pytest.raises(TransientError):
            unknown.send({buyer(1): RECORD})
        with out(place, authorities=authority) as known:
            assert known.send({buyer(1): RECORD}).status == 200
    with (
        self_signed("other.example") as (place, authority),  # vouched for, and another's name
        out(place, authorities=authority) as another,
        pytest.raises(TransientError),
    ):
        another.send({buyer(1): RECORD})
