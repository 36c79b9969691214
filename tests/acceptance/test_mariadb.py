"""A whole company whose application stands on MariaDB, through the commands its user would type."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.company import SiteLucent
from tests.acceptance.on_mariadb import application, moved

pytestmark = pytest.mark.needs("mariadb")


def test_a_person_is_answered_and_erased_on_mariadb_down_to_the_files(
    tmp_path: Path, fresh_mariadb: str
) -> None:
    company = SiteLucent.made(tmp_path / "company", 30)
    moved(company, fresh_mariadb)
    assert company.kept("check").code == 0
    assert company.kept("sweep").code == 0
    with application(fresh_mariadb) as connection, connection.cursor() as cursor:
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
    tmp_path: Path, fresh_mariadb: str
) -> None:
    company = SiteLucent.made(tmp_path / "company", 30)
    moved(company, f"{fresh_mariadb}&kept_files=/nowhere")
    done = company.kept("request", "erase", "user:1", "--by", "Mia")
    assert done.code == 1 and "nobody can say whether files still hold the person" in done.out + done.err
    with application(fresh_mariadb) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM users WHERE id = 1")
        assert cursor.fetchall() == ((0,),)
