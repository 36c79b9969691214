"""The five example companies: their policies read, keep every promise of the published texts, and become pages."""

from __future__ import annotations

import json
import re
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from kept.controls.registry import SECTIONS, check, load, policy_page, sentence
from kept.policy.page import anchors
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source

EXAMPLES = Path(__file__).parents[3] / "examples"
COMPANIES = ("lucent-commerce", "lucent-marketplace", "lumnar", "sitelucent", "lumensol")
PROMISED = {"LC": 18, "LM": 50, "LU": 21, "SL": 22, "LS": 24}
TODAY = date(2026, 11, 22)


@cache
def policy(company: str) -> Policy:
    return load(EXAMPLES / company / "policy.yaml")


@pytest.mark.parametrize("company", COMPANIES)
def test_an_example_has_no_errors(company: str) -> None:
    assert [problem.message for problem in check(policy(company), today=TODAY).errors] == []


def test_the_examples_declare_every_promise_of_the_published_texts() -> None:
    cited = {
        re.sub(r"[a-z]$", "", str(clause))
        for company in COMPANIES
        for entry in policy(company).entries()
        for clause in entry.clause
    }
    assert cited == {
        f"{text}-{number:02}" for text, count in PROMISED.items() for number in range(1, count + 1)
    }


@pytest.mark.parametrize("company", COMPANIES)
def test_every_promise_reads_as_a_sentence(company: str) -> None:
    for promise in policy(company).every_promise():
        said = sentence(policy(company), promise)
        assert said[0].isupper(), said
        assert said.endswith("."), said
        assert not re.search(r"None|\{|\}|  |,,|\.\.| ,|\b(\w+) \1\b", said), said
        assert "_" not in said.replace("app_support", ""), said


@pytest.mark.parametrize("company", COMPANIES)
def test_a_page_has_an_anchor_for_every_promise_in_every_form(company: str) -> None:
    page = policy_page(policy(company), today=TODAY)
    html, markdown, data = page.html(), page.markdown(), json.loads(page.json())
    assert list(anchors(page)) == [promise.id for promise in policy(company).every_promise()]
    for promise in policy(company).every_promise():
        assert f'id="{promise.id}"' in html
        for clause in promise.clause:
            assert clause in markdown
    assert [part["id"] for part in data["parts"]] == [
        name for name, section in policy(company).promises.items() if section
    ]


def test_a_page_for_one_region_leaves_others_out() -> None:
    everywhere = policy_page(policy("lumensol"), today=TODAY)
    british = policy_page(policy("lumensol"), today=TODAY, region="uk")
    assert [controller.name for controller in everywhere.controllers] == ["Lumensol Ltd", "Lumensol BV"]
    assert [controller.name for controller in british.controllers] == ["Lumensol Ltd"]
    american = policy_page(policy("lumnar"), today=TODAY, region="us-ca")
    assert "rights.object" not in set(anchors(american))
    assert "rights.access" in set(anchors(american))


def test_the_page_says_what_the_law_wants_told() -> None:
    html = policy_page(policy("lumensol"), today=TODAY).html()
    for told in (
        "privacy@lumensol.example",
        "our legitimate interest",
        "the Information Commissioner",
        "service providers",
        "24 months after",
        "You can object",
        "public sources",
    ):
        assert told in html, told


def test_what_a_file_says_is_text_on_the_page_never_markup() -> None:
    source = Source(
        "policy.yaml",
        (EXAMPLES / "lumnar/policy.yaml")
        .read_text("utf-8")
        .replace("account details", "<script>alert(1)</script> | x"),
    )
    read_policy, problems = read(source, SECTIONS)
    assert read_policy is not None
    assert problems.errors == []
    page = policy_page(read_policy, today=TODAY)
    assert "<script" not in page.html()
    assert "<script>alert(1)</script> \\| x" in page.markdown()
