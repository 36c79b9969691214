"""The files of people: paths in columns declared `file in STORE`, and what stands behind them.

A file goes after the rows that named it, and only where no row names it any more. Its path is noted before, sealed,
because afterwards nothing leads to it. An answer has a copy of each file that a row shown to the person names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from urllib.parse import quote

from kept.company import Company
from kept.controls.rights.answers.forms import ON_PAGE, as_json, encoded
from kept.controls.rights.people import Person
from kept.errors import TransientError
from kept.stores.clauses import Clauses, written
from kept.stores.collect import Portion, collect
from kept.stores.walk import Key

FOLDER = "files"
"""The folder of an answer in which copies of files stand."""

Paths = Mapping[tuple[str, str], str]
"""The store of files that each (table, column) of a database leads to."""

_GONE = "it isn't there any more"
_NO_PATH = "the path doesn't name a file of this folder"
_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f<>:"|?*\\]'
)  # what some system takes for something else than a part of a name


@dataclass(frozen=True)
class File:
    """A file that a row names, and its copy in an answer: `name` below the folder of files, `size` in bytes.

    Without a name the path names no file of the store; without a size there was none.
    """

    store: str
    path: str
    name: str | None = None
    size: int | None = None

    @classmethod
    def named(cls, store: str, path: str, taken: set[str]) -> File:
        """The file with a name that no system misreads, and that is not among those `taken`, to which it is added."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or ".." in parts or path.startswith("/") or path.endswith("/") or "\0" in path:
            return cls(store, path)
        name = "/".join((store, *(_UNSAFE.sub("_", part).rstrip(". ") or "_" for part in parts)))
        name = encoded(name).decode()  # half a character pair can't stand in a zip
        folder, slash, last = name.rpartition("/")
        stem, dot, ending = last.rpartition(".")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{folder}{slash}{stem}~{number}.{ending}" if dot else f"{folder}{slash}{last}~{number}"
        taken.add(name.casefold())
        return cls(store, path, name)

    def found(self, size: int) -> File:
        """The same, copied."""
        return replace(self, size=size)

    @property
    def missing(self) -> str | None:
        """Why there is no copy; None where there is one."""
        if self.name is None:
            return _NO_PATH
        return _GONE if self.size is None else None


def files_json(files: Sequence[File]) -> bytes:
    """What `data.json` says of files, behind its data; nothing where there are none."""
    if not files:
        return b""
    told = [
        {"store": file.store, "path": file.path}
        | (
            {"missing": file.missing}
            if file.missing is not None
            else {"file": f"{FOLDER}/{file.name}", "bytes": file.size}
        )
        for file in files
    ]
    return b',\n"files": [\n' + b",\n".join(map(as_json, told)) + b"\n]"


def files_page(files: Sequence[File]) -> bytes:
    """What the page says of files; nothing where there are none."""
    if not files:
        return b""
    lines = []
    for file in files[:ON_PAGE]:
        path = escape(f"{file.store}: {file.path}")
        if file.missing is not None:
            lines.append(f"<li>{path}: {escape(file.missing)}</li>")
        else:
            target = quote(f"{FOLDER}/{file.name}", errors="replace")
            lines.append(f'<li><a href="{target}">{path}</a>, {file.size} bytes</li>')
    more = len(files) - ON_PAGE
    rest = f"<p>…and {more} more in <code>data.json</code>.</p>\n" if more > 0 else ""
    listed = "\n".join(lines)
    return encoded(
        f'<section aria-labelledby="files">\n<h2 id="files">Files</h2>\n'
        f"<p>They stand in the folder <code>{FOLDER}</code> beside this page.</p>\n"
        f"<ul>\n{listed}\n</ul>\n{rest}</section>\n"
    )


def columns(company: Company, store: str) -> Paths:
    """The columns of a database that hold paths."""
    return {
        (str(table).partition(".")[2], str(column)): str(sort.store)
        for data in company.policy.data.values()
        for table, columns in data.tables.items()
        for column, sort in columns.items()
        if sort.store is not None and str(table).partition(".")[0] == store
    }


def in_rows(paths: Paths, portion: Portion) -> Iterator[tuple[Key, str, str]]:
    """Whose file, in which store, with which path: for each path in rows of people."""
    leading = {column: store for (table, column), store in paths.items() if table == portion.table}
    if leading:
        for key, row in portion.rows:
            for column, store in leading.items():
                if row.get(column):
                    yield key, store, str(row[column])


def named(company: Company, kind: str, keys: Sequence[Key]) -> dict[str, dict[str, list[str]]]:
    """The paths in rows of people, by person (`user:7`) and store of files."""
    walk = company.map.walk(kind)
    found: dict[str, dict[str, list[str]]] = {}
    if walk is None or not (paths := columns(company, walk.store)):
        return found
    stops = tuple(
        replace(stop, columns={c: names for c, names in stop.columns.items() if (stop.table, c) in paths})
        for stop in walk.stops[: walk.own]
    )
    narrowed = replace(walk, stops=(*stops, *walk.stops[walk.own :]))
    for portion in collect(company.stores[walk.store], narrowed, keys):
        for key, store, path in in_rows(paths, portion):
            who = str(Person(kind, tuple(map(written, key))))
            found.setdefault(who, {}).setdefault(store, []).append(path)
    return found


def delete(company: Company, store: str, paths: Sequence[str]) -> int:
    """Delete files that no row names any more; how many. Those that are gone already count nothing."""
    left = still_named(company, store, paths)
    return sum(company.files[store].delete(path) for path in dict.fromkeys(paths) if path not in left)


def still_there(company: Company, store: str, paths: Sequence[str]) -> int:
    """How many of these files are there although no row names them."""
    left = still_named(company, store, paths)
    return sum(
        company.files[store].size(path) is not None for path in dict.fromkeys(paths) if path not in left
    )


def still_named(company: Company, store: str, paths: Sequence[str]) -> set[str]:
    """Which of these paths some row still names, whoever's it is and whatever database it stands in."""
    found: set[str] = set()
    for name, database in company.stores.items():
        leading = [place for place, leads_to in columns(company, name).items() if leads_to == store]
        if not leading or not paths:
            continue
        if name not in company.map.tables:
            raise TransientError(f"whether it names files of {store} can't be asked", where=name)
        say = Clauses(database, company.map.tables[name])
        for table, column in leading:
            query = (
                f"SELECT DISTINCT j.v FROM {say.listed('paths')} {say.join} {say.name(table)} t"
                f" ON {say.column('t', column)} = j.v"
            )
            with database.read() as connection:
                found.update(say.run(connection, query, paths=say.listing(paths)).scalars())
    return found
