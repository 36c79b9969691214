"""What the gate wrote down about people who are erased: their cases, what left the house, what was proposed of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Table, exists, literal, select, union_all

from kept.company import Company
from kept.controls.disclosure import register
from kept.controls.purposes.cases import opening
from kept.controls.purposes.decisions import queue
from kept.state.uses import cases, disclosures, proposals

_CHUNK: Final = 200  # people whose pseudonyms are bound once for each table in one statement
_LET_GO: Final[tuple[tuple[Table, Callable[[Company, Sequence[str]], None]], ...]] = (
    (cases, opening.forget),
    (disclosures, register.forget),
    (proposals, queue.forget),
)


def forget(company: Company, pseudonyms: Sequence[str]) -> None:
    """Let go of what these people's uses left behind, before their pseudonyms are destroyed; harmless when repeated.

    About most people nothing of the kind was ever written: one statement sees that.
    """
    for start in range(0, len(pseudonyms), _CHUNK):
        part = pseudonyms[start : start + _CHUNK]
        asked = [
            select(literal(number)).where(exists().where(table.c.pseudonym.in_(part)))
            for number, (table, _) in enumerate(_LET_GO)
        ]
        with company.state.read() as connection:
            found = sorted(connection.scalars(union_all(*asked)))
        for number in found:
            _LET_GO[number][1](company, part)
