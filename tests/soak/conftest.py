"""What takes long is run by `make soak` only: nothing here is collected unless this folder is named."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests out of a run of all tests."""
    return None if any("soak" in argument for argument in config.args) else True
