"""200 kills at random instants in SQLite and 200 in PostgreSQL, where two workers share the requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.instants import fewest_people, storm
from tests.acceptance.postbox import postbox
from tests.acceptance.site import Site

KILLS = 100


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "with a way back"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_workers_killed_at_random_instants_lose_and_double_nothing(
    database: str, waits: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("fresh_postgresql") if database == "postgresql" else None
    with postbox() as post:
        site = Site.made(tmp_path / "site", url, fewest_people(KILLS), post, waits=waits)
        found = storm(site, 1 + waits, kills=KILLS, workers=2 if url else 1, waits=waits)
        sent = len({message["Message-ID"] for _, message in post.letters})
        assert site.state("SELECT count(*) FROM letters") == [(sent,)]
    print(
        f"{database}: {KILLS} kills, {len(found.asked)} requests, {len(found.back)} came back, {found.looks} looks"
    )
