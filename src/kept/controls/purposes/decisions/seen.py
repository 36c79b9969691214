"""What a purpose decides, as it was last seen: so that a change past the queue is found.

Of each row Kept keeps keyed hashes, one of its key and one of what each column holds, and no value. A row that is
new is taken as it is, and counted; so is one that was emptied, as an erasure does. One that holds something else than
when it was last seen or decided was changed by nobody's decision; a decision about one column says nothing of the
others. Of a row that is gone nothing is kept, so one that is made again is new.

Before the company's database commits what was decided, its rows are marked; once it has, they are read again. A row
that is marked is being written, or was when something was cut off, and is no one's to judge until it is read again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.decisions.change import columns, deciding
from kept.controls.purposes.declare import Purpose
from kept.state.database import insert
from kept.state.uses import decided_values
from kept.stores.corrections import Corrections
from kept.stores.walk import Key

MOST: Final = 200_000  # rows of one table that are looked at
CHUNK: Final = 500
MAC: Final = "decided value"

Place = tuple[str, str]
"""A store and its table."""


@dataclass(frozen=True)
class Seen:
    """How many rows there are; of them, how many hold what nobody decided, weren't known before, were emptied, are
    being written; and why something could not be looked at."""

    rows: int = 0
    strange: int = 0
    new: int = 0
    emptied: int = 0
    marked: int = 0
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    """What was noted of a row: a hash by column (none of one that a decision is writing), and that decision."""

    values: Mapping[str, str]
    proposal: str | None
    written: bytes  # the same, as it stands in Kept's database

    def differs(self, held: _Held) -> bool:
        """Whether a column holds something else than what was noted."""
        return any(self.values.get(column, value) != value for column, value in held.values.items())

    def lacks(self, held: _Held) -> bool:
        """Whether nothing was noted of a column yet: the policy has it decided since."""
        return not held.values.keys() <= self.values.keys()


@dataclass(frozen=True)
class _Held:
    """What a row holds now: a hash by column."""

    values: Mapping[str, str]
    empty: bool


def places(company: Company, purpose: Purpose) -> dict[Place, tuple[str, ...]]:
    """The columns that a purpose decides, by store and table."""
    found: dict[Place, tuple[str, ...]] = {}
    for full, column in columns(company.policy, purpose):
        store, _, table = full.partition(".")
        found[store, table] = tuple(dict.fromkeys((*found.get((store, table), ()), column)))
    return found


def look(company: Company, purpose: Purpose) -> Seen:
    """Compare every row with what was last seen or decided; what is new is noted, what differs never."""
    before, found, gaps = _known(company, purpose), dict[bytes, _Held](), list[str]()
    for (store, table), wanted in places(company, purpose).items():
        if store not in company.schemas:
            why = company.unreachable.get(store, "not a database")
            gaps.append(f"`{store}.{table}` can't be asked: {why}")
            continue
        if not company.stores[store].shape(table).key:
            gaps.append(f"a row of `{store}.{table}` can't be told from another: it has no key")
            continue
        rows = dict(_rows(company, purpose, (store, table), wanted))
        if len(rows) > MOST:
            gaps.append(f"`{store}.{table}` has more than {MOST:,} rows")
            continue
        found |= rows
    after = _known(company, purpose)  # what was decided while the rows were read is marked, or noted anew
    moving = {row for row in found if before.get(row) != after.get(row) or _is_marked(after.get(row))}
    still = {row: held for row, held in found.items() if row not in moving}
    fresh = {row: held.values for row, held in still.items() if row not in after}
    other = {row: held for row, held in still.items() if row in after and after[row].differs(held)}
    emptied = {row: held.values for row, held in other.items() if held.empty}
    wider = {
        row: {**held.values, **after[row].values}
        for row, held in still.items()
        if row in after and row not in emptied and after[row].lacks(held)
    }
    _note(company, purpose, fresh, emptied | wider, after)
    new = len(fresh) + len(wider.keys() - other.keys())
    if not gaps:
        _drop(company, purpose, [row for row in after if row not in found and not _is_marked(after[row])])
    return Seen(len(found), len(other) - len(emptied), new, len(emptied), len(moving), gaps=tuple(gaps))


def _is_marked(known: _Known | None) -> bool:
    return known is not None and known.proposal is not None


def mark(company: Company, decision: str, store: str, done: Corrections) -> None:
    """Mark the rows that a decision has changed, before the company's database commits it; of the cells that it has
    changed nothing stays noted."""
    for purpose, place, _, changed in _touched(company, store, done):
        rows = {_row(company, purpose, place, key): columns for key, columns in changed.items()}
        with company.state.write() as connection:
            known = _among(connection, purpose, list(rows))
            marked = [
                {
                    "purpose": str(purpose.name),
                    "row": row,
                    "value": _written({c: v for c, v in known[row].items() if c not in columns})
                    if row in known
                    else b"",
                    "proposal": decision,
                }
                for row, columns in rows.items()
            ]
            writing = insert(connection, decided_values)
            new = {"proposal": writing.excluded.proposal, "value": writing.excluded.value}
            connection.execute(
                writing.on_conflict_do_update(index_elements=["purpose", "row"], set_=new), marked
            )


def settle(company: Company, decision: str, done: Mapping[str, Corrections]) -> None:
    """Read the rows that a decision has marked again, now that its change is committed: that is what was decided.

    What a run before this one committed is in `done` no more; it is known by its hashes alone, and looked for.
    """
    for store, corrections in done.items():
        for purpose, place, wanted, changed in _touched(company, store, corrections):
            _settled(company, purpose, decision, dict(_rows(company, purpose, place, wanted, list(changed))))
    query = sa.select(decided_values.c.purpose).where(decided_values.c.proposal == decision).distinct()
    with company.state.read() as connection:
        left = set(connection.scalars(query))
    for purpose in deciding(company.policy):
        for place, wanted in places(company, purpose).items() if str(purpose.name) in left else ():
            if place[0] in company.schemas:
                _settled(company, purpose, decision, dict(_rows(company, purpose, place, wanted)))
    with company.state.write() as connection:
        let_go(connection, [decision])  # rows that are gone


def let_go(connection: sa.Connection, decisions: Collection[str]) -> None:
    """Let go of the rows that some decisions, about people who are erased, were being written to."""
    connection.execute(sa.delete(decided_values).where(decided_values.c.proposal.in_(decisions)))


def _touched(
    company: Company, store: str, done: Corrections
) -> Iterator[tuple[Purpose, Place, tuple[str, ...], dict[Key, set[str]]]]:
    """Every purpose that decides about one of the changed cells, with the table, its columns, and of each changed row
    the columns that were."""
    for purpose in deciding(company.policy):
        for place, wanted in places(company, purpose).items():
            cells = [one for one in done.cells if (store, one.table) == place and one.column in wanted]
            changed: dict[Key, set[str]] = {}
            for one in cells:
                changed.setdefault(one.row, set()).add(one.column)
            if changed:
                yield purpose, place, wanted, changed


def _rows(
    company: Company,
    purpose: Purpose,
    place: Place,
    wanted: tuple[str, ...],
    only: Sequence[Key] | None = None,
) -> Iterator[tuple[bytes, _Held]]:
    """The hashes of rows, of all or those with some keys, and what they hold."""
    store = company.stores[place[0]]
    table, key = store.table(place[1]), store.shape(place[1]).key
    query = sa.select(*(table.c[column] for column in (*key, *wanted))).limit(MOST + 1)
    if only is not None:
        these = (sa.and_(*(table.c[c] == part for c, part in zip(key, row, strict=True))) for row in only)
        query = query.where(sa.or_(sa.false(), *these))
    with store.read() as connection:
        for row in connection.execute(query):
            values = [_plain(value) for value in row[len(key) :]]
            held = {
                column: _mac(purpose, company, [column], [value]).hex()
                for column, value in zip(wanted, values, strict=True)
            }
            yield _row(company, purpose, place, row[: len(key)]), _Held(held, not any(values))


def _known(company: Company, purpose: Purpose) -> dict[bytes, _Known]:
    query = sa.select(decided_values.c.row, decided_values.c.value, decided_values.c.proposal)
    with company.state.read() as connection:
        found = connection.execute(query.where(decided_values.c.purpose == str(purpose.name)))
        return {bytes(row): _Known(_read(value), proposal, bytes(value)) for row, value, proposal in found}


def _among(connection: sa.Connection, purpose: Purpose, rows: Sequence[bytes]) -> dict[bytes, dict[str, str]]:
    """What was noted of some rows."""
    found: dict[bytes, dict[str, str]] = {}
    for start in range(0, len(rows), CHUNK):
        query = sa.select(decided_values.c.row, decided_values.c.value).where(
            decided_values.c.purpose == str(purpose.name),
            decided_values.c.row.in_(rows[start : start + CHUNK]),
        )
        found |= {bytes(row): _read(value) for row, value in connection.execute(query)}
    return found


def _note(
    company: Company,
    purpose: Purpose,
    fresh: Mapping[bytes, Mapping[str, str]],
    others: Mapping[bytes, Mapping[str, str]],
    before: Mapping[bytes, _Known],
) -> None:
    """Note rows that weren't known, and of others what they hold; not what was decided, or is, since `before`."""
    name = str(purpose.name)
    rows = [{"purpose": name, "row": row, "value": _written(values)} for row, values in fresh.items()]
    with company.state.write() as connection:
        if rows:
            connection.execute(insert(connection, decided_values).on_conflict_do_nothing(), rows)
        for row, values in others.items():
            same = (decided_values.c.row == row) & (decided_values.c.value == before[row].written)
            mine = (decided_values.c.purpose == name) & decided_values.c.proposal.is_(None)
            connection.execute(sa.update(decided_values).where(mine, same).values(value=_written(values)))


def _settled(company: Company, purpose: Purpose, decision: str, held: Mapping[bytes, _Held]) -> None:
    """Note what the rows hold that a decision has marked, and no other has since: what it has decided, no more."""
    query = sa.select(decided_values.c.row, decided_values.c.value).where(
        decided_values.c.purpose == str(purpose.name), decided_values.c.proposal == decision
    )
    with company.state.write() as connection:
        for row, value in [(bytes(row), _read(value)) for row, value in connection.execute(query)]:
            if row in held:
                one = (decided_values.c.purpose == str(purpose.name)) & (decided_values.c.row == row)
                now = _written({**held[row].values, **value})
                connection.execute(sa.update(decided_values).where(one).values(value=now, proposal=None))


def _written(values: Mapping[str, str]) -> bytes:
    return json.dumps(dict(values), sort_keys=True).encode()


def _read(value: bytes) -> dict[str, str]:
    """The hashes by column; none of a row that is only marked, or was noted in another way."""
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _drop(company: Company, purpose: Purpose, rows: Sequence[bytes]) -> None:
    for start in range(0, len(rows), CHUNK):
        gone = decided_values.c.row.in_(rows[start : start + CHUNK])
        with company.state.write() as connection:
            mine = decided_values.c.purpose == str(purpose.name)
            connection.execute(sa.delete(decided_values).where(mine, gone))


def _row(company: Company, purpose: Purpose, place: Place, key: Sequence[object]) -> bytes:
    return _mac(purpose, company, place, [str(_plain(part)) for part in key])


def _mac(purpose: Purpose, company: Company, about: Sequence[str], values: Sequence[object]) -> bytes:
    """A keyed hash of values, each of them a value of its own sort: nothing isn't the empty text, 1.0 is 1."""
    told = json.dumps([str(purpose.name), list(about), list(values)])
    return company.keys.mac(MAC, told.encode())[:16]


def _plain(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    if isinstance(value, datetime | date | time):
        return ["t", value.isoformat()]
    if isinstance(value, bytes | memoryview):
        return ["b", bytes(value).hex()]
    try:
        number = Decimal(str(int(value) if isinstance(value, bool) else value))
    except InvalidOperation:
        return [type(value).__name__, str(value)]
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or not number:
        return ["n", "0" if not number else str(number)]
    figures = "".join(map(str, digits)).rstrip("0")
    return ["n", sign, figures, exponent + len(digits) - len(figures)]
