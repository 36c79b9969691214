"""Who stands how, as bitmaps of subjects' numbers: what makes a question about everybody cheap.

A mark says that a yes to a choice is in force, by the meaning it was given for, or that there is a no. Marks are
written in the transaction that writes the event they follow from, in chunks: one answer rewrites 8 KiB at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyroaring import BitMap
from sqlalchemy import Connection, Insert, bindparam, delete, select, text, tuple_

from kept.company import Company
from kept.controls.choices.records.history import Event
from kept.controls.choices.records.states import STANDING
from kept.state.database import insert
from kept.state.tables import choice_marks

NO: Final = "no"
CHUNK_BITS: Final = 16
AT_ONCE: Final = 1000  # chunks read in one statement, of four bound values each

_ALONE: Final = 0x6B63686F  # "kcho": on a server one transaction at a time writes events and marks

_KEY: Final = ("choice", "scope", "meaning", "chunk")
_READ: Final = select(choice_marks).where(
    tuple_(*(choice_marks.c[name] for name in _KEY)).in_(bindparam("places", expanding=True))
)
_EMPTY: Final = delete(choice_marks).where(
    *(choice_marks.c[name] == bindparam(f"its_{name}") for name in _KEY)
)

_WRITING: Final[dict[str, Insert]] = {}


@dataclass(frozen=True)
class Mark:
    """One bitmap's name: a choice, its scope, and the digest of the meaning of a yes, or `no`."""

    choice: str
    scope: str
    meaning: str


Marks = Mapping[Mark, BitMap]
_Place = tuple[str, str, str, int]


def alone(connection: Connection) -> None:
    """Be the only one who writes events and marks until this transaction ends; harmless when repeated.

    So events are numbered in the order in which they are committed, and no mark is lost. A file has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ALONE})"))


def mark_of(event: Event) -> Mark | None:
    """The mark of an event in force; None for what is neither a yes nor a no."""
    if event.state in STANDING:
        return Mark(event.choice, event.scope, event.meaning)
    return Mark(event.choice, event.scope, NO) if event.is_against else None


def change(connection: Connection, on: Iterable[tuple[Mark, int]], off: Iterable[tuple[Mark, int]]) -> None:
    """Set and clear marks of subjects by number, in the transaction under way; what is in both is set.

    One statement reads, two write, however many: all chunks in one order, so that two writers never wait crosswise.
    """
    alone(connection)
    added, removed = _by_chunk(on), _by_chunk(off)
    places = sorted({*added, *removed})
    full, empty = [], []
    for start in range(0, len(places), AT_ONCE):
        part = places[start : start + AT_ONCE]
        rows = connection.execute(_READ, {"places": part})
        found = {tuple(row[:4]): BitMap.deserialize(row.bits) for row in rows}
        for place in part:
            bits = found.get(place, BitMap())
            bits -= BitMap(removed.get(place, ()))
            bits |= BitMap(added.get(place, ()))
            if bits:
                full.append(dict(zip(_KEY, place, strict=True)) | {"bits": bits.serialize()})
            elif place in found:
                empty.append({f"its_{name}": part for name, part in zip(_KEY, place, strict=True)})
    if full:
        connection.execute(_writing(connection), full)
    if empty:
        connection.execute(_EMPTY, empty)


def load(company: Company, choices: Sequence[str] | None = None) -> dict[Mark, BitMap]:
    """Every mark there is, of these choices only where they are named."""
    with company.state.read() as connection:
        return read(connection, choices)


def read(connection: Connection, choices: Sequence[str] | None = None) -> dict[Mark, BitMap]:
    """The same, in a transaction under way."""
    query = select(choice_marks)
    if choices is not None:
        query = query.where(choice_marks.c.choice.in_(choices))
    found: dict[Mark, BitMap] = {}
    for choice, scope, meaning, _, bits in connection.execute(query):
        whole = found.setdefault(Mark(choice, scope, meaning), BitMap())
        whole |= BitMap.deserialize(bits)  # in place: chunks don't overlap
    return found


def _writing(connection: Connection) -> Insert:
    """The statement that writes a chunk: made once, for to make it takes longer than to run it."""
    name = connection.dialect.name
    if name not in _WRITING:
        writing = insert(connection, choice_marks)
        _WRITING[name] = writing.on_conflict_do_update(
            index_elements=_KEY, set_={"bits": writing.excluded.bits}
        )
    return _WRITING[name]


def _by_chunk(changes: Iterable[tuple[Mark, int]]) -> dict[_Place, list[int]]:
    found: dict[_Place, list[int]] = {}
    for mark, number in changes:
        place = (mark.choice, mark.scope, mark.meaning, number >> CHUNK_BITS)
        found.setdefault(place, []).append(number)
    return found
