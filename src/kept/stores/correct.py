"""Corrects what a store holds about one person (GDPR Art. 16): declared cells of their own rows, in one transaction.

What can't be done is refused before anything has changed, and no refusal says a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.stores.clauses import Clauses
from kept.stores.collect import existing
from kept.stores.corrections import ANYTHING, Cell, Change, Corrections, Refused
from kept.stores.owners import Owners
from kept.stores.schema import Column, Reference
from kept.stores.sql import SQLStore
from kept.stores.typed import is_same, typed
from kept.stores.walk import Key, Walk


def correct(
    store: SQLStore,
    walk: Walk,
    key: object,
    changes: Sequence[Change],
    before_commit: Callable[[Corrections], None],
    *,
    excepted: Collection[str] = (),
) -> Corrections:
    """Correct cells of one person; `before_commit` is called with what was done, after the changes, before COMMIT.

    `excepted` are names of data that the policy leaves to nobody's correction. Raises Refused where a change is not
    the person's to ask or not clear, Misfit where the column can't hold the value, TerminalError where the database
    refuses it (a unique column, a check, a reference): nothing is changed then, of any of the changes.
    """
    person = _person(store, walk, key)
    for change in changes:
        _may(store, walk, change, excepted)
    with store.write() as connection:
        done = _Correcting(store, walk, connection, person).run(changes)
        before_commit(done)
    return done


def rehearse(
    store: SQLStore, walk: Walk, key: object, changes: Sequence[Change], *, excepted: Collection[str] = ()
) -> Corrections:
    """What a correction would do, found by doing it in a transaction that is rolled back; raises what it would."""

    class Rehearsed(Exception):
        """Ends the transaction without committing it."""

    found = Corrections()

    def stop(done: Corrections) -> None:
        nonlocal found
        found = done
        raise Rehearsed

    with suppress(Rehearsed):
        correct(store, walk, key, changes, stop, excepted=excepted)
    return found


def _person(store: SQLStore, walk: Walk, key: object) -> Key:
    asked = key if isinstance(key, tuple) else (key,)
    found = existing(store, walk, [asked]).get(asked, [])
    if len(found) != 1:
        raise Refused(
            "the person can't be found by their key",
            help="their row is gone, or what is declared as the key does not name one row",
            where=store.name,
        )
    return found[0]


def _may(store: SQLStore, walk: Walk, change: Change, excepted: Collection[str]) -> None:
    """Refuse what the policy and the schema alone say can't be corrected."""
    place = f"{change.table}.{change.column}"
    table = walk.tables.get(change.table)
    names = {
        name
        for number in (walk.of_table(change.table) if table is not None else ())
        for name in walk.stops[number].columns.get(change.column, ())
    }
    if table is None or not names:
        why, help = f"{place} isn't declared as data about such a person", "declare it in the policy file"
    elif left := sorted(names & set(excepted)):
        why = f"{place} holds `{', '.join(left)}`, which the policy leaves out of corrections"
        help = "see `except` in the right `correct`"
    elif table.is_view:
        why, help = f"{change.table} is a view", "correct the table it shows"
    elif not Clauses(store, walk.tables).key(change.table):
        why, help = f"a row of {change.table} can't be told from another", "give the table a primary key"
    elif (table.name, change.column) in _whose(walk):
        why = f"{place} says whose the row is"
        help = "a row that is somebody else's is moved in the system that made it"
    else:
        return
    raise Refused(why, help=help, where=store.name)


def _whose(walk: Walk) -> set[tuple[str, str]]:
    """The columns by which rows are somebody's: the person's key, and the references a walk goes along."""
    found = {(walk.root.table, column) for column in walk.root.person}
    for stop in walk.stops:
        for hop in stop.hops:
            reference = hop.reference
            tested = [part.column for part in reference.when.all] if reference.when is not None else []
            found |= {(reference.table, str(column)) for column in (*reference.columns, *tested)}
    return found


@dataclass(frozen=True)
class _Target:
    """A cell to change: its row (bound values by name), what it holds, what it gets."""

    change: Change
    row: Key
    old: object
    new: object


class _Correcting:
    """One correction within its transaction."""

    def __init__(self, store: SQLStore, walk: Walk, connection: sa.Connection, person: Key) -> None:
        self.store, self.walk, self.connection = store, walk, connection
        self.say = Clauses(store, walk.tables)
        self.owners = Owners(self.say, walk)
        self.person = {f"p{i}": value for i, value in enumerate(person)}

    def run(self, changes: Sequence[Change]) -> Corrections:
        targets = [target for change in changes if (target := self._target(change)) is not None]
        cells = Counter((target.change.table, target.row, target.change.column) for target in targets)
        if any(count > 1 for count in cells.values()):
            raise Refused("two changes are for the same cell", help="keep one of them", where=self.store.name)
        rows: dict[tuple[str, Key], list[_Target]] = {}
        for target in targets:
            self._referred(target)
            rows.setdefault((target.change.table, target.row), []).append(target)
        for (table, row), together in rows.items():
            self._update(table, row, together)
        if (
            targets and self.store.dialect == "postgresql"
        ):  # the others check each statement, or defer nothing
            self._run("SET CONSTRAINTS ALL IMMEDIATE", {})
        return Corrections(
            tuple(
                Cell(
                    target.change.table,
                    target.change.column,
                    target.row if self.walk.tables[target.change.table].key else (),
                    target.old,
                    target.new,
                )
                for target in targets
            )
        )

    def _run(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        result = self.connection.execute(sa.text(statement), dict(values))
        return [tuple(row) for row in result] if result.returns_rows else []

    def _column(self, change: Change) -> Column:
        return self.walk.tables[change.table].columns[change.column]

    def _typed(self, change: Change, value: object, column: Column | None = None) -> object:
        column = column or self._column(change)
        return typed(self.store, self.connection, change.table, column, value)

    def _target(self, change: Change) -> _Target | None:
        """The one row a change is for; None where its cell is so already. Raises Refused where there isn't one."""
        new = self._typed(change, change.new)
        row = self._row(change)
        given = change.old is not ANYTHING
        old = self._old(change) if given else None
        if row is None and given:
            found = self._find(change, new, same=("old", old))
            if not found:
                if self._find(change, new, same=("new", new)):
                    return None
                raise self._refused(change, "no row of theirs holds what is to be corrected")
        else:
            found = self._find(change, new, row=row)
            if not found and row is not None and change.column in self.walk.tables[change.table].key:
                moved = self._moved(change, row, new)
                if self._find(change, new, row=moved):
                    return None
            if not found:
                raise self._refused(change, "the row isn't theirs, or isn't there")
        if len(found) > 1:
            raise self._refused(
                change,
                "several rows of theirs could be meant",
                "say which by the row's key: `kept decide propose … --row KEY`",
            )
        [(is_new, is_elses, held, key)] = found
        if is_new:
            return None
        if given and not self._find(change, new, row=key, same=("old", old)):
            raise self._refused(change, "the cell holds something else by now", "look at the row again")
        if is_elses:
            raise self._refused(
                change,
                "the row is about somebody else too, and would be changed for them as well",
                "correct it where each has a row of their own",
            )
        return _Target(change, key, held, new)

    def _refused(self, change: Change, why: str, help: str | None = None) -> Refused:
        return Refused(f"{change.table}.{change.column}: {why}", help=help, where=self.store.name)

    def _old(self, change: Change) -> object:
        return None if change.old is None else self._typed(change, change.old)

    def _row(self, change: Change) -> Key | None:
        """The key given for a row, typed by its columns."""
        if change.row is None:
            return None
        table = self.walk.tables[change.table]
        if not table.key or len(change.row) != len(table.key):
            raise self._refused(change, "that isn't a key of its rows", "say what the cell holds now instead")
        return tuple(
            self._typed(change, value, table.columns[column])
            for column, value in zip(table.key, change.row, strict=True)
        )

    def _moved(self, change: Change, row: Key, new: object) -> Key:
        key = self.walk.tables[change.table].key
        return tuple(
            new if column == change.column else value for column, value in zip(key, row, strict=True)
        )

    def _find(
        self, change: Change, new: object, *, row: Key | None = None, same: tuple[str, object] | None = None
    ) -> list[tuple[bool, bool, object, Key]]:
        """Up to two rows of the person, locked: is the cell new already, is the row another's too, old value, key."""
        say, table, column = self.say, change.table, self._column(change)
        own = self.owners.stops(table, change.column, own=True)
        everybody = self.owners.stops(table, change.column, own=False)
        values: dict[str, object] = {**self.person}
        is_new = is_same(say, "t", column, "new", empty=new is None)
        values |= {} if new is None else {"new": new}
        conditions = [say.same_row(table, "t", "s")]
        if row is not None:
            conditions += [f"t.{name} = :r{i}" for i, name in enumerate(say.key(table))]
            values |= {f"r{i}": value for i, value in enumerate(row)}
        if same is not None:
            conditions.append(is_same(say, "t", column, same[0], empty=same[1] is None))
            values |= {} if same[1] is None else {same[0]: same[1]}
        lock = {"postgresql": " FOR UPDATE OF t", "mariadb": " FOR UPDATE"}.get(self.store.dialect, "")
        found = self._run(
            f"SELECT CASE WHEN {is_new} THEN 1 ELSE 0 END,"
            f" CASE WHEN {self.owners.elses('t', everybody)} THEN 1 ELSE 0 END,"
            f" {say.column('t', change.column)}, {say.keys(table, 't')}"
            f" FROM ({self.owners.theirs(table, own)}) s {say.join} {say.name(table)} t"
            f" ON {' AND '.join(conditions)} LIMIT 2{lock}",
            values,
        )
        return [(bool(row[0]), bool(row[1]), row[2], tuple(row[3:])) for row in found]

    def _referred(self, target: _Target) -> None:
        """Refuse to change what other rows refer to, unless the database changes them along."""
        change, say = target.change, self.say
        for reference in self._referring(change):
            if self._cascades(reference):
                continue
            match = say.refers(reference, "c", "t")
            here = " AND ".join(f"t.{name} = :r{i}" for i, name in enumerate(say.key(change.table)))
            found = self._run(
                f"SELECT 1 FROM {say.name(change.table)} t {say.join} {say.name(reference.table)} c ON {match}"
                f" WHERE {here} LIMIT 1",
                {f"r{i}": value for i, value in enumerate(target.row)},
            )
            if found:
                raise self._refused(
                    change,
                    f"rows of {reference.table} refer to it, and would lose their tie",
                    "declare the foreign key ON UPDATE CASCADE, or correct it in the system that made it",
                )

    def _referring(self, change: Change) -> list[Reference]:
        return [
            reference
            for table in self.walk.tables.values()
            if not table.is_view
            for reference in table.references
            if reference.to == change.table and change.column in reference.to_columns
        ]

    def _cascades(self, reference: Reference) -> bool:
        """Whether the database changes what refers along with what is referred to."""
        if reference.declared != "database":
            return False
        if self.say.sqlite:
            found = self._run(
                'SELECT id, group_concat("from", char(31)), max(on_update) FROM'
                ' (SELECT * FROM pragma_foreign_key_list(:name) WHERE lower("table") = lower(:to) ORDER BY id, seq)'
                " GROUP BY id",
                {"name": reference.table, "to": reference.to},
            )
            keys = [(tuple(columns.split("\x1f")), action) for _, columns, action in found]
        else:
            keys = [
                (tuple(key["constrained_columns"]), (key.get("options") or {}).get("onupdate", ""))
                for key in sa.inspect(self.connection).get_foreign_keys(reference.table)
                if key["referred_table"] == reference.to
            ]
        return any(
            columns == reference.columns and str(action).upper() == "CASCADE" for columns, action in keys
        )

    def _update(self, table: str, row: Key, targets: Sequence[_Target]) -> None:
        say = self.say
        values: dict[str, object] = {f"r{i}": value for i, value in enumerate(row)}
        sets = []
        for i, target in enumerate(targets):
            sets.append(f"{say.name(target.change.column)} = :v{i}")
            values[f"v{i}"] = target.new
        here = " AND ".join(f"{name} = :r{i}" for i, name in enumerate(say.key(table)))
        kept = ", ".join(
            f"CASE WHEN {is_same(say, say.name(table), self._column(t.change), f'v{i}', empty=t.new is None)}"
            " THEN 1 ELSE 0 END"
            for i, t in enumerate(targets)
        )
        change = f"UPDATE {say.name(table)} SET {', '.join(sets)} WHERE {here}"
        if not say.returns_changes:  # ask again, under the key the row has now
            changed = self.connection.execute(sa.text(change), values).rowcount
            key = self.walk.tables[table].key
            values |= {f"r{key.index(t.change.column)}": t.new for t in targets if t.change.column in key}
            done = (
                self._run(f"SELECT {kept} FROM {say.name(table)} WHERE {here}", values)
                if changed == 1
                else []
            )
        else:
            done = self._run(f"{change} RETURNING {kept}", values)
        if len(done) != 1:
            raise TerminalError(f"{table}: the row can't be changed", where=self.store.name)
        for target, held in zip(targets, done[0], strict=True):
            if not held:
                raise self._refused(
                    target.change,
                    "the database keeps something else than what was given",
                    "give a value of the column's length and precision, or see what changes it there",
                )
