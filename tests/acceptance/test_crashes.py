"""A `kill -9` at any boundary of a step: the next run finishes, and the ledger has each act once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.company import SiteLucent

PLACES = 40  # more than any run here has


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> SiteLucent:
    return SiteLucent.made(tmp_path_factory.mktemp("planted") / "company", planted=True)


def _past(company: SiteLucent) -> dict[str, int]:
    """Rows past their limit, by the dry run's exact count."""
    swept = company.kept("sweep", "--dry-run", "--format", "json").json()["swept"]
    return {line["place"]: line["rows"] for line in swept}


@pytest.mark.parametrize("spot", ["before", "after", "noted", "committed"])
def test_a_sweep_survives_a_kill_at_every_place(planted: SiteLucent, tmp_path: Path, spot: str) -> None:
    due = _past(planted)
    assert set(due) == {"app.users", "app.usage_events"} and all(due.values())
    for number in range(1, PLACES):
        company = planted.copied(tmp_path / f"{number}")
        killed = company.crash(spot, number, "sweep")
        done = company.kept("sweep", "--format", "json")
        assert done.code == 0, done.err
        assert not any(_past(company).values())
        entries = company.ledger("sweep")
        assert sorted(entry["place"] for entry in entries) == ["app.usage_events", "app.users"]
        assert {entry["place"]: entry["rows"] for entry in entries} == due
        if not killed:
            assert number > 1
            return
    raise AssertionError("the run never ended by itself")


@pytest.mark.parametrize("spot", ["before", "after", "noted", "committed"])
def test_an_erasure_survives_a_kill_at_every_place(planted: SiteLucent, tmp_path: Path, spot: str) -> None:
    [(first, last, email)] = planted.ask("SELECT first_name, last_name, email FROM users WHERE id = 2")
    events = planted.ask("SELECT count(*) FROM usage_events WHERE user_id = 2")[0][0]
    for number in range(1, PLACES):
        company = planted.copied(tmp_path / f"{number}")
        killed = company.crash(spot, number, "request", "erase", "user:2")
        company.kept("request", "erase", "user:2")  # joins what was open, or finds that it is done
        assert company.ask("SELECT count(*) FROM users WHERE id = 2") == [(0,)]
        entries = company.ledger("erase")
        assert len(entries) == 1 and entries[0]["remains"] == 0
        [batch] = company.ledger("erase batch")
        assert batch["counts"]["app user"]["usage_events"]["deleted"] == events
        assert batch["counts"]["app user"]["users"]["deleted"] == 1
        for text in (first, last, email):
            assert company.files_with(text) == []
        if not killed:
            assert number > 1
            return
    raise AssertionError("the run never ended by itself")
