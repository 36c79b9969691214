"""One statement that counts groups: rows joined to their people, taken together by person, then by group.

Nothing of one person comes out of the database: for each group and figure only how many people there are, the sum,
and the two largest contributions (for the rule of dominance, `kept.controls.purposes.groups.floor`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.groups.floor import ColumnCounted, Counted, Shares
from kept.controls.purposes.groups.question import Noise
from kept.controls.purposes.groups.scope import Dimension, Scope, Way
from kept.controls.purposes.groups.spans import ALL, Span
from kept.datamap.edges import plain
from kept.stores.clauses import Clauses
from kept.stores.conditions import condition, value
from kept.stores.expiring import clocks
from kept.stores.expiring.past import Past
from kept.stores.reach import PEOPLE
from kept.stores.relations import Temporary
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore

Expression = sa.ColumnElement[Any]
ROWS: Final = "n"


def count(
    company: Company,
    scope: Scope,
    spans: Sequence[Span],
    people: Mapping[str, Sequence[tuple[str, ...]]],
    noise: Noise | None = None,
) -> list[list[Counted]]:
    """Every group of these people's rows in these stretches of time, however small; `people` are keys by kind.

    Where a row may be of several people, it is counted where all of them are among these, once for each way in which
    it is somebody's, by whoever it is of in that way: the groups and sums are the same, the people differ. With `noise`
    what one person contributes is bounded as it says: to the groups that come first, and to so much.
    """
    store = company.stores[scope.walk.store]
    with store.read() as connection:
        statement = _Statement(company, store, connection, scope)
        statement.people(people)
        return [
            [
                _counted(scope, row)
                for row in connection.execute(
                    _by_group(_by_person(scope, statement.rows(spans, way), noise), scope)
                )
            ]
            for way in range(len(scope.ways))
        ]


class _Statement:
    """The rows of a scope with their person, stretch and labels."""

    def __init__(self, company: Company, store: SQLStore, connection: sa.Connection, scope: Scope) -> None:
        self.company, self.store, self.connection, self.scope = company, store, connection, scope
        self.say = Clauses(store, scope.walk.tables)
        self.table = store.table(scope.table)
        self.shape = store.shape(scope.table)
        self.schema = {"sqlite": "temp", "postgresql": "pg_temp"}.get(store.dialect)
        self.kinds = list(dict.fromkeys(way.walk.kind for way in scope.ways))

    def people(self, people: Mapping[str, Sequence[tuple[str, ...]]]) -> None:
        """A temporary table of people for each way, numbered alike for each kind."""
        relations, say = Temporary(self.connection, self.say), self.say
        for i, way in enumerate(self.scope.ways):
            root, kind = way.walk.root, way.walk.kind
            shapes = [way.walk.tables[root.table].columns[column] for column in root.person]
            numbered = [
                (n * len(self.kinds) + self.kinds.index(kind), key) for n, key in enumerate(people[kind])
            ]
            taken = ", ".join(f"j.v{k} AS k{k}" for k in range(len(shapes)))
            columns = ", ".join(f"{say.name(column)} AS k{k}" for k, column in enumerate(root.person))
            relations.shaped(
                f"{PEOPLE}_{i}",
                f"SELECT 0 AS person, {columns} FROM {say.name(root.table)} WHERE 1 = 0",
                f"SELECT j.n AS person, {taken} FROM {say.unpacked(shapes)}",
                index=", ".join(f"k{k}" for k in range(len(shapes))),
                **say.given(shapes, list(numbered)),
            )
        relations.run("SELECT 1")  # whatever waits to be counted, before the statement

    def rows(self, spans: Sequence[Span], way: int) -> sa.Subquery:
        """The rows, each with whoever it is of along a way; where it is of nobody along that, along another."""
        scope = self.scope
        source, own, person, of_all = self._shared(way) if scope.is_shared else self._joined()
        labels: list[Expression] = []
        for i, dimension in enumerate(scope.dimensions):
            if dimension.link is not None:
                tied = self._tied(dimension, f"l{i}")
                source = source.outerjoin(tied, tied.c.person == own)
                labels.append(tied.c.label)
            else:
                labels.append(self._label(dimension))
        span, within = self._span(spans)
        chosen = sa.select(
            span.label("span"),
            *(label.label(f"d{i}") for i, label in enumerate(labels)),
            person.label("person"),
            *(self._number(name).label(f"v{i}") for i, name in enumerate(scope.numbers)),
        )
        limits = [
            sa.not_(sa.func.coalesce(sa.and_(past.past(), *past.meant()), sa.false()))
            for past in (Past(self.store, self.connection, one) for one in scope.limits)
        ]
        return chosen.select_from(source).where(within, *of_all, *limits).subquery("counted")

    def _people(self, way: int) -> sa.FromClause:
        keys: list[sa.ColumnClause[Any]] = [
            sa.column(f"k{i}") for i in range(len(self.scope.ways[way].walk.root.person))
        ]
        return sa.table(f"{PEOPLE}_{way}", sa.column("person"), *keys, schema=self.schema).alias(f"s{way}")

    def _joined(self) -> tuple[sa.FromClause, Expression, Expression, list[Expression]]:
        """From people to their own rows, and from there to the rows that are counted; and a person's key and number."""
        [way] = self.scope.ways
        people, path = self._people(0), way.path
        table = self.store.table(way.walk.root.table)
        root: sa.FromClause = table.alias("kept_person") if path else table
        source: sa.FromClause = sa.join(people, root, self._is(way, root, people))
        above, parent = "kept_person", root
        for level in range(len(path) - 1, -1, -1):
            reference = path[level]
            below = self.store.table(reference.table)
            called = f"kept_way_{level}" if level else self.say.name(reference.table)
            child: sa.FromClause = below.alias(f"kept_way_{level}") if level else below
            source = source.join(child, self._refers(reference, called, above, child, parent))
            above, parent = called, child
        return source, root.c[way.walk.root.person[0]], people.c.person, []

    def _shared(self, chosen: int) -> tuple[sa.FromClause, Expression, Expression, list[Expression]]:
        """From the rows to all whose they are; a row counts where each of those it names may be counted."""
        source: sa.FromClause = self.table
        found: list[Expression] = []
        of_all: list[Expression] = []
        for i, way in enumerate(self.scope.ways):
            above, parent = self.say.name(self.scope.table), self.table
            at: sa.FromClause = parent
            for level, reference in enumerate(way.path):
                called = f"kept_way_{i}_{level}"
                target = self.store.table(reference.to).alias(called)
                source = source.outerjoin(target, self._refers(reference, above, called, at, target))
                above, at = called, target
            people = self._people(i)
            source = source.outerjoin(people, self._is(way, at, people))
            named = [self.table.c[name] for name in (way.path[0].columns if way.path else ())]
            absent = sa.or_(*(name.is_(None) for name in named)) if named else sa.false()
            found.append(people.c.person)
            of_all.append(sa.or_(absent, people.c.person.is_not(None)))
        others = [*found[chosen:], *found[:chosen]]
        person = sa.func.coalesce(*others)
        return source, person, person, [*of_all, person.is_not(None)]

    def _is(self, way: Way, root: sa.FromClause, people: sa.FromClause) -> Expression:
        """That a person's own row is that of somebody in the table of people."""
        return sa.and_(
            *(root.c[column] == people.c[f"k{i}"] for i, column in enumerate(way.walk.root.person))
        )

    def _refers(
        self, reference: Reference, called: str, above: str, child: sa.FromClause, parent: sa.FromClause
    ) -> Expression:
        """That a row refers to another one, in the dialect's words; SQLAlchemy, which can't read those, is told that
        the two belong together."""
        ties = child.c[reference.columns[0]] == parent.c[reference.to_columns[0]]
        return sa.and_(
            sa.text(self.say.refers(reference, called, above)), sa.or_(sa.literal_column("1 = 1"), ties)
        )

    def _span(self, spans: Sequence[Span]) -> tuple[Expression, Expression]:
        """Which of the stretches a row lies in, and that it lies in one."""
        if self.scope.clock is None or tuple(spans) == (ALL,):
            return sa.literal_column("0"), sa.true()
        format = clocks.format_seen(self.store, self.connection, self.scope.table, self.scope.clock)
        clock = self.table.c[self.scope.clock]

        def at(span: Span) -> Expression:
            return sa.and_(
                clock >= value(clocks.bound(format, span.since)),
                clock < value(clocks.bound(format, span.until)),
            )

        found = sa.case(*((at(span), sa.literal_column(str(i))) for i, span in enumerate(spans)))
        ends = sa.and_(
            clock >= value(clocks.bound(format, min(spans).since)),
            clock < value(clocks.bound(format, max(spans).until)),
        )
        return found, sa.and_(ends, clocks.readable(format, clock), found.is_not(None))

    def _label(self, dimension: Dimension) -> Expression:
        found: Expression = self.table.c[dimension.column]
        if dimension.width is None:
            return sa.cast(found, sa.Text)
        column = self.shape.columns[dimension.column]
        number = self._number(dimension.column)
        if self.store.dialect != "sqlite":
            band: Expression = sa.func.floor(number / sa.literal_column(f"{dimension.width}.0"))
            return sa.cast(sa.cast(band * dimension.width, sa.Numeric(38, 0)), sa.Text)
        assert column.sort == "number"
        cut: Expression = sa.cast(number / sa.literal_column(f"{dimension.width}.0"), sa.Integer)
        below = sa.case((number < cut * dimension.width, cut - 1), else_=cut)
        return sa.cast(below * dimension.width, sa.Text)

    def _number(self, name: str) -> Expression:
        """A column's number; SQLite may hold anything there."""
        found: Expression = self.table.c[name]
        if self.store.dialect != "sqlite":
            return found
        return sa.case((sa.func.typeof(found).in_(("integer", "real")), found))

    def _tied(self, dimension: Dimension, called: str) -> sa.Subquery:
        """By person, the organisation they are tied to now; nobody who is tied to several is in the group of one."""
        assert dimension.link is not None
        link = dimension.link
        name = plain(link.table)
        source, shape = self.store.table(name), self.store.shape(name)
        person, other = source.c[dimension.person], source.c[dimension.column]
        where: list[Expression] = [person.is_not(None), other.is_not(None)]
        if link.when is not None:
            today = self.company.clock().astimezone(self.company.policy.timezone).date()
            where.append(condition(link.when, source, shape, today=today))
        if link.ended is not None:
            where.append(source.c[str(link.ended)].is_(None))
        few = sa.func.count(other.distinct()) == 1
        label = sa.case((few, sa.func.min(sa.cast(other, sa.Text))))
        return (
            sa.select(person.label("person"), label.label("label"))
            .where(*where)
            .group_by(person)
            .subquery(called)
        )


def _by_person(scope: Scope, rows: sa.Subquery, noise: Noise | None) -> sa.Subquery:
    """What each person contributes to each group: rows, and of each column the sum, the values and the empty ones."""
    labels = [rows.c[f"d{i}"] for i in range(len(scope.dimensions))]
    keys = [rows.c.span, *labels, rows.c.person]
    numbers = [rows.c[f"v{i}"] for i in range(len(scope.numbers))]
    made = sa.select(
        *keys,
        sa.func.count().label(ROWS),
        *(sa.func.coalesce(sa.func.sum(one), 0).label(f"s{i}") for i, one in enumerate(numbers)),
        *(sa.func.count(one).label(f"m{i}") for i, one in enumerate(numbers)),
        *((sa.func.count() - sa.func.count(one)).label(f"z{i}") for i, one in enumerate(numbers)),
    ).group_by(*keys)
    found = made.subquery("by_person")
    return found if noise is None else _bounded(scope, found, noise)


def _bounded(scope: Scope, found: sa.Subquery, noise: Noise) -> sa.Subquery:
    """No more than `noise` lets a person contribute."""
    labels = [found.c[f"d{i}"] for i in range(len(scope.dimensions))]
    turn = sa.func.row_number().over(partition_by=[found.c.span, found.c.person], order_by=labels or None)
    turned = sa.select(*found.c, turn.label("turn")).subquery("turned")
    n = turned.c[ROWS]
    columns = [
        sa.case((one < noise.least, noise.least), (one > noise.most, noise.most), else_=one).label(f"s{i}")
        for i in range(len(scope.numbers))
        for one in (turned.c[f"s{i}"],)
    ]
    return (
        sa.select(
            turned.c.span,
            *(turned.c[f"d{i}"] for i in range(len(scope.dimensions))),
            turned.c.person,
            sa.case((n > noise.rows, noise.rows), else_=n).label(ROWS),
            *columns,
            *(turned.c[f"{letter}{i}"] for letter in "mz" for i in range(len(scope.numbers))),
        )
        .where(turned.c.turn <= noise.cells)
        .subquery("bounded")
    )


def _by_group(people: sa.Subquery, scope: Scope) -> sa.Select[Any]:
    """Each group: of each figure the sum, how many people made it, and the two largest shares."""
    labels = [people.c[f"d{i}"] for i in range(len(scope.dimensions))]
    cell = [people.c.span, *labels]
    figures = [ROWS, *(f"{letter}{i}" for i in range(len(scope.numbers)) for letter in "smz")]
    ranked = sa.select(
        *cell,
        *(people.c[name] for name in figures),
        *(
            sa.func.row_number()
            .over(partition_by=cell, order_by=sa.func.abs(people.c[name]).desc())
            .label(f"r_{name}")
            for name in figures
        ),
    ).subquery("ranked")
    cell = [ranked.c.span, *(ranked.c[f"d{i}"] for i in range(len(scope.dimensions)))]
    chosen: list[Expression] = []
    for name in figures:
        one, rank = ranked.c[name], ranked.c[f"r_{name}"]
        size = sa.func.abs(one)
        chosen += [
            sa.func.sum(one).label(f"t_{name}"),
            sa.func.sum(sa.case((one != 0, 1), else_=0)).label(f"p_{name}"),
            sa.func.sum(size).label(f"a_{name}"),
            sa.func.max(sa.case((rank == 1, size))).label(f"x_{name}"),
            sa.func.coalesce(sa.func.max(sa.case((rank == 2, size))), 0).label(f"y_{name}"),
        ]
    return sa.select(*cell, *chosen).group_by(*cell)


def _counted(scope: Scope, row: sa.Row[Any]) -> Counted:
    found = row._mapping

    def shares(name: str) -> Shares:
        total, first, second = (float(found[f"{letter}_{name}"]) for letter in "axy")
        return Shares(int(found[f"p_{name}"]), total, first, second)

    columns = {
        name: ColumnCounted(_plain(found[f"t_s{i}"]), shares(f"s{i}"), shares(f"m{i}"), shares(f"z{i}"))
        for i, name in enumerate(scope.numbers)
    }
    labels = tuple(
        None if found[f"d{i}"] is None else str(found[f"d{i}"]) for i in range(len(scope.dimensions))
    )
    return Counted(int(found["span"]), labels, shares(ROWS), columns)


def _plain(number: Any) -> float:
    """A database's number as one that JSON has."""
    found = float(number)
    return int(number) if math.isfinite(found) and number == int(number) else found
