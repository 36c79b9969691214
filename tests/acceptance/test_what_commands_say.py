"""What commands say to somebody who mistypes, asks for what isn't there, or asks for what has no answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.company import SiteLucent
from tests.acceptance.connected import Connected

DAYS = ("--since", "2026-01-01", "--until", "2026-02-01")
NOWHERE = ("--export", "/nonexistent/usage.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Connected:
    return Connected(SiteLucent.made(tmp_path_factory.mktemp("made") / "site").folder)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("page", "-o", "/nonexistent/page.md"), "can't be written: No such file or directory"),
        (
            ("groups", "improve-app", "usage", "--by", "page", *DAYS, "--to", "analyst", *NOWHERE),
            "can't be written: No such file or directory",
        ),
        (("audience", "support"), "`support` needs a case, so it has no audience"),
        (("audience", "improve-app"), "`improve-app` is about groups, so it has no audience"),
        (("audience", "sharing"), "`sharing` needs evidence (written-consent), so it has no audience"),
        (("groups", "alerts", "account", "--by", "source", "--to", "analyst"), "about single people, not groups"),
        (("groups", "nonsense", "account", "--to", "analyst"), "help: known: improve-site"),
        (("look", "user:1", "--for", "nonsense", "--by", "engineer:1"), "help: known: improve-site"),
        (
            ("look", "user:1", "--for", "analyse-error", "--by", "engineer:1", "--case", "bla"),
            "a case is written `error:81` or `case:ID`",
        ),
        (("case", "open", "error", "user:1", "--for", "engineer:1", "--why", "x", "--until", "tomorrow"), "`3 days`"),
        (("case", "open", "error", "user:1", "--for", "engineer:1", "--why", "x", "--until", "at once"), "`3 days`"),
        (("disclosures", "--to", "analytic"), "--to: no such recipient\n  help: known: sitelucent, hubspot, analytics"),
        (("access-review", "--name", " "), "--name: somebody reviews it, by name"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_what_would_do(made: Connected, asked: tuple[str, ...], says: str) -> None:
    ran = made.run(*asked)
    assert ran.code == 2 and says in ran.err and "internal error" not in ran.err and not ran.out, ran


def test_an_export_that_cannot_be_written_counts_nothing(made: Connected, tmp_path: Path) -> None:
    asked = (
        "groups",
        "improve-app",
        "usage",
        "--by",
        "page",
        "--since",
        "2026-03-01",
        "--until",
        "2026-04-01",
    )
    assert made.run(*asked, "--to", "analyst", "--export", str(tmp_path / "gone" / "usage.csv")).code == 2
    otherwise = made.run(*asked, "--count", "people", "--to", "analyst")
    assert otherwise.code == 0, otherwise.err


def test_a_misspelt_role_is_told_the_roles_there_are_and_a_word_that_is_none_is_not_repeated(
    made: Connected,
) -> None:
    ran = made.run("look", "user:1", "--for", "analyse-error", "--by", "Engineer:5")
    assert ran.code == 1 and "no `Engineer`; staff: engineer, support" in ran.out
    ran = made.run("look", "user:1", "--for", "analyse-error", "--by", "ada@mail.example:5")
    assert ran.code == 1 and "ada@" not in ran.out + ran.err and "staff: engineer" in ran.out
    ran = made.run("look", "user:1", "--for", "analyse-error", "--by", "engineer")
    assert ran.code == 1 and "by role and key" in ran.out


def test_of_somebody_who_is_not_there_it_is_said_and_of_somebody_who_is_it_is_not(made: Connected) -> None:
    missing = "Nobody with that key is there now.\n"
    for asked, none in (
        (("look", "{}", "--of"), "Nobody looked"),
        (("disclosures", "--of", "{}"), "Nothing was"),
    ):
        ran = made.run(*(word.format("user:999999") for word in asked))
        assert ran.code == 0 and ran.out.startswith(none) and ran.out.endswith(missing)
        assert missing not in made.run(*(word.format("user:1") for word in asked)).out
        shown = made.run(*(word.format("user:999999") for word in asked), "--format", "json")
        assert json.loads(shown.out) == []


def test_a_recipient_that_the_policy_names_is_no_mistake(made: Connected) -> None:
    assert made.run("disclosures", "--to", "analytics").out == "Nothing was given.\n"


def test_a_review_says_that_it_is_on_record_and_what_nobody_can_see(made: Connected) -> None:
    ran = made.run("access-review", "--name", "Ada Example")
    assert "Access was reviewed by Ada Example: noted on the ledger, without the name.\n" in ran.out
    [line] = [line for line in ran.out.splitlines() if "representative" in line and "not seen" not in line]
    assert line.startswith("unknown  staff  representative  never seen")
    assert "reviewed by" not in made.run("access-review").out
    roles = json.loads(made.run("access-review", "--name", "Ada Example", "--format", "json").out)["roles"]
    assert {one["role"]: one["unused"] for one in roles}["representative"] is None
    [*_, entry] = made.ledger("access-review")
    assert entry["unknown"] >= 1 and "Ada" not in json.dumps(entry)


def test_what_waits_for_a_decision_is_shown_whole_on_any_terminal(made: Connected) -> None:
    assert made.run("decide", "list", "--all").out == "Nothing was ever proposed.\n"
    assert made.run("decide", "list").out == "Nothing waits for a decision.\n"
    proposed = made.run("decide", "propose", "deactivating", "user:1", "--by", "the\x1b[2J shop")
    assert proposed.code == 0, proposed.err
    first, second = made.run("decide", "list").out.splitlines()
    assert (
        "  deactivating: user:1, proposed 20" in first
        and first.endswith(" shop, open")
        and "\x1b" not in first
    )
    assert second == "  would end their account"
