"""A whole company whose application stands on MariaDB, through the commands its user would type."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from tests.acceptance.company import SiteLucent
from tests.mariadb import translated

pytestmark = pytest.mark.needs("mariadb")


@pytest.fixture
def application(fresh_mariadb: str) -> Iterator[pymysql.connections.Connection]:
    found = re.search(r"/(test_\w+)\?unix_socket=(.+)$", fresh_mariadb)
    assert found is not None
    connection = pymysql.connect(
        unix_socket=found[2], user="root", database=found[1], charset="utf8mb4", autocommit=True
    )
    yield connection
    connection.close()


def moved(company: SiteLucent, url: str, application: pymysql.connections.Connection) -> None:
    """Have the company's application on MariaDB instead of SQLite, with the same tables, views and rows."""
    path = company.folder / "app.sqlite"
    with closing(sqlite3.connect(path)) as source, application.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        shapes = source.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type = 'index', type <> 'table'"
        ).fetchall()
        for _, _, sql in shapes:
            cursor.execute(
                re.sub(
                    r"REFERENCES (\w+)\b(?! ?\()", r"REFERENCES \1 (id)", translated(" ".join(sql.split()))
                )
            )
        for kind, name, _ in shapes:
            rows = source.execute(f'SELECT * FROM "{name}"').fetchall() if kind == "table" else []
            if rows:
                places = ", ".join(["%s"] * len(rows[0]))
                cursor.executemany(f"INSERT INTO `{name}` VALUES ({places})", rows)
        cursor.execute("SET foreign_key_checks = 1")
    settings = (company.folder / ".env").read_text()
    (company.folder / ".env").write_text(re.sub(r"APP_DATABASE_URL=.*", f"APP_DATABASE_URL={url}", settings))
    for file in company.folder.glob("app.sqlite*"):
        file.unlink()


def test_a_person_is_answered_and_erased_on_mariadb_down_to_the_files(
    tmp_path: Path, fresh_mariadb: str, application: pymysql.connections.Connection
) -> None:
    company = SiteLucent.made(tmp_path / "company", 30)
    moved(company, fresh_mariadb, application)
    assert company.kept("check").code == 0
    assert company.kept("sweep").code == 0
    with application.cursor() as cursor:
        cursor.execute("SELECT id, email FROM users ORDER BY id LIMIT 1")
        [(key, email)] = cursor.fetchall()
        assert company.kept("request", "access", f"user:{key}").code == 0
        done = company.kept("request", "erase", f"user:{key}", "--by", "Mia")
        assert done.code == 0, done.out + done.err
        assert "nothing remains" in done.out
        cursor.execute("SELECT COUNT(*) FROM users WHERE id = %s", (key,))
        assert cursor.fetchall() == ((0,),)
        cursor.execute("SELECT @@datadir")
        [(folder,)] = cursor.fetchall()
    assert company.files_with(email) == []
    held = [
        path.name
        for path in Path(folder).rglob("*")
        if path.is_file() and email.encode() in path.read_bytes()
    ]
    assert held == []


def test_where_kept_may_not_look_into_the_files_an_erasure_is_not_done(
    tmp_path: Path, fresh_mariadb: str, application: pymysql.connections.Connection
) -> None:
    company = SiteLucent.made(tmp_path / "company", 30)
    moved(company, f"{fresh_mariadb}&kept_files=/nowhere", application)
    done = company.kept("request", "erase", "user:1", "--by", "Mia")
    assert done.code == 1 and "nobody can say whether files still hold the person" in done.out + done.err
    with application.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM users WHERE id = 1")
        assert cursor.fetchall() == ((0,),)
