"""An answer that was cut off: it says what the ledger counts, and is finished whatever record of it was lost."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.boundaries import RIGHTS
from tests.acceptance.postbox import Postbox, postbox
from tests.acceptance.site import Site


@pytest.fixture
def post() -> Iterator[Postbox]:
    with postbox() as box:
        yield box


def rows_in_answer(site: Site) -> dict[str, int]:
    """How many rows the one answer tells, by data."""
    [name] = site.answers()
    with zipfile.ZipFile(site.folder / "answers" / name) as answer:
        told = json.loads(answer.read("data.json"))["data"]
    return {data: sum(map(len, one["held"].values())) for data, one in told.items()}


@pytest.mark.parametrize(("spot", "more"), [("filed", 1), ("recorded", 0)])
def test_an_answer_tells_the_rows_that_the_ledger_counts_whenever_it_was_cut_off(
    tmp_path: Path, post: Postbox, spot: str, more: int
) -> None:
    site = Site.made(tmp_path / "site", None, 12, post)
    assert site.crash(spot, 1, *RIGHTS["access"].words(site))
    before = rows_in_answer(site)
    with closing(sqlite3.connect(site.folder / "app.sqlite")) as app:
        columns = [name for _, name, *_ in app.execute("PRAGMA table_info(usage_events)")]
        others = [name for name in columns if name != "id"]
        app.execute(
            f"INSERT INTO usage_events (id, {', '.join(others)}) SELECT (SELECT max(id) FROM usage_events) + 1,"
            f" {', '.join('2' if name == 'user_id' else name for name in others)} FROM usage_events LIMIT 1"
        )
        app.commit()
    site.finish()
    after = rows_in_answer(site)
    assert sum(after.values()) - sum(before.values()) == more
    [entry] = [one for one in site.entries() if one["act"] == "access"]
    assert {data: rows for data, rows in entry["rows"].items() if rows} == {
        data: rows for data, rows in after.items() if rows
    }
    assert site.state("SELECT state FROM requests") == [("done",)] and site.left() == {}


@pytest.mark.parametrize("right", ["access", "restrict", "erase"])
@pytest.mark.parametrize(("spot", "number"), [("before", 1), ("after", 1)])
def test_a_request_is_finished_though_the_record_of_unfinished_work_was_lost(
    tmp_path: Path, post: Postbox, right: str, spot: str, number: int
) -> None:
    site = Site.made(tmp_path / "site", None, 12, post)
    words = RIGHTS[right].words(site)
    with site.copied(tmp_path / "undisturbed") as copy:
        assert copy.kept(*words) == 0
        copy.finish()
        expected = copy.outcome()
    assert site.crash(spot, number, *words)
    for file in site.folder.glob("workflows.sqlite*"):
        file.unlink()  # as a power cut may leave it: what was noted last is gone
    site.finish()
    assert site.outcome() == expected
