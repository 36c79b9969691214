"""A `kill -9`: the next run finishes, each effect happened once. The short set; `make soak` runs all places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.boundaries import RIGHTS, Start, sweeps
from tests.acceptance.company import SiteLucent
from tests.acceptance.instants import fewest_people, storm
from tests.acceptance.postbox import Postbox, postbox
from tests.acceptance.site import Site

SHORT = (("after", 1), ("state", 1), ("state", 2), ("recorded", 1))  # of the places that every right has


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> SiteLucent:
    return SiteLucent.made(tmp_path_factory.mktemp("planted") / "company", planted=True)


@pytest.fixture
def post() -> Iterator[Postbox]:
    with postbox() as box:
        yield box


@pytest.mark.parametrize("spot", ["before", "committed"])
def test_a_sweep_survives_a_kill_at_every_place(planted: SiteLucent, tmp_path: Path, spot: str) -> None:
    assert sweeps(planted, tmp_path, spot) > 1


@pytest.mark.parametrize("name", RIGHTS)
def test_a_right_killed_on_its_way_is_finished_and_done_once(
    name: str, tmp_path: Path, post: Postbox
) -> None:
    right = RIGHTS[name]
    start = Start.made(Site.made(tmp_path / "site", None, 12, post, waits=right.waits), right, tmp_path)
    killed = [start.survives(tmp_path / f"{spot}-{number}", spot, number) for spot, number in SHORT]
    assert killed.count(True) >= 3


@pytest.mark.parametrize("spot", ["noted", "committed", "forgotten"])
def test_an_erasure_killed_where_it_must_not_be_half_leaves_nothing_readable(
    spot: str, tmp_path: Path, post: Postbox
) -> None:
    site = Site.made(tmp_path / "site", None, 12, post)
    with site.reading("app.sqlite") as database:
        names = database.execute("SELECT first_name, last_name, email FROM users WHERE id = 2").fetchone()
    with site.copied(tmp_path / "copy") as copy:
        assert copy.crash(spot, 1, "request", "erase", "user:2", "--by", "tester")
        copy.finish()
        assert copy.people().get(2) is None
        files = [path for path in copy.folder.rglob("*") if path.is_file()]
        assert not [path.name for path in files for name in names if name.encode() in path.read_bytes()]


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "with a way back"])
def test_a_worker_killed_at_random_instants_loses_and_doubles_nothing(
    waits: bool, tmp_path: Path, post: Postbox
) -> None:
    site = Site.made(tmp_path / "site", None, fewest_people(6), post, waits=waits)
    found = storm(site, 11 + waits, kills=6, workers=1, waits=waits)
    assert len(found.asked) == 12 and found.looks == 6
