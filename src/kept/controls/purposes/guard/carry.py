"""What people chose, objected to and had restricted, carried over from Kept's state into the guard's lists.

A pass reads what is new, decides it by the very rules of the gate (`Rulings`), and writes it in one transaction per
store, together with the moment at which it was read. `Carrier.once` is a pass; `kept serve` makes one whenever anybody
chooses something, and every quarter of a second else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.company import Company
from kept.controls.choices.deciding import Basis, Rulings
from kept.controls.choices.grounds import read
from kept.controls.choices.messages.roster import pages
from kept.controls.choices.news import _STAMP
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.guard.catalogue import quoted
from kept.controls.purposes.guard.plan import database, guardable, recorded
from kept.controls.purposes.guard.predicates import BYTES, places
from kept.controls.purposes.guard.readings import Declared, Reading, declared
from kept.controls.rights.people import Person, person_of
from kept.policy.words import covers
from kept.state.tables import choice_events, holds, instructions, subjects
from kept.state.uses import guards
from kept.stores.postgresql import PostgreSQLStore

CHUNK: Final = 5000
WHOLE: Final = (
    600.0  # seconds after which everybody is looked through again: yeses that lapsed, regions that changed
)
BEAT: Final = 5.0  # seconds between two notes that nothing is new
_LOCK: Final = (
    "SELECT pg_catalog.pg_advisory_xact_lock(1801810036, 1735746148)"  # one carrier a database at a time
)


@dataclass
class _Place:
    """One guarded store: what is declared of it, and up to where it has been carried."""

    store: PostgreSQLStore
    said: Declared
    columns: dict[str, tuple[tuple[str, str], ...]]  # by kind, the key's columns and types


@dataclass
class Decided:
    """Who stands on the list of each reading, as of a moment: of everybody (`whole`), or of those `looked` at."""

    at: datetime
    whole: bool
    people: int = 0
    listed: dict[int, list[tuple[str, ...]]] = field(default_factory=dict)
    looked: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)


class Carrier:
    """Carries for one company, for as long as it is open; any number of them may work at once."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.rulings = Rulings(company)
        self.position = -1
        self._stamp: tuple[Any, ...] = ()
        self._said: dict[
            tuple[str, str], Person
        ] = {}  # who has an instruction or hold in force, by what it is
        self._whole = self._beat = float("-inf")
        self._known: tuple[tuple[str, str], ...] = ()
        self._at: list[_Place] = []

    def once(self) -> int:
        """Carry over what is new; how many people were looked at. StoreError where a store or the state is down."""
        plans = tuple(self._plans())
        whole = time.monotonic() - self._whole > WHOLE or plans != self._known
        if plans != self._known:
            self._at = [self._place(name) for name, _ in plans]
        if not plans:
            self._known = plans
            return 0
        changed = None if whole else self._changed()
        whole = changed is None
        if changed is not None and not changed and time.monotonic() - self._beat < BEAT:
            return 0
        looked = 0
        for place in self._at:
            with place.store.write() as connection:
                connection.exec_driver_sql(
                    _LOCK
                )  # nobody may write what was decided before what others wrote
                decided = self._decide(place, changed)
                self._put(place, connection, decided)
            if whole:
                self._vacuum(place)
            looked += decided.people
            self._note(place)
        if whole:
            self._whole, self._known = time.monotonic(), plans
        self._beat = time.monotonic()
        return looked

    def decided(self, store: str) -> Decided:
        """Who would stand on the lists of a store's guard now."""
        return self._decide(self._place(store), None)

    def put(self, store: str, connection: Connection, decided: Decided) -> None:
        """Fill the lists in the transaction that makes them: it holds locks, so what is to be read was read before."""
        self._put(self._place(store), connection, decided)

    # What is new.

    def _changed(self) -> list[Person] | None:
        """Whose choices, instructions or holds changed; None where somebody was erased: nobody knows who any more."""
        company = self.company
        query = (
            sa.select(choice_events.c.number, subjects.c.who)
            .join(subjects, subjects.c.number == choice_events.c.subject)
            .where(choice_events.c.number > self.position)
            .order_by(choice_events.c.number)
        )
        with company.state.read() as connection:
            stamp = tuple(connection.execute(_STAMP).one())
            rows = connection.execute(query).all()
        if stamp[-1] != self._stamp[-1]:
            return None
        found = {
            person_of(company.policy, company.keys.unseal("subject", row.who).decode())
            for row in rows
            if row.who is not None
        }
        if rows:
            self.position = rows[-1].number
        if stamp != self._stamp:
            before, self._said, self._stamp = self._said, self._instructed(), stamp
            found |= {person for key, person in before.items() if key not in self._said}
            found |= {person for key, person in self._said.items() if key not in before}
        return list(found)

    def _instructed(self) -> dict[tuple[str, str], Person]:
        """Whoever has an instruction or a hold in force, by which one it is."""
        company, found = self.company, dict[tuple[str, str], Person]()
        given = sa.select(
            instructions.c.pseudonym, instructions.c.verb, instructions.c.scope, instructions.c.who
        ).where(instructions.c.ended.is_(None), instructions.c.who.is_not(None))
        held = sa.select(holds.c.id, holds.c.who).where(holds.c.ended.is_(None), holds.c.who.is_not(None))
        with company.state.read() as connection:
            for row in connection.execute(given):
                who = company.keys.unseal("instruction", row.who).decode()
                found[row.pseudonym, f"{row.verb} {row.scope}"] = person_of(company.policy, who)
            for id, who in connection.execute(held):
                found[id, "hold"] = person_of(company.policy, company.keys.unseal("hold", who).decode())
        return found

    def _everybody(self, place: _Place) -> Iterator[list[Person]]:
        """Everybody who ever said something; where silence may be a yes for some, everybody at all."""
        company = self.company
        looked = {one.kind for one in place.said.readings if one.mode == "looked"}
        for kind in looked:
            yield from pages(company, kind)
        with company.state.read() as connection:
            self._stamp = tuple(connection.execute(_STAMP).one())
            self.position = int(
                connection.scalar(sa.select(sa.func.coalesce(sa.func.max(choice_events.c.number), 0))) or 0
            )
        self._said = self._instructed()
        mine = set(self._said.values())
        yield [one for one in mine if one.kind not in looked]
        last = 0
        while True:
            query = (
                sa.select(subjects.c.number, subjects.c.who)
                .where(subjects.c.number > last, subjects.c.who.is_not(None))
                .order_by(subjects.c.number)
                .limit(CHUNK)
            )
            with company.state.read() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            last = rows[-1].number
            people = [
                person_of(company.policy, company.keys.unseal("subject", row.who).decode()) for row in rows
            ]
            yield [one for one in people if one.kind not in looked and one not in mine]

    # What is written.

    def _plans(self) -> Iterator[tuple[str, str]]:
        """The stores with a guard, each with its plan."""
        for name in guardable(self.company):
            record = recorded(self.company, name)
            if record is not None:
                yield name, record.plan

    def _place(self, name: str) -> _Place:
        company = self.company
        said = declared(company, name)
        columns = {
            one.kind: tuple(
                (column, said.walks[one.kind].tables[said.walks[one.kind].root.table].columns[column].type)
                for column in said.walks[one.kind].root.person
            )
            for one in said.readings
        }
        return _Place(database(company, name), said, columns)

    def _decide(self, place: _Place, changed: Sequence[Person] | None) -> Decided:
        """Who stands on which list, of those who changed, or of everybody."""
        found = Decided(self.company.clock(), changed is None)
        for people in self._everybody(place) if changed is None else _chunks(changed):
            for kind in dict.fromkeys(one.kind for one in place.said.readings):
                mine = [one for one in people if one.kind == kind and _fits(one, place.columns[kind])]
                if not mine:
                    continue
                found.people += len(mine)
                known = read(self.company, mine, self.rulings)
                for reading in (one for one in place.said.readings if one.kind == kind):
                    listed = [who.key for who in mine if self._is_listed(reading, known[who])]
                    found.listed.setdefault(reading.number, []).extend(listed)
                if not found.whole:
                    found.looked.setdefault(kind, []).extend(who.key for who in mine)
        return found

    def _put(self, place: _Place, connection: Connection, decided: Decided) -> None:
        """Lists become what was decided; rows that stay aren't touched."""
        for reading in place.said.readings:
            columns = place.columns[reading.kind]
            keys = [quoted(c) for c, _ in columns]
            listed = decided.listed.get(reading.number, [])
            given = {"reading": reading.number, **_keys("k", listed, columns)}
            names = ", ".join(keys)
            mine = f"unnest({_arrays('k', columns)}) AS k ({names})"
            gone = f"DELETE FROM kept.{reading.list} AS l WHERE l.reading = :reading AND NOT EXISTS (SELECT FROM {mine}"
            gone += f" WHERE {' AND '.join(f'k.{c} = l.{c}' for c in keys)})"
            if not decided.whole:
                gone += f" AND EXISTS (SELECT FROM unnest({_arrays('s', columns)}) AS s ({names})"
                gone += f" WHERE {' AND '.join(f's.{c} = l.{c}' for c in keys)})"
                given |= _keys("s", decided.looked.get(reading.kind, []), columns)
            connection.execute(sa.text(gone), given)
            if listed:
                put = f"INSERT INTO kept.{reading.list} (reading, {names}) SELECT :reading, k.* FROM {mine}"
                connection.execute(sa.text(f"{put} ON CONFLICT DO NOTHING"), given)
            if reading.mode == "unless" and (decided.whole or reading.kind in decided.looked):
                self._filter(connection, reading, columns)
        age = max(0.0, (self.company.clock() - decided.at).total_seconds())
        seen = "UPDATE kept.seen SET at = pg_catalog.clock_timestamp() - :age * interval '1 second'"
        connection.execute(sa.text(seen), {"age": age})

    def _filter(self, connection: Connection, reading: Reading, columns: Sequence[tuple[str, str]]) -> None:
        """Set the bits of all who are on a list, and no others."""
        byte, mask = places([f"l.{quoted(c)}" for c, _ in columns], [kind for _, kind in columns])
        query = f"SELECT {byte}, bit_or({mask}) FROM kept.{reading.list} l"
        query += f" WHERE l.reading = {reading.number} GROUP BY 1"
        bits = bytearray(BYTES)
        for at, mine in connection.exec_driver_sql(query.replace("%", "%%")):
            bits[at] = mine
        connection.execute(
            sa.text(f"UPDATE kept.filter_{reading.number} SET bits = :bits"), {"bits": bytes(bits)}
        )

    def _is_listed(self, reading: Reading, known: Basis) -> bool:
        may = any(self._may(known, name) for name in reading.purposes)
        return may != (reading.mode == "unless")

    def _may(self, known: Basis, name: str) -> bool:
        entry = self.company.policy.section("purposes")[name]
        assert isinstance(entry, Purpose)
        region = known.facts.region
        if entry.regions and (region is None or not any(covers(str(area), region) for area in entry.regions)):
            return False
        return self.rulings.decide(known, name, None).allowed

    def _vacuum(self, place: _Place) -> None:
        """Whoever is no longer on a list can't be read in its free pages either."""
        with place.store.alone() as connection:
            for name in dict.fromkeys(one.list for one in place.said.readings):
                connection.exec_driver_sql(f"VACUUM kept.{name}")

    def _note(self, place: _Place) -> None:
        with self.company.state.write() as connection:
            connection.execute(
                sa.update(guards)
                .where(guards.c.store == place.store.name)
                .values(seen=self.company.clock().isoformat())
            )


def carried(company: Company, store: str) -> datetime | None:
    """When a guard's lists were last brought up to date, by the database itself; None where it has no guard."""
    with database(company, store).read() as connection:
        if connection.scalar(sa.text("SELECT pg_catalog.to_regclass('kept.seen')")) is None:
            return None
        found = connection.scalar(sa.text("SELECT at FROM kept.seen WHERE at > '-infinity'"))
    return found if isinstance(found, datetime) else None


def _chunks(people: Sequence[Person]) -> Iterable[Sequence[Person]]:
    return (people[start : start + CHUNK] for start in range(0, len(people), CHUNK))


def _arrays(name: str, columns: Sequence[tuple[str, str]]) -> str:
    """Arrays of keys, a column each, to be bound."""
    return ", ".join(f"CAST(CAST(:{name}{n} AS text[]) AS {kind}[])" for n, (_, kind) in enumerate(columns))


def _keys(name: str, keys: Sequence[tuple[str, ...]], columns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {f"{name}{n}": [key[n] for key in keys] for n in range(len(columns))}


_WHOLE_NUMBERS: Final = {"SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}


def _fits(who: Person, columns: Sequence[tuple[str, str]]) -> bool:
    """Whether a key can be one of these columns': whoever was recorded under another is nobody here."""
    if len(who.key) != len(columns):
        return False
    for part, (_, kind) in zip(who.key, columns, strict=True):
        bits = _WHOLE_NUMBERS.get(kind.upper())
        if bits is not None and not (
            part.removeprefix("-").isdecimal()
            and part.isascii()
            and len(part) < 21
            and -(1 << bits) <= int(part) < 1 << bits
        ):
            return False
        if "\0" in part:
            return False
    return True
