"""Databases at random: tables that refer to each other in every way, rows, and what is declared of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from hypothesis import strategies as st

from kept.stores.sql import SQLStore
from kept.stores.sqlite import SQLiteStore
from tests.acceptance.model import Ref, Row, World


@st.composite
def worlds(draw: st.DrawFn) -> World:
    tables = ["people", *(f"t{i}" for i in range(1, draw(st.integers(2, 6)) + 1))]
    composite = {t: draw(st.integers(0, 3)) == 0 for t in tables}
    keys: dict[str, tuple[str, ...]] = {t: ("a", "b") if composite[t] else ("id",) for t in tables}
    refs: dict[str, list[Ref]] = {}
    for t in tables:
        refs[t] = []
        for n in range(draw(st.integers(0 if t == "people" else 1, 1 if t == "people" else 3))):
            to = draw(st.sampled_from(tables + ["people"] * (2 if t != "people" else 0)))
            columns = tuple(f"r{n}{k}" for k in keys[to])
            nullable = tuple(c for c in columns if draw(st.integers(0, 2)))
            refs[t].append(Ref(t, columns, to, keys[to], nullable))
    y = {t: draw(st.sampled_from(["TEXT", "TEXT NOT NULL", "TEXT", "DATE NOT NULL"])) for t in tables}
    sizes = {t: draw(st.integers(1 if t == "people" else 0, 5)) for t in tables}
    for _ in tables:  # a row that must refer needs something to refer to
        for t in tables:
            for ref in refs[t]:
                if sizes[t] and set(ref.columns) - set(ref.nullable):
                    sizes[ref.to] = max(1, sizes[ref.to])
    rows: dict[str, list[Row]] = {t: [_row(t, i, keys, y) for i in range(sizes[t])] for t in tables}
    for t in tables:
        for row in rows[t]:
            for ref in refs[t]:
                absent = not sizes[ref.to] or (ref.nullable and draw(st.integers(0, 3)) == 0)
                met = None if absent else draw(st.sampled_from(rows[ref.to]))
                for own, theirs in zip(ref.columns, ref.to_columns, strict=True):
                    row[own] = met[theirs] if met else None if own in ref.nullable else 1
    world = World(keys, refs, y, rows)
    world.erased = sorted(draw(st.sets(st.integers(0, sizes["people"] - 1), min_size=1)))
    _declare(draw, world, tables)
    return world


def _row(t: str, i: int, keys: dict[str, tuple[str, ...]], y: dict[str, str]) -> Row:
    row: Row = {"id": i + 1} if keys[t] == ("id",) else {"a": i // 2, "b": i % 2}
    dates = (None, "2020-01-01", "2030-01-01")
    return row | {
        "x": f"x{t}{i}",
        "y": "2021-01-01" if y[t].startswith("DATE") else f"y{t}{i}",
        "at": dates[i % 3],
    }


def _declare(draw: st.DrawFn, world: World, tables: list[str]) -> None:
    everything = {"x", "y", "at"}
    guests = draw(st.booleans())
    world.hows = {kind: {} for kind in (["people", "t1"] if guests else ["people"])}
    for t in tables[1:]:
        kinds = ["people", *(["t1"] if guests and t != "t1" else [])]
        kind = draw(st.sampled_from(kinds))
        ends = [r for r in world.refs[t] if r.to == "people"]
        how = draw(st.sampled_from(["kind"] * 4 + ["at", "link", "impersonal"]))
        if how == "link" and ends and not (guests and t == "t1"):
            modes = st.sampled_from(["share", "remove", "anonymise"])
            world.links[t] = {r.columns[0]: draw(modes) for r in ends}
            all_ends: dict[tuple[Any, ...], set[str]] = {("at", r.columns): set(everything) for r in ends}
            if draw(st.booleans()):  # one column is of one end only
                for way in list(all_ends)[1:]:
                    all_ends[way].discard("x")
            world.hows["people"][t] = all_ends
        elif how == "at" and world.refs[t]:
            ref = draw(st.sampled_from(world.refs[t]))
            world.hows[kind][t] = {("at", ref.columns): everything}
        elif how == "kind" or (guests and t == "t1"):
            if not (guests and t == "t1") or draw(st.booleans()):
                world.hows["people" if t == "t1" else kind][t] = {("kind",): everything}
        else:
            world.impersonal.add(t)
        if t in world.hows["people"] and draw(st.integers(0, 3)) == 0:
            world.held[t] = draw(st.sampled_from([("x",), ("x", "y")]))


def facts(world: World) -> str:
    """The world's declarations as a policy file says them."""

    def sorts(columns: set[str]) -> str:
        kinds = {"x": "free-text", "y": "name", "at": "recorded"}
        return "{" + ", ".join(f"{c}: {kinds[c]}" for c in sorted(columns)) + "}"

    people = [f"  {k}: {{in: app.{k}, key: [{', '.join(world.keys[k])}]}}" for k in world.hows]
    data = [f"  own-{k}: {{of: {k}, in: {{app.{k}: {sorts({'x', 'y', 'at'})}}}}}" for k in world.hows]
    links: list[str] = []
    for kind, tables in world.hows.items():
        for t, hows in tables.items():
            if t in world.links:
                ends = {f"e{n}": how[1][0] for n, how in enumerate(hows)}
                said = {e: world.links[t][c] for e, c in ends.items() if world.links[t][c] != "share"}
                erased = f", erased: {{{', '.join(f'{e}: {m}' for e, m in said.items())}}}" if said else ""
                between = ", ".join(f"{e}: people at {c}" for e, c in ends.items())
                links.append(f"  l-{t}: {{in: app.{t}, between: {{{between}}}{erased}}}")
                for c in ("x", "y", "at"):
                    who = [f"l-{t}.e{n}" for n, columns in enumerate(hows.values()) if c in columns]
                    data.append(
                        f"  d-{kind}-{t}-{c}: {{of: [{', '.join(who)}], in: {{app.{t}: {sorts({c})}}}}}"
                    )
                continue
            [(how, columns)] = hows.items()
            of = f"{kind} at {how[1][0]}" if how[0] == "at" else kind
            data.append(f"  d-{kind}-{t}: {{of: {of}, in: {{app.{t}: {sorts(columns)}}}}}")
    impersonal = f", impersonal: [{', '.join(sorted(world.impersonal))}]" if world.impersonal else ""
    lines = ["stores:", f"  app: {{at: $APP, region: eea{impersonal}}}", "people:", *people]
    return "\n".join([*lines, *(["links:", *links] if links else []), "data:", *data, ""])


def build(store: SQLStore, world: World) -> None:
    """Make the database anew and fill it, whatever its keys point at."""
    statements = []
    for t, key in world.keys.items():
        columns = [f"{c} INTEGER NOT NULL" for c in key]
        for ref in world.refs[t]:
            columns += [f"{c} INTEGER{'' if c in ref.nullable else ' NOT NULL'}" for c in ref.columns]
        columns += ["x TEXT", f"y {world.y[t]}", "at DATE", f"PRIMARY KEY ({', '.join(key)})"]
        if store.dialect == "sqlite":
            columns += [_foreign(ref) for ref in world.refs[t]]
        statements.append(f"CREATE TABLE {t} ({', '.join(columns)})")
    if store.dialect != "sqlite":
        statements += [
            f"ALTER TABLE {ref.table} ADD {_foreign(ref)}" for t in world.refs for ref in world.refs[t]
        ]
    for t, rows in world.rows.items():
        for row in rows:
            values = ", ".join("NULL" if v is None else repr(v) for v in row.values())
            statements.append(f"INSERT INTO {t} ({', '.join(row)}) VALUES ({values})")
    if isinstance(store, SQLiteStore):
        with closing(sqlite3.connect(store.path)) as raw:
            tables = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            raw.executescript(";".join([*(f"DROP TABLE {name}" for (name,) in tables), *statements]))
    elif store.dialect == "mariadb":
        with store.write() as connection:
            there = list(connection.exec_driver_sql("SHOW TABLES").scalars())
            dropped = [f"DROP TABLE {', '.join(there)}"] if there else []
            for statement in (
                "SET foreign_key_checks = 0",
                *dropped,
                *statements,
                "SET foreign_key_checks = 1",
            ):
                connection.exec_driver_sql(statement)
    else:
        with store.write() as connection:
            connection.exec_driver_sql(
                "DROP SCHEMA public CASCADE; CREATE SCHEMA public; SET LOCAL session_replication_role = replica;"
                + ";".join(statements)
            )
    store.schema(refresh=True)


def _foreign(ref: Ref) -> str:
    return f"FOREIGN KEY ({', '.join(ref.columns)}) REFERENCES {ref.to} ({', '.join(ref.to_columns)})"


def contents(store: SQLStore, world: World) -> dict[str, list[Row]]:
    with store.read() as connection:
        return {
            t: [plain(dict(r._mapping)) for r in connection.exec_driver_sql(f"SELECT * FROM {t}")]
            for t in world.rows
        }


def plain(row: Row) -> Row:
    return {c: v if v is None or isinstance(v, int) else str(v) for c, v in row.items()}


def sorted_rows(rows: list[Any]) -> list[str]:
    """Rows, or (table, row) pairs, as texts in order, whatever the order of their columns."""
    pairs = [("", row) if isinstance(row, dict) else row for row in rows]
    return sorted(repr((table, sorted(row.items()))) for table, row in pairs)
