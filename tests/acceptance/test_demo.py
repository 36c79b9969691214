"""`kept demo`: exactly the planted promises are broken before, and none after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.company import SiteLucent

PLANTED = {"collection.joining", "collection.no-more", "retention.account", "retention.usage"}
ON_THE_SITE = {"collection.site-visits", "choices.statistics"}
"""What only a browser sees."""
ATTESTED = {
    "choices.sharing",
    *(f"purposes.{name}" for name in ("improve-site", "follow-up", "contact-list", "sharing")),
    *(f"purposes.{name}" for name in ("deactivating", "lapsing")),
    *(f"retention.{name}" for name in ("visits", "enquiry")),
    *(f"rights.{name}" for name in ("access", "export", "erase")),
    *(f"security.{name}" for name in ("encryption", "in-europe")),
    "notices.changes",
}
"""What no machine can see all of, and the officer vouches for."""
ASKED_FIRST = {"choices.contact-list", "choices.reset", "choices.status", "choices.alerts"}
"""Messages before which Kept is asked."""


def demo(folder: Path, *options: str, people: int = 300, seed: int = 7) -> tuple[Any, str]:
    """What the demo shows as JSON, and what it says beside."""
    company = SiteLucent(folder)
    arguments = (
        "--people",
        str(people),
        "--seed",
        str(seed),
        "--no-serve",
        "--format",
        "json",
        "--dir",
        str(folder),
    )
    ran = company.kept("demo", "sitelucent", *arguments, *options)
    assert ran.code == 0, ran.err
    return ran.json(), ran.err


def verdicts(board: Any) -> dict[str, str]:
    return {promise["id"]: promise["verdict"] for promise in board["promises"]}


@pytest.mark.parametrize("seed", [1, 7, 12])
def test_exactly_the_planted_promises_are_broken_before_and_none_after(tmp_path: Path, seed: int) -> None:
    shown, _ = demo(tmp_path / "d", "--no-scan", seed=seed)
    broken = {id for id, verdict in verdicts(shown["before"]).items() if verdict == "broken"}
    assert broken == PLANTED
    after = verdicts(shown["after"])
    assert "broken" not in after.values()
    assert {id: after[id] for id in PLANTED | ASKED_FIRST} == dict.fromkeys(PLANTED | ASKED_FIRST, "kept")
    assert {id: after[id] for id in ON_THE_SITE} == dict.fromkeys(ON_THE_SITE, "unproven")
    assert shown["before"]["counts"]["broken"] == len(PLANTED)
    clauses = {clause for promise in shown["after"]["promises"] for clause in promise["clause"]}
    assert clauses == {f"SL-{number:02}" for number in range(1, 23)}


@pytest.mark.needs("chromium")
def test_on_postgresql_and_with_a_browser_every_promise_is_kept_or_attested(tmp_path: Path) -> None:
    shown, said = demo(tmp_path / "d", "--postgresql")
    before, after = verdicts(shown["before"]), verdicts(shown["after"])
    assert {id for id, verdict in before.items() if verdict == "broken"} == PLANTED | ON_THE_SITE
    assert {id for id, verdict in after.items() if verdict not in ("kept", "attested")} == set()
    assert {id for id, verdict in after.items() if verdict == "attested"} == ATTESTED
    kept = PLANTED | ON_THE_SITE | ASKED_FIRST | {"collection.contact-form"}
    assert {id: after[id] for id in kept} == dict.fromkeys(kept, "kept")
    assert "website was looked at in a browser: 0 things it may not do" in said
    assert "with no case: refused, it needs an open case" in said
    assert "the case is another's to work on" in said and "on record as" in said
    assert "the guard stands in app" in said
    assert "WEBSITE_URL" not in (tmp_path / "d" / ".env").read_text()


def test_without_a_browser_the_demo_says_what_stays_unproven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    shown, said = demo(tmp_path / "d", people=60)
    if verdicts(shown["after"])["choices.statistics"] == "kept":
        pytest.skip(
            "a browser stands where no PATH leads"
        )  # macOS, where applications have places of their own
    assert "the site isn't looked at: there is no Chromium on this machine" in said
    assert {verdicts(shown["after"])[id] for id in ON_THE_SITE} == {"unproven"}


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ran = SiteLucent(tmp_path).kept("demo", "--no-serve", "--dir", str(tmp_path))
    assert ran.code == 2 and "not empty" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
