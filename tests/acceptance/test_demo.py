"""`kept demo`: exactly the planted promises are broken before, and none after."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.company import SiteLucent

PLANTED = {"collection.joining", "collection.no-more", "retention.account", "retention.usage"}


@pytest.mark.parametrize("seed", [1, 7, 12])
def test_exactly_the_planted_promises_are_broken_before_and_none_after(tmp_path: Path, seed: int) -> None:
    company = SiteLucent(tmp_path / "d")
    ran = company.kept(
        "demo",
        "sitelucent",
        "--people",
        "300",
        "--seed",
        str(seed),
        "--no-serve",
        "--format",
        "json",
        "--dir",
        str(company.folder),
    )
    assert ran.code == 0, ran.err
    shown = ran.json()
    broken = {promise["id"] for promise in shown["before"]["promises"] if promise["verdict"] == "broken"}
    assert broken == PLANTED
    after = {promise["id"]: promise["verdict"] for promise in shown["after"]["promises"]}
    assert "broken" not in after.values()
    assert {promise: after[promise] for promise in PLANTED} == dict.fromkeys(PLANTED, "kept")
    assert shown["before"]["counts"]["broken"] == len(PLANTED)
    clauses = {clause for promise in shown["after"]["promises"] for clause in promise["clause"]}
    assert clauses == {f"SL-{number:02}" for number in range(1, 23)}


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ran = SiteLucent(tmp_path).kept("demo", "--no-serve", "--dir", str(tmp_path))
    assert ran.code == 2 and "not empty" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
