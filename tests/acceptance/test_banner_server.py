"""What the banner's server takes and refuses, each with a reason; its texts, and who may ask it."""

from __future__ import annotations

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

from kept.errors import KeptError
from kept.server import banner
from kept.server.banner_asks import LANGUAGES, SCRIPT, STYLE, Asks, texts
from kept.server.limits import Rate
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
    assert site.site_url in Asks.of(site.company).origins


def test_more_sites_are_a_setting(site: World) -> None:
    settings = {**site.company.settings, "KEPT_SITES": "https://shop.example https://WWW.Lamps.example/"}
    more = Asks(replace(site.company, settings=settings, memory={}), texts(site.folder)).origins
    assert more - Asks.of(site.company).origins == {"https://shop.example", "https://www.lamps.example"}


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
