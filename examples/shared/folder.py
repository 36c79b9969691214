"""A generated company's folder: databases made whole or not at all, the policy file beside them, settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .database import Database, opened

COMPANIES = Path(__file__).parents[1]


@contextmanager
def made(file: Path, schema: Path, url: str | None = None) -> Iterator[Database]:
    """A new database with the tables of a schema file: SQLite in `file`, or the empty PostgreSQL database at `url`.

    Its indexes are made at the end, which is quicker once rows are in. The file takes its name when everything is
    written. Raises FileExistsError where it is there already.
    """
    if url is None and file.exists():
        raise FileExistsError(f"{file} is there already")
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    tables, indexes = statements(schema)
    with opened(url or unfinished) as database:
        for statement in tables:
            database.run(statement)
        yield database
        for statement in indexes:
            database.run(statement)
    if url is None:
        unfinished.replace(file)


def statements(schema: Path) -> tuple[list[str], list[str]]:
    """The statements of a schema file: tables and views, then indexes."""
    lines = schema.read_text("utf-8").splitlines()
    text = "\n".join(line.partition("--")[0] for line in lines)
    found = [statement.strip() for statement in text.split(";") if statement.strip()]
    indexes = [statement for statement in found if statement.startswith("CREATE INDEX")]
    return [statement for statement in found if statement not in indexes], indexes


def settled(directory: Path, company: str, settings: Mapping[str, str]) -> None:
    """The company's policy file, and its settings in an `.env` that its owner alone can read."""
    shutil.copyfile(COMPANIES / company / "policy.yaml", directory / "policy.yaml")
    file = directory / ".env"
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")


def uploaded(directory: Path, path: str, text: str) -> str:
    """A small file below a folder; answers its path there, as a database's row names it."""
    file = directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", "utf-8")
    return path


def exported(file: Path, records: Mapping[str, object]) -> None:
    """What another company's service holds, by list, in the shape its interface tells it."""
    file.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
