"""Whatever is done to a policy file, reading it ends in problems in the file, never in a crash."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept.controls.registry import SECTIONS, check, policy_page
from kept.policy.read import read
from kept.policy.report import report
from kept.policy.source import Source

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/policy.yaml"))
TODAY = date(2026, 11, 22)
SIGNS = "{}[]:#?%~é\u2028\x00\x85\r\t-|\n'"
WORDS = [
    "is",
    "forever",
    "at once",
    "24 months after ",
    "user.ended",
    "elsewhere",
    "staff",
    "age < 13",
    " at ",
    "when: ",
]
SCRAPS = st.sampled_from(
    [
        *SIGNS,
        *WORDS,
        ", ",
        '"',
        "  ",
        "&a ",
        "*a",
        "!!str ",
        "<<",
        "---\n",
        "null",
        "[]",
        "{}",
        "of: ",
        "never: anything",
    ]
)


@cache
def texts() -> tuple[str, ...]:
    return tuple(path.read_text("utf-8") for path in EXAMPLES)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A policy with a few stretches cut out, doubled, moved, or replaced by scraps of the language."""
    text = draw(st.sampled_from(texts()))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 60))
        piece, rest = text[start : start + length], text[start + length :]
        how = draw(st.sampled_from(["cut", "scrap", "double", "line"]))
        if how == "scrap":
            piece = draw(SCRAPS)
        elif how == "double":
            piece *= 2
        elif how == "line":
            lines = text.split("\n")
            piece, rest = draw(st.sampled_from(lines)), text[start:]
        else:
            piece = ""
        text = text[:start] + piece + rest
    return text


def _examine(text: str) -> None:
    source = Source("policy.yaml", text)
    policy, problems = read(source, SECTIONS)
    if policy is not None:
        problems.found.extend(check(policy, today=TODAY).found)
        if not problems.errors:
            policy_page(policy, today=TODAY).html()
    for problem in problems.found:
        place = problem.span
        assert 1 <= place.line <= len(source.lines), problem
        assert 1 <= place.column <= len(source.line(place.line)) + 1, problem
        assert place.length >= 1, problem
    report(source, problems)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_a_mutated_policy_is_told_never_crashes(text: str) -> None:
    _examine(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_told_never_crashes(text: str) -> None:
    _examine(text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(range(5)), st.data())
def test_a_policy_that_lost_lines_is_told_never_crashes(which: int, data: st.DataObject) -> None:
    lines = texts()[which].split("\n")
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=12))
    _examine("\n".join(line for number, line in enumerate(lines) if number not in gone))
