"""The shop with its guard, one person restricted, one who said yes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kept.controls.choices.records.book import New, record
from kept.controls.purposes.guard.carry import Carrier
from tests.acceptance.guarded import Shop, member, shop

HIDDEN = 3  # who had everything restricted


@pytest.fixture
def guarded(tmp_path: Path, fresh_postgresql: str) -> Iterator[Shop]:
    with shop(tmp_path, fresh_postgresql) as made:
        made.instruct(HIDDEN, "restrict")
        record(made.company, [New(member(5), "news", "yes", "account", notice=None)])
        made.apply()
        Carrier(made.company).once()
        yield made
