"""What the ledger's tests share: keys, a clock that steps, and a ledger in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys of their own for each test."""
    return Keys.open(tmp_path / "keys")


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that goes on by a second each time it is asked."""
    asked = iter(range(10**9))
    return lambda: datetime(2026, 1, 31, 9, 30, tzinfo=UTC) + timedelta(seconds=next(asked))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger can be kept: a path, and the address of an empty PostgreSQL database."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite")
    return str(request.getfixturevalue("fresh_postgresql"))


@pytest.fixture
def ledger(place: str, keys: Keys, clock: Callable[[], datetime]) -> Iterator[Ledger]:
    """An empty ledger of each kind."""
    with Ledger.open(place, keys, clock) as opened:
        yield opened
