"""What the banner's server takes and refuses, each with a reason; its texts, and who may ask it."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from starlette.applications import Starlette

from kept.errors import KeptError
from kept.server import banner
from kept.server.banner_asks import LANGUAGES, SCRIPT, STYLE, Asks, Sites, texts
from kept.server.limits import Newcomers, Rate, network_of
from kept.state.tables import choice_events
from tests.acceptance.banner_site import World, world


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world") / "company") as made:
        yield made


@pytest.fixture
def client(site: World) -> Iterator[httpx.Client]:
    with site.client() as client:
        yield client


NUMBER = iter(range(1, 1 << 30))


def answer(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    """An honest answer, but for some changes."""
    told = client.get("/banner.json?language=en&region=fr").json()
    number = next(NUMBER)
    honest = {
        "id": f"{number:032x}",
        "visitor": f"{number:032x}",
        "notice": told["notice"],
        "at": told["now"],
        "region": "fr",
        "choices": {"statistics": "no"},
    }
    return {name: value for name, value in (honest | changes).items() if value is not ...}


def recorded(site: World) -> int:
    with site.company.state.read() as connection:
        return connection.scalar(select(func.count()).select_from(choice_events)) or 0


def refused(response: httpx.Response) -> tuple[int, str]:
    told = response.json()
    assert told["error"]
    return response.status_code, told["reason"]


def test_script_and_style_together_are_small(client: httpx.Client) -> None:
    sizes = [len(gzip.compress(client.get(path).content, 9)) for path in ("/banner.js", "/banner.css")]
    assert sum(sizes) <= 8 << 10
    assert client.get("/banner.js").content == SCRIPT and client.get("/banner.css").content == STYLE


def test_files_are_kept_by_caches_and_asked_for_again_by_their_tag(client: httpx.Client) -> None:
    for path, media in (("/banner.js", "text/javascript"), ("/banner.css", "text/css")):
        first = client.get(path)
        assert first.headers["Content-Type"].startswith(media)
        assert "max-age=3600" in first.headers["Cache-Control"]
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304 and again.content == b""
    told = client.get("/banner.json")
    assert told.headers["Cache-Control"] == "no-store"
    assert {"Origin", "Sec-GPC"} <= {one.strip() for one in told.headers["Vary"].split(",")}


def test_an_honest_answer_is_taken_and_the_same_again_is_known(site: World, client: httpx.Client) -> None:
    sent = answer(client, choices={"statistics": "yes", "advertising": "no"})
    first = client.post("/choices", json=sent)
    assert first.status_code == 201
    assert first.json()["states"] == {"statistics": "Given", "advertising": "Refused"}
    again = client.post("/choices", json=sent)
    assert again.status_code == 200 and again.json()["states"] == first.json()["states"]
    assert len(site.events(sent["visitor"])) == 2


def test_a_replayed_id_with_another_answer_is_refused(site: World, client: httpx.Client) -> None:
    sent = answer(client)
    assert client.post("/choices", json=sent).status_code == 201
    assert refused(client.post("/choices", json=sent | {"choices": {"statistics": "yes"}})) == (
        409,
        "replayed",
    )
    assert refused(client.post("/choices", json=sent | {"visitor": "e" * 32})) == (409, "replayed")
    assert [event.state for event in site.events(sent["visitor"])] == ["Refused"]


def test_whoever_answers_is_told_what_is_in_force_now(site: World, client: httpx.Client) -> None:
    yes = answer(client, choices={"statistics": "yes", "advertising": "yes"})
    told = client.post("/choices", json=yes).json()
    assert told["now"] == client.get("/banner.json").json()["now"]
    site.clock.on(minutes=1)
    no = answer(client, visitor=yes["visitor"])
    assert client.post("/choices", json=no).json()["states"] == {"statistics": "Withdrawn"}
    again = client.post("/choices", json=yes)  # its receipt was lost: what it said is over
    assert again.status_code == 200
    assert again.json()["states"] == {"statistics": "Withdrawn", "advertising": "Given"}
    stands = client.get(f"/banner.json?visitor={yes['visitor']}").json()["choices"]
    assert [(one["state"], one["here"]) for one in stands] == [("refused", True), ("given", True)]


def test_every_refusal_bears_the_time_by_which_browsers_know_it_is_kepts(client: httpx.Client) -> None:
    now = client.get("/banner.json").json()["now"]
    for response in (
        client.post("/choices", content="x"),
        client.post("/choices", json=answer(client, notice="0" * 64)),
        client.post("/choices", content=" " * 9000),
    ):
        assert response.is_client_error and response.json()["now"] == now


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ...},
        {"id": "1"},
        {"id": "G" * 32},
        {"id": "A" * 32},
        {"id": 7},
        {"id": "1" * 32 + "\n"},
        {"visitor": "1' OR '1'='1"},
        {"visitor": None},
        {"notice": "0" * 32},
        {"at": "yesterday"},
        {"at": "2026-03-01T00:00:00"},
        {"at": 1},
        {"region": "atlantis"},
        {"region": 5},
        {"choices": {}},
        {"choices": []},
        {"choices": {"statistics": True}},
        {"choices": {"statistics": "lapsed"}},
        {"choices": {"statistics": "revoked"}},
        {"choices": {str(number): "no" for number in range(51)}},
        {"way": "staff"},
        {"extra": 1},
    ],
)
def test_a_forged_answer_is_refused(site: World, client: httpx.Client, changes: dict[str, Any]) -> None:
    before = recorded(site)
    assert refused(client.post("/choices", json=answer(client, **changes))) == (400, "malformed")
    assert recorded(site) == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"notice": "0" * 64}, "unknown-notice"),
        ({"choices": {"newsletter": "yes"}}, "unknown-choice"),
        ({"choices": {"statistics": "yes", "newsletter": "yes"}}, "unknown-choice"),
        ({"at": "1999-01-01T00:00:00Z", "choices": {"statistics": "yes"}}, "impossible-time"),
    ],
)
def test_an_answer_to_what_was_never_asked_is_refused(
    site: World, client: httpx.Client, changes: dict[str, Any], reason: str
) -> None:
    sent = answer(client, **changes)
    assert refused(client.post("/choices", json=sent)) == (422, reason)
    assert site.events(sent["visitor"]) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"id":"', b"[" * 8000, b'{"a":1e999}']
)
def test_what_is_cut_off_or_no_answer_is_refused(client: httpx.Client, body: bytes) -> None:
    assert refused(client.post("/choices", content=body))[0] == 400


def test_what_is_too_long_is_refused_before_it_is_read(site: World, client: httpx.Client) -> None:
    assert refused(client.post("/choices", content=b" " * 9000)) == (413, "too-long")
    parts = (b" " * 1000 for _ in range(20))
    assert refused(client.post("/choices", content=parts)) == (413, "too-long")


def test_a_body_that_breaks_off_is_recorded_nowhere(site: World, client: httpx.Client) -> None:
    sent = answer(client)
    body = json.dumps(sent).encode()
    lines = (
        "POST /choices HTTP/1.1",
        "Host: x",
        f"Origin: {site.site_url}",
        f"Content-Length: {len(body)}",
        "",
        "",
    )
    head = "\r\n".join(lines).encode()
    with socket.create_connection(("127.0.0.1", site.kept.port)) as line:
        line.sendall(head + body[:-5])
    assert client.get("/banner.json").status_code == 200  # it is still there
    assert site.events(sent["visitor"]) == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://www.company.example",
        "http://www.company.example.evil.example",
    ],
)
def test_another_origin_is_refused_with_a_reason(site: World, client: httpx.Client, origin: str) -> None:
    sent = answer(client)
    response = client.post("/choices", json=sent, headers={"Origin": origin})
    assert refused(response) == (403, "wrong-origin")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert client.get("/banner.json", headers={"Origin": origin}).status_code == 403
    assert site.events(sent["visitor"]) == []


def test_an_answer_from_no_page_at_all_is_refused(site: World, client: httpx.Client) -> None:
    sent = answer(client)
    with httpx.Client(base_url=f"http://127.0.0.1:{site.kept.port}", trust_env=False) as nowhere:
        assert refused(nowhere.post("/choices", json=sent)) == (403, "wrong-origin")


def test_pages_of_the_companys_may_read_what_they_are_told(site: World, client: httpx.Client) -> None:
    for response in (client.get("/banner.json"), client.post("/choices", content=b"x")):
        assert response.headers["Access-Control-Allow-Origin"] == site.site_url
        assert "Origin" in response.headers["Vary"]
        assert response.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert Asks.of(site.company).sites.serve(site.site_url)


def test_more_sites_are_a_setting(site: World) -> None:
    settings = {**site.company.settings, "KEPT_SITES": "https://shop.example https://WWW.Lamps.example/"}
    more = Asks(replace(site.company, settings=settings, memory={}), texts(site.folder)).sites.origins
    assert more - Asks.of(site.company).sites.origins == {"https://shop.example", "https://www.lamps.example"}


def test_nobody_learns_anothers_answers_without_their_number(site: World, client: httpx.Client) -> None:
    sent = answer(client, choices={"statistics": "yes"})
    client.post("/choices", json=sent)
    stands = {
        visitor: client.get(f"/banner.json?visitor={visitor}").json()["choices"][0]["state"]
        for visitor in (sent["visitor"], "d" * 32, sent["visitor"][:-1], "%25", "")
    }
    assert [state for state in stands.values() if state] == ["given"] and stands[sent["visitor"]] == "given"


def test_two_hundred_answers_a_second_from_one_address_are_limited(tmp_path: Path) -> None:
    assert banner.ANSWERS.number / banner.ANSWERS.seconds < 200
    slow = Rate(banner.ANSWERS.number, 1e6)  # however slow this machine is, nothing is regained meanwhile
    with world(tmp_path / "company", answers=slow) as site, site.client() as client:
        sent = answer(client)
        codes = [client.post("/choices", json=sent).status_code for _ in range(200)]
        assert codes == [201] + [200] * (banner.ANSWERS.number - 1) + [429] * (200 - banner.ANSWERS.number)


def _posted(site: World, sent: list[tuple[str, dict[str, Any]]], **limits: Rate) -> list[tuple[int, str]]:
    """What is answered to answers from some network addresses: status, and when to try again."""
    app = Starlette(routes=banner.routes(site.office, **limits))

    async def post() -> list[tuple[int, str]]:
        found = []
        for address, one in sent:
            line = httpx.ASGITransport(app=app, client=(address, 1))
            async with httpx.AsyncClient(transport=line, base_url=site.kept_url) as client:
                got = await client.post("/choices", json=one, headers={"Origin": site.site_url})
                found.append((got.status_code, got.headers.get("Retry-After", "")))
        return found

    return asyncio.run(post())


def test_another_address_of_the_same_network_is_no_other_source(site: World, client: httpx.Client) -> None:
    sent = [(f"2001:db8:1:2::{number:x}", answer(client)) for number in range(1, 6)]
    elsewhere = [("2001:db8:1:3::1", answer(client)), ("203.0.113.5", answer(client))]
    codes = [code for code, _ in _posted(site, sent + elsewhere, answers=Rate(3, 1e6))]
    assert codes == [201, 201, 201, 429, 429, 201, 201]


def test_where_somebody_asks_from_is_their_network() -> None:
    assert [
        network_of(one) for one in ("203.0.113.5", "", "local", "::ffff:203.0.113.5", "fe80::1%eth0", "a:b")
    ] == [
        "203.0.113.5",
        "",
        "local",
        "203.0.113.5",
        "fe80::/64",
        "a:b",
    ]
    assert network_of("2001:DB8:1:2:a::1") == network_of("2001:db8:1:2::") == "2001:db8:1:2::/64"


def test_so_many_new_visitors_are_let_in_at_once_and_the_rest_keep_their_answers(
    site: World, client: httpx.Client
) -> None:
    """From however many networks they come; who was there before may always change their mind."""
    before = answer(client)
    client.post("/choices", json=before)
    new = [answer(client) for _ in range(4)]
    sent = [(f"203.0.113.{number}", one) for number, one in enumerate(new)]
    sent.append(("198.51.100.1", answer(client, visitor=before["visitor"])))
    sent.append(("198.51.100.2", answer(client, visitor=new[0]["visitor"])))
    assert _posted(site, sent, newcomers=Rate(2, 1e6)) == [
        (201, ""),
        (201, ""),
        (429, banner.AGAIN),
        (429, banner.AGAIN),
        (201, ""),
        (201, ""),
    ]
    assert [len(site.events(one["visitor"])) for one in new] == [2, 1, 0, 0]


def test_the_ceiling_on_new_visitors_looks_nobody_up_until_it_is_reached() -> None:
    looked: list[int] = []

    def was_here() -> bool:
        looked.append(1)
        return len(looked) == 2

    newcomers = Newcomers(Rate(1, 10), lambda: 0.0, known=1)
    assert newcomers.takes("a", was_here) and newcomers.takes("a", was_here) and looked == []
    assert not newcomers.takes("b", was_here) and newcomers.takes("c", was_here) and len(looked) == 2
    assert newcomers.takes("c", was_here) and len(looked) == 2
    assert not newcomers.takes("a", was_here)  # forgotten for `c`: no more are remembered than is set


def test_sites_are_named_as_browsers_name_them() -> None:
    named = [
        "https://Shop.Lumi.example:443/lamps",
        "http://lumi.example:80",
        "http://lumi.example:8080",
        "https://bücher.example",
        "https://straße.example",
        "https://[2001:DB8::1]:8443",
        "",
    ]
    assert Sites.of(named).origins == {
        "https://shop.lumi.example",
        "http://lumi.example",
        "http://lumi.example:8080",
        "https://xn--bcher-kva.example",
        "https://xn--strae-oqa.example",
        "https://[2001:db8::1]:8443",
    }


def test_every_site_below_a_host_may_ask_and_no_other() -> None:
    sites = Sites.of(["https://*.lumi.example", "http://*.lamps.example:8080"])
    for origin in ("https://a.lumi.example", "https://a.b.lumi.example", "http://a.lamps.example:8080"):
        assert sites.serve(origin), origin
    for origin in (
        "https://lumi.example",
        "http://a.lumi.example",
        "https://a.lumi.example:8443",
        "https://evil-lumi.example",
        "https://.lumi.example",
        "https://evil.example/.lumi.example",
        "https://evil.example#.lumi.example",
        "https://a.lumi.example.evil.example",
        "http://a.lamps.example",
        "null",
        "",
    ):
        assert not sites.serve(origin), origin


@pytest.mark.parametrize(
    "address",
    [
        "www.lumi.example",
        "ftp://lumi.example",
        "https://",
        "https://*",
        "https://*.example",
        "https://a b.example",
        "https://sh*p.lumi.example",
        "https://*.*.lumi.example",
        "https://lumi.example:99999",
        "https://a..example",
    ],
)
def test_an_address_no_browser_could_name_stops_the_server_with_what_to_write(
    site: World, address: str
) -> None:
    company = replace(site.company, settings={**site.company.settings, "KEPT_SITES": address}, memory={})
    with pytest.raises(KeptError, match="no address of a site") as wrong:
        Asks(company, texts(site.folder))
    assert wrong.value.help is not None and "https://*.example.org" in wrong.value.help


def test_a_language_is_a_file_and_the_companys_own_wins(site: World, tmp_path: Path) -> None:
    ours = texts(tmp_path)
    assert set(ours) == set(LANGUAGES)
    assert all(text.keys() == ours["en"].keys() for text in ours.values())
    own = tmp_path / "banner"
    own.mkdir()
    (own / "sv.json").write_text(json.dumps(dict(ours["en"]) | {"language": "sv", "accept": "Godkänn alla"}))
    (own / "en.json").write_text(
        json.dumps(dict(ours["en"]) | {"accept": "Yes to all", "choice:statistics": "Counting"})
    )
    asks = Asks(site.company, texts(tmp_path))
    assert asks.texts["sv"]["accept"] == "Godkänn alla" and asks.texts["en"]["accept"] == "Yes to all"
    assert [asks.language([tag]) for tag in ("sv-FI", "SV", "pt-BR", "fr-BE", "")] == [
        "sv",
        "sv",
        "en",
        "fr",
        "en",
    ]
    assert asks.language(["pt", "de-CH"]) == "de"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[]", "a map from words"),
        ('{"accept": 1}', "a map from words"),
        ('{"accept": "Godkänn"}', "lack language, direction"),
    ],
)
def test_half_a_language_is_refused_with_what_is_missing(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "banner").mkdir()
    (tmp_path / "banner" / "sv.json").write_text(text)
    with pytest.raises(KeptError, match=says) as wrong:
        texts(tmp_path)
    assert wrong.value.where == "banner/sv.json"


def test_a_text_without_its_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "banner").mkdir()
    english = dict(texts(tmp_path)["en"])
    (tmp_path / "banner" / "sv.json").write_text(json.dumps(english | {"signal": "Signalen följs."}))
    with pytest.raises(KeptError, match="places in braces"):
        texts(tmp_path)
    (tmp_path / "banner" / "sv.json").write_text(json.dumps(english | {"direction": "up"}))
    with pytest.raises(KeptError, match="ltr or rtl"):
        texts(tmp_path)
