"""Zips of a batch: what is in them, how they are written, and what a failure leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import stat
import subprocess
import tracemalloc
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from kept.controls.registry import load, sentence
from kept.controls.rights.answers import answer
from kept.controls.rights.answers.archives import Archives, Frame, Sought, slots_of
from kept.controls.rights.answers.forms import ON_PAGE, Row
from kept.errors import TransientError
from kept.stores.walk import Key

POLICY = load(Path(__file__).parents[4] / "examples/sitelucent/policy.yaml")
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "app.users": {"email": ("account",), "name": ("account", "usage"), "joined": ("user",)},
    "app.hits": {"page": ("usage",), "wish": ("usage",)},
}
PEOPLE: dict[Key, str] = {("1",): "a" * 32, ("2",): "b" * 32}


def frame() -> Frame:
    at = datetime(2026, 1, 31, 12, 30, 10, tzinfo=UTC)
    return answer.frame(POLICY, at, slots_of(NAMES), partial(sentence, POLICY))


def written(
    folder: Path,
    *portions: tuple[str, Sequence[tuple[Key, Row]]],
    memory: int = 1 << 20,
    people: dict[Key, str] = PEOPLE,
) -> dict[str, dict[str, int]]:
    with Archives(frame(), folder, people, memory=memory) as archives:
        for place, rows in portions:
            archives.take(place, rows)
        return archives.write()


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


USERS: list[tuple[Key, Row]] = [
    (("1",), {"email": "a@x.org", "name": "Ann", "joined": None}),
    (("2",), {"email": "b@x.org", "name": "Ben", "joined": None}),
]
HITS: list[tuple[Key, Row]] = [
    (("1",), {"page": "/a"}),
    (("1",), {"page": "/b", "wish": "tea"}),
    (("1",), {"wish": "pot"}),
]


@pytest.mark.parametrize("memory", [0, 40, 1 << 20])
def test_each_person_has_their_rows_by_data_and_nobody_elses(tmp_path: Path, memory: int) -> None:
    counts = written(tmp_path, ("app.users", USERS), ("app.hits", HITS), memory=memory)
    assert counts == {
        "a" * 32: {"account": 1, "usage": 4, "user": 1},
        "b" * 32: {"account": 1, "usage": 1, "user": 1},
    }
    told = json.loads(contents(tmp_path / f"{'a' * 32}.zip")["data.json"])["data"]
    assert told["account"]["held"] == {"app.users": [{"email": "a@x.org", "name": "Ann"}]}
    assert told["usage"]["held"] == {"app.users": [{"name": "Ann"}], "app.hits": [row for _, row in HITS]}
    other = contents(tmp_path / f"{'b' * 32}.zip")
    assert not any(b"Ann" in content or b"a@x.org" in content for content in other.values())


def test_a_csv_has_each_value_under_its_column_where_rows_differ(tmp_path: Path) -> None:
    written(tmp_path, ("app.users", USERS), ("app.hits", HITS))
    text = contents(tmp_path / f"{'a' * 32}.zip")["usage/app.hits.csv"].decode()
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"page": "/a", "wish": ""},
        {"page": "/b", "wish": "tea"},
        {"page": "", "wish": "pot"},
    ]


def test_a_spilled_answer_is_the_same_as_one_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder, memory in (("a", 0), ("b", 1 << 30)):
        written(tmp_path / folder, ("app.users", USERS), ("app.hits", HITS * 50), memory=memory)
    for request in PEOPLE.values():
        name = f"{request}.zip"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_rows_of_a_person_may_come_in_several_portions(tmp_path: Path) -> None:
    written(tmp_path, *(("app.hits", [hit]) for hit in HITS))
    files = contents(tmp_path / f"{'a' * 32}.zip")
    assert json.loads(files["data.json"])["data"]["usage"]["held"]["app.hits"] == [row for _, row in HITS]
    assert files["usage/app.hits.csv"].count(b"page") == 1


def test_a_person_without_rows_is_told_so(tmp_path: Path) -> None:
    counts = written(tmp_path)
    assert counts["a" * 32] == {"account": 0, "usage": 0}
    files = contents(tmp_path / f"{'a' * 32}.zip")
    assert set(files) == {"index.html", "data.json"}
    assert files["index.html"].count(b"<p>Nothing.</p>") == 2


def test_the_page_shows_the_first_rows_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    rows: list[tuple[Key, Row]] = [(("1",), {"page": f"/p{n}.", "wish": ""}) for n in range(ON_PAGE + 3)]
    written(tmp_path, ("app.hits", rows[: ON_PAGE - 1]), ("app.hits", rows[ON_PAGE - 1 :]))
    files = contents(tmp_path / f"{'a' * 32}.zip")
    page = files["index.html"].decode()
    assert f"/p{ON_PAGE - 1}." in page and f"/p{ON_PAGE}." not in page
    assert f"app.hits: {ON_PAGE + 3} rows" in page
    assert f"…and 3 more rows in <code>data.json</code>: this page shows the first {ON_PAGE}" in page
    assert files["usage/app.hits.csv"].count(b"\r\n") == ON_PAGE + 4
    assert len(json.loads(files["data.json"])["data"]["usage"]["held"]["app.hits"]) == ON_PAGE + 3


def test_an_answer_is_its_owners_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    written(tmp_path, ("app.users", USERS), memory=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{r}.zip" for r in PEOPLE.values())
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failure_leaves_neither_part_nor_zip(tmp_path: Path) -> None:
    def stop() -> None:
        with Archives(frame(), tmp_path, PEOPLE) as archives:
            archives.take("app.users", USERS)
            (tmp_path / f"{'a' * 32}.part").write_bytes(b"half")
            raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError):
        stop()
    assert list(tmp_path.iterdir()) == []


def test_a_part_left_by_a_crash_is_written_anew(tmp_path: Path) -> None:
    part = tmp_path / f"{'a' * 32}.part"
    part.write_bytes(b"x" * 100_000)
    written(tmp_path, ("app.users", USERS))
    assert not part.exists()
    assert "data.json" in contents(tmp_path / f"{'a' * 32}.zip")


def test_a_folder_that_is_gone_is_an_error_one_can_try_again_after(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()

    def write() -> None:
        with Archives(frame(), folder, PEOPLE) as archives:
            shutil.rmtree(folder)
            archives.write()

    with pytest.raises(TransientError, match="can't be written"):
        write()


def test_a_large_answer_is_never_in_memory(tmp_path: Path) -> None:
    rows: list[tuple[Key, Row]] = [
        (("1",), {"page": os.urandom(1500).hex(), "wish": None}) for _ in range(1000)
    ]
    tracemalloc.start()
    with Archives(frame(), tmp_path, {("1",): "a" * 32}, memory=1 << 20) as archives:
        for _ in range(20):
            archives.take("app.hits", rows)
        archives.write()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with zipfile.ZipFile(tmp_path / f"{'a' * 32}.zip") as archive:
        size = sum(info.file_size for info in archive.infolist())
    assert size > 110 << 20  # as JSON and as CSV
    assert peak < 40 << 20  # some portions of 3 MB in three forms


def test_a_file_too_large_for_a_plain_zip_can_be_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1 << 20)
    rows: list[tuple[Key, Row]] = [(("1",), {"page": "x" * 2000, "wish": None}) for _ in range(1000)]
    written(tmp_path, ("app.hits", rows))
    path = tmp_path / f"{'a' * 32}.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("data.json").extract_version == zipfile.ZIP64_VERSION
    assert len(json.loads(contents(path)["data.json"])["data"]["usage"]["held"]["app.hits"]) == 1000
    if unzip := shutil.which("unzip"):
        assert subprocess.run([unzip, "-tq", path], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("value", ["Zoë O'Brien", 'a "quoted" one', "b\\slash", "two\nlines"])
def test_an_answer_is_searched_for_a_value_in_any_of_its_forms(tmp_path: Path, value: str) -> None:
    written(tmp_path, ("app.hits", [(("1",), {"page": value})]))
    assert Sought([value, "nowhere at all"]).inside(tmp_path / f"{'a' * 32}.zip")
    assert not Sought([value]).inside(tmp_path / f"{'b' * 32}.zip")
    assert not Sought([]).inside(tmp_path / f"{'a' * 32}.zip")


def test_a_value_across_two_blocks_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for start in ((1 << 20) - 5, (1 << 20) - 1, (2 << 20) - 9):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.json", b"." * start + b"anna@x.org" + b"." * 3_000_000)
        assert Sought(["anna@x.org"]).inside(path) and not Sought(["anna@x.com"]).inside(path)
