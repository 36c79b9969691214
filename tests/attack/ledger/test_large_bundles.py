"""A bundle of any size is checked in the same memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from kept.evidence.bundle import verify_bundle
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.parts import Tampered
from tests.attack.ledger.make_bundles import tamper


@pytest.mark.parametrize("name", [None, "entry-altered", "entry-dropped", "entry-altered-with-its-leaf"])
def test_memory_does_not_grow_with_the_entries(tmp_path: Path, name: str | None) -> None:
    path = tmp_path / "bundle.zip"
    with Ledger.open(tmp_path / "ledger.sqlite", Keys.open(tmp_path / "keys")) as ledger:
        ledger.append_many([(None, {"act": "sweep", "n": n, "fill": "x" * 300}) for n in range(20_000)])
        ledger.export(path)
    assert path.stat().st_size > 7_000_000
    if name:
        tamper(name, path, path)
    tracemalloc.start()
    try:
        if name:
            with pytest.raises(Tampered):
                verify_bundle(path)
        else:
            assert verify_bundle(path).size == 20_000
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()
