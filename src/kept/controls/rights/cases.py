"""People with an open case, such as a complaint: whom a link with a staff end names, in a row that isn't closed yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kept.company import Company
from kept.controls.rights.people import Person
from kept.errors import TerminalError, TransientError
from kept.policy.facts import Link
from kept.stores.clauses import Clauses, written


@dataclass(frozen=True)
class Case:
    """An open case about a person. `began` is when it was opened, None where the row doesn't say."""

    link: str
    person: Person
    began: datetime | None


def open_cases(company: Company, names: Sequence[str]) -> list[Case]:
    """The cases of some links that are open now, one statement for each end with people.

    Open is a row whose `ended` is empty. TransientError while the store can't be asked; TerminalError for a link whose
    rows can't be told open from closed, or don't name one person each.
    """
    found: list[Case] = []
    for name in names:
        link = company.policy.links[name]
        for end in link.between.values():
            if not company.policy.is_staff(str(end.kind)):
                found += _open(company, str(name), link, str(end.kind), str(end.column))
    return found


def has_open(company: Company, names: Sequence[str], person: Person) -> bool:
    """Whether a person has an open case of one of these links; raises as `open_cases`."""
    return any(case.person == person for case in open_cases(company, names))


def _open(company: Company, name: str, link: Link, kind: str, column: str) -> list[Case]:
    place, _, table = str(link.table).partition(".")
    company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
    store, root = company.stores.get(place), company.policy.root(kind)
    if store is None or place in company.unreachable:
        why = company.unreachable.get(place, "it can't be asked")
        raise TransientError(f"nobody can see who has an open `{name}`: {why}", where=place)
    if link.ended is None or root is None or len(root.key_columns) != 1:
        why = "it has no `ended`" if link.ended is None else f"a row names no one `{kind}`"
        raise TerminalError(f"nobody can tell which `{name}` is open: {why}", where=name)
    say = Clauses(store, {table: store.shape(table)})
    wanted = [column, *([str(link.began)] if link.began is not None else [])]
    missing = [one for one in (*wanted, str(link.ended)) if one not in say.tables[table].columns]
    if missing:
        raise TerminalError(f"there is no column {table}.{missing[0]}", where=place)
    tests = [_still(say, table, str(link.ended)), f"{say.column('t', column)} IS NOT NULL"]
    tests += [say.test(link.when, "t", table)] if link.when is not None else []
    chosen = ", ".join(say.column("t", one) for one in wanted)
    query = f"SELECT {chosen} FROM {say.name(table)} t WHERE {' AND '.join(tests)}"
    with store.read() as connection:
        rows = say.run(connection, query).all()
    return [
        Case(name, Person(str(root.name), (written(row[0]),)), _time(row[1]) if len(row) > 1 else None)
        for row in rows
    ]


def _still(say: Clauses, table: str, ended: str) -> str:
    """That a row hasn't ended. An empty text is no end, as where ends are set (`stores.ended`)."""
    column = say.column("t", ended)
    # a column of SQLite holds texts whatever its type says
    texts = say.sqlite or (say.tables[table].columns[ended].sort == "text" and not say.mariadb)
    return f"({column} IS NULL OR {column} = '')" if texts else f"{column} IS NULL"


def _time(value: object) -> datetime | None:
    """A time as the store has it, UTC where it names no zone; None for what is none."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
