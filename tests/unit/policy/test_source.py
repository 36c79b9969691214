"""Places in a file, and problems as people read them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from kept.controls.registry import load
from kept.errors import KeptError
from kept.policy.report import PolicyError, report
from kept.policy.source import Name, Problem, Problems, Source, Span, did_you_mean, nearest


def test_a_problem_shows_its_place_with_a_caret() -> None:
    source = Source("policy.yaml", "kept: 1\nlaws: gpdr\n")
    shown = Problem("unknown-word", '"gpdr" is not a law', Span(2, 7, 4), help='did you mean "gdpr"?').show(
        source
    )
    assert shown.splitlines() == [
        'error[unknown-word]: "gpdr" is not a law',
        " --> policy.yaml:2:7",
        "  |",
        "2 | laws: gpdr",
        "  |       ^^^^",
        '  = help: did you mean "gdpr"?',
    ]


def test_a_long_line_is_cut_around_the_place() -> None:
    source = Source("p", "x" * 300 + "HERE" + "y" * 300)
    shown = Problem("c", "m", Span(1, 301, 4)).show(source).splitlines()
    text, caret = shown[3], shown[4]
    assert len(text) < 130
    assert text[caret.index("^") : caret.rindex("^") + 1] == "HERE"


def test_a_secret_in_the_line_is_covered() -> None:
    source = Source("p", 'app: {at: "postgresql://shop:hunter2@db/shop"}, crm: {at: sk_live_abcdef123}')
    shown = Problem("c", "m", Span(1, 1)).show(source)
    assert "hunter2" not in shown
    assert "abcdef" not in shown


def test_control_characters_never_reach_a_terminal() -> None:
    shown = Problem("c", "m", Span(1, 1)).show(Source("p", "a\x1b[31mred\u2028b"))
    assert "\x1b" not in shown
    assert "\u2028" not in shown


def test_problems_are_told_once_and_in_the_order_of_the_file() -> None:
    problems = Problems()
    problems.finding("b", "second", Span(2, 1))
    problems.error("a", "first", Span(1, 5))
    problems.error("a", "first", Span(1, 5))
    assert [problem.message for problem in problems.in_order()] == ["first", "second"]
    assert report(Source("p", "x\ny"), problems).endswith("\n\n1 error, 1 finding in p\n")


def test_a_name_is_its_text_wherever_it_goes() -> None:
    name = Name("user", Span(3, 4, 4))
    assert {str(name): 1}[name] == 1
    assert copy.deepcopy(name).span == name.span
    assert pickle.loads(pickle.dumps(name)).span == name.span


def test_the_nearest_word_is_near() -> None:
    assert nearest("purpose", ["purposes", "parties"]) == "purposes"
    assert nearest("xyz", ["purposes", "parties"]) is None
    assert did_you_mean("xyz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("xyz", []) == "none is declared yet"


def test_a_policy_with_errors_is_no_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("kept: 1\n", "utf-8")
    with pytest.raises(PolicyError) as wrong:
        load(path)
    assert {problem.code for problem in wrong.value.problems.errors} == {"missing-header"}
    assert "`policy` is missing" in str(wrong.value)


def test_a_file_that_is_missing_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeptError, match="No such file"):
        load(tmp_path / "policy.yaml")
    (tmp_path / "policy.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KeptError, match="UTF-8"):
        load(tmp_path / "policy.yaml")
