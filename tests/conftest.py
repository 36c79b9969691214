"""Real databases for the tests: a SQLite file, a PostgreSQL and a MariaDB server, each started once a session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymysql
import pytest

from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from kept.testing.postgresql import postgresql
from tests import mariadb
from tests.plugins.not_run import find


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The address of a real server, with a superuser and no password."""
    with postgresql() as url:
        yield url


@pytest.fixture
def fresh_postgresql(postgresql_url: str) -> Iterator[str]:
    """The address of a database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgresql_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield postgresql_url.replace("/postgres?", f"/{name}?")
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """The address of a real server, with a superuser and no password."""
    if find("mariadb") is None:
        pytest.skip("not run: needs mariadb")  # told again in the last lines: these tests have the mark
    with mariadb.server() as url:
        yield url


@pytest.fixture
def fresh_mariadb(mariadb_url: str) -> Iterator[str]:
    """The address of a database of this test's own."""
    name, socket = f"test_{uuid.uuid4().hex[:12]}", mariadb_url.partition("unix_socket=")[2]
    with (
        pymysql.connect(unix_socket=socket, user="root", autocommit=True) as server,
        server.cursor() as cursor,
    ):
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield mariadb_url.replace("/mysql?", f"/{name}?")
        cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def fresh_sqlite(tmp_path: Path) -> str:
    """The address of an empty SQLite file."""
    path = tmp_path / "app.sqlite"
    path.touch()
    return f"sqlite:///{path}"


MARIADB = pytest.param("mariadb", marks=pytest.mark.needs("mariadb"))


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def store(request: pytest.FixtureRequest) -> Iterator[SQLStore]:
    """An empty database of each kind, named `app`."""
    yield from empty_store(request)


def empty_store(request: pytest.FixtureRequest) -> Iterator[SQLStore]:
    """An empty database of the kind that a fixture's parameter names."""
    opened = open_store("app", request.getfixturevalue(f"fresh_{request.param}"))
    if request.param == "mariadb":
        mariadb.speak(opened.engine)
    yield opened
    opened.dispose()
