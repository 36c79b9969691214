"""A real MariaDB for the tests, and the tests' own SQL as MariaDB has it."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import sqlalchemy as sa

from tests.plugins.not_run import find

_SECONDS = 60


@contextmanager
def server() -> Iterator[str]:
    """The address of a server of its own, with a superuser and no password; stopped, and its files gone, at the end."""
    program = find("mariadb")
    assert program is not None
    with tempfile.TemporaryDirectory(
        prefix="kept-my-"
    ) as folder:  # short: a socket's path has 104 bytes at most
        data, socket = Path(folder) / "data", Path(folder) / "socket"
        as_root = ["--user=root"] if Path(folder).owner() == "root" else []
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", *as_root,
             "--auth-root-authentication-method=normal", "--skip-name-resolve"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_SECONDS,
        )  # fmt: skip
        process = subprocess.Popen(
            [str(program), "--no-defaults", f"--datadir={data}", f"--socket={socket}", *as_root,
             "--skip-networking", "--skip-name-resolve", f"--pid-file={folder}/pid",
             "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M",
             "--innodb-immediate-scrub-data-uncompressed=ON", "--innodb-flush-log-at-trx-commit=2"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait(process, socket)
            yield f"mariadb://root@localhost/mysql?unix_socket={socket}"
        finally:
            process.terminate()
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], socket: Path) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "MariaDB ended while it started"
        if socket.exists():  # made once the server answers
            pymysql.connect(unix_socket=str(socket), user="root").close()
            return
        time.sleep(0.05)
    raise AssertionError("MariaDB didn't start")


def speak(engine: sa.Engine) -> None:
    """Have the tests' own statements, written for the other databases, understood; Kept's own are left alone."""
    sa.event.listen(engine, "before_cursor_execute", _translate, retval=True)


def _translate(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    return translated(statement), parameters


def translated(statement: str) -> str:
    """Definitions of tables as MariaDB takes them; everything else as it is.

    A key needs a length, so `TEXT` is a VARCHAR; a table without a key gets an invisible one, as the documentation
    tells companies to.
    """
    if not statement.startswith(("CREATE TABLE", "CREATE INDEX", "ALTER TABLE")):
        return statement
    statement = re.sub(r"\bTEXT\b", "VARCHAR(190)", statement)
    statement = statement.replace(" DEFERRABLE INITIALLY DEFERRED", "")
    if statement.startswith("CREATE INDEX"):
        statement = "DO 0" if " WHERE " in statement else statement  # no index over some of the rows there
    if statement.startswith("CREATE TABLE") and not re.search(r"PRIMARY KEY|UNIQUE|GENERATED", statement):
        hidden = "kept_row INT NOT NULL AUTO_INCREMENT PRIMARY KEY INVISIBLE"
        statement = f"{statement.rstrip().removesuffix(')')}, {hidden})"
    return statement
