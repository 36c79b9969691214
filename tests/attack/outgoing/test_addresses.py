"""Addresses, paths and headers that would lead a request elsewhere: none is taken."""

from __future__ import annotations

import pytest

from kept.controls.disclosure.outgoing.destination import (
    destination,
    headers_of,
    path_of,
    refuse_personal,
    refuse_private,
)
from kept.controls.refused import Refused
from kept.policy.facts import Party
from tests.acceptance.choosing import policy
from tests.acceptance.disclosing import POLICY

GOOD = [
    "https://couriers.example",
    "https://couriers.example/v1/",
    "https://api.couriers.example/",
    "https://a.parcels.example",
]
BAD = [
    "http://couriers.example/",
    "ftp://couriers.example/",
    "//couriers.example/",
    "couriers.example",
    "",
    "https://",
    "https:///v1",
    "https:couriers.example",
    "https://couriers.example.evil.example/",
    "https://evilcouriers.example/",
    "https://couriers.example@evil.example/",
    "https://user:pass@couriers.example/",
    "https://evil.example/couriers.example",
    "https://evil.example#couriers.example",
    "https://evil.example?couriers.example",
    "https://couriers.example?",
    "https://couriers.example#",
    "https://evil.example\\@couriers.example/",
    "https://couriers.example\\.evil.example/",
    "https://couriers.example:444/",
    "https://couriers.example:443/",
    "https://couriers.example:/",
    "https://couriers.example:99999/",
    "https://couriers.example./",
    "https://Couriers.example/",
    "https://c\u043euriers.example/",
    "https://xn--curiers-jdf.example/",
    "https://couriers%2eexample/",
    "https://couriers.example%00.evil.example/",
    "https://couriers.example\r\nHost: evil.example/",
    "https://couriers.example\t/",
    " https://couriers.example/",
    "https://couriers.example/ ",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[couriers.example]/",
    "https://localhost/",
    "https://parcels.example/",  # only those below it are declared
    "https://couriers.example//evil.example/",
    "https://couriers.example/v1/../..",
    "https://couriers.example/%2e%2e/",
    "https://-couriers.example/",
    "https://" + "a." * 130 + "couriers.example/",
]


@pytest.fixture(scope="module")
def couriers() -> Party:
    return policy(POLICY).parties["couriers"]


@pytest.mark.parametrize("address", GOOD)
def test_an_address_at_a_declared_host_is_taken(couriers: Party, address: str) -> None:
    assert destination(couriers, address).scheme == "https"


@pytest.mark.parametrize("address", BAD)
def test_any_other_address_is_refused(couriers: Party, address: str) -> None:
    with pytest.raises(Refused):
        destination(couriers, address)


def test_plain_http_is_for_this_machine_alone(couriers: Party) -> None:
    assert destination(couriers, "http://couriers.example/", {"couriers.example": "127.0.0.1:80"}).at
    for found in ("10.0.0.1:80", "evil.example:80", "127.0.0.1", "localhost:80", "0.0.0.0:80"):
        with pytest.raises(Refused):
            destination(couriers, "http://couriers.example/", {"couriers.example": found})
    with pytest.raises(Refused):
        destination(couriers, "http://couriers.example/", {"other.example": "127.0.0.1:80"})


@pytest.mark.parametrize(
    "path",
    [
        "",
        "parcels",
        "//evil.example/",
        "/a//b",
        "/../b",
        "/a/..",
        "/a/./b",
        "/%2e%2e/b",
        "/%2E%2e",
        "/a%2fb",
        "/a%5cb",
        "/a\\b",
        "/a b",
        "/a\r\nHost: evil.example",
        "/a%0d%0aHost:%20evil.example",
        "/a%00",
        "/a%2",
        "/a?b=c",
        "/a#b",
        "https://evil.example/",
        "/é",
        "/" + "a" * 3000,
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        path_of(path)


def test_a_query_cannot_end_the_line_or_the_path() -> None:
    assert path_of("/a", {"b": "c d\r\nHost: x#y&z=1"}) == "/a?b=c+d%0D%0AHost%3A+x%23y%26z%3D1"


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "host",
        "Content-Length",
        "Transfer-Encoding",
        "transfer-encoding",
        "TE",
        "Trailer",
        "Connection",
        "Upgrade",
        "Expect",
        "Cookie",
        "Forwarded",
        "X-Forwarded-Host",
        "X-Forwarded-For",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Host-Override",
        "Proxy-Authorization",
        "Proxy",
        "Content-Type",
        "Host ",
        "Host:",
        "X\r\nHost",
        "X Y",
        "",
        "H\u043est",
    ],
)
def test_a_header_that_changes_where_or_how_a_request_goes_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        headers_of({name: "x"})


@pytest.mark.parametrize(
    "value", ["", " x", "x ", "a\r\nHost: b", "a\nb", "a\x00b", "a\x7f", "é", "x" * 5000]
)
def test_a_header_is_one_line_of_plain_characters(value: str) -> None:
    with pytest.raises(Refused):
        headers_of({"X-Trace": value})
    assert headers_of({"X-Trace": "a b"}) == [("X-Trace", "a b")]


def test_a_header_is_given_once() -> None:
    with pytest.raises(Refused):
        headers_of({"X-Trace": "a", "x-trace": "b"})


@pytest.mark.parametrize(
    "place",
    [
        "/people/b1@mail.example",
        "/people/b1%40mail.example",
        "/people/B1%40Mail.Example/x",
        "/x-YjFAbWFpbC5leGFtcGxl",
        "/x/6231406d61696c2e6578616d706c65",
    ],
)
def test_a_personal_value_in_an_address_or_header_is_found(place: str) -> None:
    with pytest.raises(Refused) as refused:
        refuse_personal(["b1@mail.example"], place)
    assert "b1" not in str(refused.value)
    refuse_personal(["b1@mail.example", "fr", None, True], "/people/new", "fresh")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # where clouds hand out credentials
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",  # as a translator between the two sorts of address writes them
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "::7f00:1",
        "fec0::1",
    ],
)
def test_a_name_that_leads_into_a_private_network_is_refused(address: str) -> None:
    with pytest.raises(Refused):
        refuse_private(["93.184.216.34", address])
    refuse_private(["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
