"""Has an example company's application stand on MariaDB, with the same tables, views and rows as on SQLite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pymysql

from tests.acceptance.company import SiteLucent
from tests.mariadb import translated


@contextmanager
def application(url: str) -> Iterator[pymysql.connections.Connection]:
    """The application's own connection to the database at `url`."""
    found = re.search(r"/(test_\w+)\?unix_socket=([^&]+)", url)
    assert found is not None
    connection = pymysql.connect(
        unix_socket=found[2], user="root", database=found[1], charset="utf8mb4", autocommit=True
    )
    with closing(connection):
        yield connection


def moved(company: SiteLucent, url: str) -> None:
    """Move what the application holds from its SQLite file to the empty database at `url`."""
    path = company.folder / "app.sqlite"
    with closing(sqlite3.connect(path)) as source, application(url) as target, target.cursor() as cursor:
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
