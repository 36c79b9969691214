"""`kept disclose`, `kept disclosures` and `/api/disclose`, as staff and programs use them."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kept.cli.main import kept
from kept.company import opened
from kept.controls.disclosure.prove import prove
from kept.controls.registry import load
from kept.errors import KeptError
from kept.evidence.proof import Verdict, worst
from tests.acceptance.company import SiteLucent
from tests.acceptance.connected import with_hubspot
from tests.acceptance.disclosing import POLICY, shop
from tests.acceptance.serving import inside

DOCUMENT = "document=order 7 of the court"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with shop(tmp_path / "atelier"):
        pass
    (tmp_path / "atelier" / "policy.yaml").write_text(POLICY, "utf-8")
    return tmp_path / "atelier"


def run(folder: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(kept, [*arguments, "--dir", str(folder)])
    if isinstance(result.exception, Exception) and not isinstance(result.exception, KeptError):
        raise result.exception
    return result


def test_what_goes_to_an_authority_is_printed_and_listed(folder: Path) -> None:
    asked = ("disclose", "authorities", "b1@mail.example", "buyer:2", "--for", "demands", "--data", "contact")
    dry = run(folder, *asked, "--evidence", DOCUMENT, "--dry-run")
    assert dry.exit_code == 0 and json.loads(dry.stdout)["people"] == ["buyer:1", "buyer:2"]
    assert json.loads(run(folder, "disclosures", "--format", "json").stdout) == []
    done = run(folder, *asked, "--evidence", DOCUMENT, "--by", "clerk:4")
    assert done.exit_code == 0
    given = json.loads(done.stdout)["records"]
    assert given["buyer:2"] == {
        "shop.buyers": [{"country": "fr", "email": "b2@mail.example", "name": "Buyer Nr 2"}]
    }
    listed = json.loads(
        run(folder, "disclosures", "--of", "buyer:1", "--format", "json", "--evidence").stdout
    )
    assert [(one["recipient"], one["ground"], one["evidence"]) for one in listed] == [
        ("authorities", "legal-duty", {"document": "order 7 of the court"})
    ]
    text = run(folder, "disclosures", "--to", "authorities").stdout
    assert text.count("\n") == 2 and "legal-duty" in text and "b1@" not in text and "court" not in text
    assert run(folder, "disclosures", "--since", "2999-01-01").stdout == "Nothing was given.\n"
    (given_at,) = {one["at"] for one in listed}
    moment = datetime.fromisoformat(given_at).astimezone(timezone(timedelta(hours=9)))
    assert run(folder, "disclosures", "--since", moment.isoformat()).stdout.count("\n") == 2


def test_what_was_said_as_evidence_does_nothing_on_a_terminal(folder: Path) -> None:
    said = "document=order 7\x1b[2J\r\nof the court"
    run(folder, "disclose", "authorities", "buyer:1", "--for", "demands", "--evidence", said)
    told = run(folder, "disclosures", "--evidence").stdout
    assert told.count("\n") == 1 and "\x1b" not in told and "order 7" in told


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("authorities", "buyer:1", "--for", "demands"), "refused, document"),
        (("authoritiеs", "buyer:1", "--for", "demands"), "refused, lookalike"),  # a Cyrillic letter
        (("couriers", "buyer:1", "--for", "sale"), "refused, sale"),
        (("couriers", "buyer:1", "--for", "printing"), "refused, undeclared"),
        (("networks", "buyer:1", "--for", "networks"), "refused, choice"),
        (("networks", "buyer:1"), "refused, purpose"),
    ],
)
def test_what_is_refused_says_why_and_ends_with_one(folder: Path, asked: tuple[str, ...], says: str) -> None:
    result = run(folder, "disclose", *asked)
    assert result.exit_code == 1 and says in result.stderr and result.stdout == ""
    assert json.loads(run(folder, "disclosures", "--format", "json").stdout) == []


def test_people_come_from_a_file_and_nobody_is_guessed(folder: Path) -> None:
    (folder / "whos").write_text("buyer:1\nb2@mail.example\n", "utf-8")
    result = run(
        folder, "disclose", "couriers", f"@{folder / 'whos'}", "--for", "delivery", "--format", "text"
    )
    assert result.exit_code == 0 and result.stdout.startswith("buyer:1: {") and "register" in result.stderr
    lost = CliRunner().invoke(kept, ["disclose", "couriers", "nobody@mail.example", "--dir", str(folder)])
    assert isinstance(lost.exception, KeptError) and "nobody@" not in str(lost.exception)
    assert "nobody is known by it; nothing was given" in str(lost.exception)


def test_programs_disclose_over_http_with_the_token_alone(folder: Path) -> None:
    with inside(folder) as running, running.client(api=True) as client, running.client() as nobody:
        asked: dict[str, Any] = {
            "recipient": "couriers",
            "purpose": "delivery",
            "whos": ["buyer:1", "buyer:77"],
            "records": {"buyer:1": {"email": "b1@mail.example", "iban": "x"}, "buyer:77": {"email": "x"}},
            "key": "parcel-1",
        }
        assert nobody.post("/api/disclose", json=asked).status_code == 401
        first, second = (client.post("/api/disclose", json=asked).json() for _ in range(2))
        assert first["records"] == {"buyer:1": {"email": "b1@mail.example"}} and first["stripped"] == ["iban"]
        assert list(first["refused"]) == ["buyer:77"] and (first["again"], second["again"]) == (False, True)
        for wrong, rule in (
            ({"purpose": "sale"}, "sale"),
            ({"in_return": "5 euro"}, "sale"),
            ({"recipient": "couriers."}, "lookalike"),
            (
                {"whos": ["buyer:2"], "records": {"buyer:2": {"email": "b1@mail.example"}}, "key": None},
                "another",
            ),
            ({"records": {"buyer:1": {"name": "x"}, "buyer:77": {"name": "y"}}}, "replayed"),
        ):
            answer = client.post("/api/disclose", json=asked | wrong)
            assert (answer.status_code, answer.json()["rule"]) == (403, rule)
        assert client.post("/api/disclose", json=asked | {"records": {}}).status_code == 422
        same: dict[str, Any] = {"whos": ["buyer:1", "b1@mail.example"], "key": None}
        same["records"] = {"buyer:1": {"name": "x"}, "b1@mail.example": {"name": "y"}}
        assert client.post("/api/disclose", json=asked | same).status_code == 422  # one person, two records
        listed = client.get("/api/disclosures", params={"who": "buyer:1"}).json()
        assert [one["fields"] for one in listed] == [["shop.buyers.email"]]
        assert len(client.get("/api/disclosures", params={"to": "couriers"}).json()) == 1
        assert client.get("/api/disclosures", params={"to": "courier"}).status_code == 422


def test_sitelucents_own_disclosures_are_measured_on_what_is_there(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "sitelucent")

    def verdicts() -> dict[str, Verdict]:
        with opened(load(made.folder / "policy.yaml"), made.folder) as company:
            section = company.policy.section("disclosure")
            return {str(name): worst(prove(company, promise)) for name, promise in section.items()}

    # no browser looked, and HubSpot isn't there: nothing is taken for kept that wasn't seen
    assert set(verdicts().values()) == {"unproven"}
    with with_hubspot(made):
        assert verdicts()["crm"] == "kept"
        file = made.folder / "policy.yaml"
        text = file.read_text("utf-8")
        file.write_text(
            text.replace("crm:        {to: hubspot, gives: enquiry", "crm: {to: hubspot, gives: account"),
            "utf-8",
        )
        assert (
            verdicts()["crm"] == "broken" == verdicts()["nobody-else"]
        )  # what stands there isn't given to it


def test_an_answer_to_access_tells_whom_the_data_was_given_to_and_an_export_does_not(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY + "rights:\n  access: {}\n  export: {}\n", "utf-8")
    run(folder, "disclose", "authorities", "buyer:1", "--for", "demands", "--evidence", DOCUMENT)
    told: dict[Path, str] = {}
    for verb in ("access", "export"):
        assert run(folder, "request", verb, "buyer:1", "--by", "tester").exit_code == 0
        (answer,) = set((folder / "answers").glob("*.zip")) - set(told)
        with zipfile.ZipFile(answer) as archive:
            told[answer] = archive.read("data.json").decode()
    access, export = (json.loads(text)["data"] for text in told.values())
    ((given,),) = access["whom it was given to"]["held"].values()
    assert (given["recipient"], given["role"], given["ground"]) == ("authorities", "authority", "legal duty")
    assert "whom it was given to" not in export and not any("court" in text for text in told.values())
