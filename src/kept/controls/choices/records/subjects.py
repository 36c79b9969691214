"""Whom choices are about: a number for each person or visitor, behind which only Kept's keys find them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from kept.company import Company
from kept.controls.rights.people import Person
from kept.state.database import insert
from kept.state.tables import subjects

CHUNK: Final = 5000

_FOUND: Final = (subjects.c.person, subjects.c.number, subjects.c.pseudonym)

_KNOWN: Final = select(*_FOUND).where(subjects.c.person.in_(bindparam("given", expanding=True)))
_ADDING: Final[dict[str, Any]] = {}


def index(company: Company, who: Person) -> bytes:
    """Where somebody is found in the table: HMAC-SHA256, which can't be turned back."""
    return bytes.fromhex(company.keys.index(str(who)))


def find(company: Company, whos: Sequence[Person], connection: Connection | None = None) -> dict[Person, int]:
    """The numbers of those who have one; makes none."""
    if connection is None:
        with company.state.read() as reading:
            return find(company, whos, reading)
    return {who: number for who, (number, _) in known(company, connection, whos).items()}


def known(company: Company, connection: Connection, whos: Iterable[Person]) -> dict[Person, tuple[int, str]]:
    """The number and the pseudonym of those who have one."""
    by_index = {index(company, who): who for who in whos}
    given, found = list(by_index), dict[Person, tuple[int, str]]()
    for start in range(0, len(given), CHUNK):
        rows = connection.execute(_KNOWN, {"given": given[start : start + CHUNK]})
        for person, number_, pseudonym in rows:
            found[by_index[bytes(person)]] = (number_, pseudonym)
    return found


def number(company: Company, connection: Connection, whos: Sequence[Person]) -> dict[Person, tuple[int, str]]:
    """The number and the pseudonym of each, made on first use in the transaction under way."""
    found = known(company, connection, whos)
    missing = [who for who in dict.fromkeys(whos) if who not in found]
    return found | (make(company, connection, missing) if missing else {})


def numbered(company: Company, who: Person) -> int:
    """The number of somebody, made on first use."""
    found = find(company, [who]).get(who)
    if found is None:
        with company.state.write() as connection:
            found = number(company, connection, [who])[who][0]
    return found


def make(company: Company, connection: Connection, whos: Sequence[Person]) -> dict[Person, tuple[int, str]]:
    """The same for those who have none, as far as anybody knew just now."""
    missing, found = {index(company, who): who for who in whos}, dict[Person, tuple[int, str]]()
    if missing:
        # `known={}`: asked on this connection and on no second one, for which a full pool would make everybody wait
        names = [str(who) for who in missing.values()]
        pseudonyms = company.pseudonyms.of(names, {}, connection=connection)
        rows = [
            {
                "person": index_,
                "kind": who.kind,
                "who": company.keys.seal("subject", str(who).encode()),
                "pseudonym": pseudonyms[str(who)],
            }
            for index_, who in missing.items()
        ]
        for person, number_, pseudonym in connection.execute(_adding(connection), rows):
            found[missing[bytes(person)]] = (number_, pseudonym)
        others = [who for who in missing.values() if who not in found]  # another process was first
        found |= known(company, connection, others) if others else {}
    return found


def _adding(connection: Connection) -> Any:
    """The statement that adds subjects: made once, for to make it takes longer than to run it."""
    name = connection.dialect.name
    if name not in _ADDING:
        _ADDING[name] = insert(connection, subjects).on_conflict_do_nothing().returning(*_FOUND)
    return _ADDING[name]
