"""A `kill -9` at every place of every right, in SQLite and PostgreSQL: done once, and nothing half changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.boundaries import RIGHTS, Start, sweeps
from tests.acceptance.company import SiteLucent
from tests.acceptance.crashing import SPOTS
from tests.acceptance.postbox import Postbox, postbox
from tests.acceptance.site import Site

FEWEST = 8  # places that a right has at least, of all kinds together


@pytest.fixture
def post() -> Iterator[Postbox]:
    with postbox() as box:
        yield box


@pytest.mark.parametrize("name", RIGHTS)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_kill_anywhere_changes_nothing_of_what_a_right_does(
    database: str, name: str, tmp_path: Path, request: pytest.FixtureRequest, post: Postbox
) -> None:
    url = request.getfixturevalue("fresh_postgresql") if database == "postgresql" else None
    right = RIGHTS[name]
    site = Site.made(tmp_path / "site", url, 12, post, waits=right.waits)
    start = Start.made(site, right, tmp_path)
    places = {spot: start.places(tmp_path / spot, spot) for spot in SPOTS}
    print(f"{database}, {name}: {sum(places.values())} places", places)
    assert sum(places.values()) >= FEWEST
    assert places["before"] == places["after"] > 0 < places["state"]


@pytest.mark.parametrize("spot", ["before", "after", "noted", "committed", "state", "recorded"])
def test_a_kill_anywhere_in_a_sweep_changes_nothing_of_what_it_does(spot: str, tmp_path: Path) -> None:
    planted = SiteLucent.made(tmp_path / "planted", planted=True)
    print(f"sweep, {spot}: {sweeps(planted, tmp_path, spot)} places")
