"""The plan of a guard: the migration to be read by eye, what roles lose by it, and what stays unguarded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.company import Company
from kept.controls.collection.declare import NeverCollected
from kept.controls.purposes.declare import NeverUsed, Purpose
from kept.controls.purposes.guard import blocks as written
from kept.controls.purposes.guard import catalogue
from kept.controls.purposes.guard.blocks import Block, Words, rows_in_words
from kept.controls.purposes.guard.catalogue import Catalogue, quoted
from kept.controls.purposes.guard.readings import Declared, Sight, declared
from kept.controls.registry import sentence
from kept.errors import KeptError, TerminalError
from kept.policy.entry import Promise
from kept.state.uses import guards
from kept.stores.postgresql import PostgreSQLStore
from kept.stores.sql import SQLStore

MINUTES: Final = 60  # after which what rests on a yes is closed, where nothing was carried over
SETTING: Final = "KEPT_GUARD_MINUTES"
OLDEST: Final = 150000
SHOWN: Final = "guard shown"


@dataclass(frozen=True)
class Loss:
    """What a role can read now and won't any more: columns of a table, and of the others which rows stay."""

    role: str
    table: str
    columns: tuple[str, ...]
    rows: str | None


@dataclass(frozen=True)
class Record:
    """The guard that was applied last, as Kept's state remembers it."""

    policy: str
    plan: str
    statements: tuple[str, ...]
    undo: tuple[str, ...]
    made: tuple[str, ...]
    print: str
    applied: datetime
    by: str
    seen: datetime | None


@dataclass(frozen=True)
class Plan:
    """What `apply` would do to one store. `stands`: nothing, for it is done; `replaces`: another guard goes first."""

    store: str
    policy: str
    blocks: tuple[Block, ...]
    undo: tuple[str, ...]
    made: tuple[str, ...]
    losses: tuple[Loss, ...]
    unguarded: tuple[str, ...]
    stands: bool
    replaces: bool
    before: str  # the fingerprint of what it was made for
    first: tuple[str, ...]  # what takes another guard away, where one stands

    @property
    def statements(self) -> tuple[str, ...]:
        return tuple(line for block in self.blocks for line in block.statements)

    @property
    def digest(self) -> str:
        """SHA-256 of its statements and of the database they are for."""
        return sha256(json.dumps([self.policy, self.statements, self.undo, self.before]).encode()).hexdigest()

    def sql(self) -> str:
        """The whole migration."""
        says = "Another guard stands, and is taken away first: what stood before it is restored."
        first = [Block(says, (), self.first)] if self.first else []
        told = "\n\n".join(block.sql() for block in (*first, *self.blocks))
        return f"BEGIN;\nSET LOCAL lock_timeout = '5s';\n\n{told}\n\nCOMMIT;\n"


def database(company: Company, store: str) -> PostgreSQLStore:
    """A store that can be guarded; KeptError where it is another database, or none that answers."""
    found: SQLStore | None = company.stores.get(store)
    if found is None:
        why = company.unreachable.get(store, "the file has no SQL store of this name")
        raise KeptError(f"it can't be guarded: {why}", where=store)
    if not isinstance(found, PostgreSQLStore):
        raise KeptError(
            "a file knows no roles: whoever opens it reads all of it"
            if found.dialect == "sqlite"
            else f"Kept makes no guard in {found.dialect}",
            help="the guard needs PostgreSQL; elsewhere the gate in the application is all there is",
            where=store,
        )
    return found


def guardable(company: Company) -> list[str]:
    """The stores of the file that have roles, and are PostgreSQL."""
    return [
        str(name)
        for name, one in company.policy.stores.items()
        if one.roles and isinstance(company.stores.get(str(name)), PostgreSQLStore)
    ]


def make(company: Company, store: str) -> Plan:
    """The plan for a store as it is now. A guard that stands is taken away for it in a transaction that is undone."""
    place, said, record = database(company, store), declared(company, store), recorded(company, store)
    with place.read() as connection:
        live = catalogue.read(connection, said.tables)
        _refuse(live, store, record)
        base = live
        if record is not None and live.own:
            nested = connection.begin_nested()
            undo(place, connection, record.undo)
            base = catalogue.read(connection, said.tables)
            nested.rollback()
        opened = _schemas(connection, base, said)
    minutes = int(company.settings.get(SETTING, MINUTES))
    made = tuple(role for role in said.roles if base.role(role) is None)
    if made and not base.may_make_roles:
        raise TerminalError(
            f"{live.me} may not make roles, and there is no {', '.join(made)}",
            help="make them first: " + " ".join(f"CREATE ROLE {quoted(role)} NOLOGIN;" for role in made),
            where=store,
        )
    blocks = written.write(
        said, base, _words(company), minutes=minutes, never=_never(company), schema_open=opened
    )
    undoing = written.undone(base, said, made, opened)
    statements = tuple(line for block in blocks for line in block.statements)
    stands = (
        record is not None
        and bool(live.own)
        and record.statements == statements
        and record.print == live.print
    )
    return Plan(
        store,
        str(company.policy.source.digest),
        tuple(blocks),
        tuple(undoing),
        made,
        tuple(_losses(live, said)),
        tuple(_unguarded(base, said)),
        stands,
        bool(live.own) and not stands,
        base.print,
        record.undo if record is not None and live.own and not stands else (),
    )


def recorded(company: Company, store: str) -> Record | None:
    """The guard applied last, by Kept's state."""
    with company.state.read() as connection:
        row = connection.execute(sa.select(guards).where(guards.c.store == store)).one_or_none()
    if row is None:
        return None
    body = json.loads(row.body)
    return Record(
        row.policy,
        row.plan,
        tuple(body["statements"]),
        tuple(body["undo"]),
        tuple(body["made"]),
        body["print"],
        datetime.fromisoformat(row.applied),
        row.by,
        datetime.fromisoformat(row.seen) if row.seen else None,
    )


def show(company: Company, plan: Plan) -> None:
    """Note that somebody was shown a plan: only such a one may be applied."""
    company.state.note(SHOWN, plan.store, {"digest": plan.digest})


def run(store: SQLStore, connection: Connection, statements: Sequence[str]) -> None:
    """Carry out statements as they are written, in the transaction under way."""
    driver: Any = connection.connection.driver_connection
    try:
        for statement in statements:
            driver.execute(statement)
    except psycopg.Error as error:
        raise store.told(error) from None


def undo(store: SQLStore, connection: Connection, statements: Sequence[str]) -> None:
    """Carry out statements that take a guard away; what they are about may be gone since, with a migration."""
    driver: Any = connection.connection.driver_connection
    for statement in statements:
        try:
            with driver.transaction():
                driver.execute(statement)
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            psycopg.errors.UndefinedObject,
            psycopg.errors.InvalidSchemaName,
        ):
            continue
        except psycopg.Error as error:
            raise store.told(error) from None


def _refuse(live: Catalogue, store: str, record: Record | None) -> None:
    if live.version < OLDEST:
        raise TerminalError("it is older than PostgreSQL 15", where=store)
    if live.own and record is None:
        raise TerminalError(
            "a schema `kept` stands there that this company's Kept has no record of",
            help="rename or drop it, or run this where the guard was applied from",
            where=store,
        )
    mine = live.role(live.me)
    for relation in live.relations:
        if mine is None or not (mine.superuser or relation.owner in mine.owns):
            raise TerminalError(
                f"{relation.name} belongs to {relation.owner}, and Kept connects as {live.me}",
                help="a guard is applied by the owner of the tables: name that role in the store's `at:`",
                where=store,
            )


def _schemas(connection: Connection, base: Catalogue, said: Declared) -> list[str]:
    """What lets each role into the schemas of the tables, where it may not enter them yet."""
    found = []
    for schema in dict.fromkeys(one.schema for one in base.relations):
        for role in said.roles:
            who = role if base.role(role) is not None else "public"
            may = connection.scalar(
                sa.text("SELECT pg_catalog.has_schema_privilege(:who, :schema, 'USAGE')"),
                {"who": who, "schema": schema},
            )
            if not may:
                found.append(f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)};")
    return found


def _words(company: Company) -> Words:
    policy = company.policy

    def told(promise: Promise) -> str:
        clause = f" ({', '.join(map(str, promise.clause))})" if promise.clause else ""
        return f"{promise.id}{clause}: {sentence(policy, promise)}"

    found = {
        str(name): told(one) for name, one in policy.section("purposes").items() if isinstance(one, Purpose)
    }
    never = [
        told(one)
        for one in policy.section("purposes").values()
        if isinstance(one, NeverUsed) and "undeclared" in one.never
    ]
    return Words(found | {"never-undeclared": " · ".join(never)} if never else found)


def _never(company: Company) -> list[str]:
    return [
        f"{one.id} ({', '.join(map(str, one.clause)) or 'no clause'})"
        for one in company.policy.section("collection").values()
        if isinstance(one, NeverCollected) and "card-number" in one.never
    ]


def _losses(live: Catalogue, said: Declared) -> list[Loss]:
    """What each role that can be bound reads now, and won't when the plan is applied."""
    sights = {(one.role, one.table): one for one in said.sights}
    found: list[Loss] = []
    for role in live.roles:
        if role.unbound:
            continue
        for relation in live.relations:
            now = live.can_read(role.name, relation.name)
            sight: Sight | None = sights.get((role.name, relation.table)) if relation.named else None
            kept = sight.columns if sight is not None else ()
            gone = tuple(column for column in now if column not in kept)
            rows = rows_in_words(sight.readings) if sight is not None and now else None
            if gone or rows:
                found.append(Loss(role.name, relation.name, gone, rows))
        found += [
            Loss(role.name, view.name, now, None)
            for view in live.views
            if (now := live.can_read(role.name, view.name))
        ]
    return found


def _plain(name: str) -> str:
    return name.replace('"', "")


def _unguarded(live: Catalogue, said: Declared) -> list[str]:
    """What no guard in the database can hold back, and why."""
    found = []
    for role in live.roles:
        if role.unbound:
            declared_ = (
                "; it serves purposes of the file: give it other rights" if role.name in said.roles else ""
            )
            found.append(f"`{role.name}` {role.unbound}; nothing here binds it{declared_}")
    found += [f"`{role}`, for {purpose}: {why}" for role, purpose, why in said.refused]
    found += [
        f"`{table}` is no table of this database that can be guarded (a view, a foreign table, or not there)"
        for table in said.tables
        if live.relation(table) is None
        and not any(view.name.endswith(f".{quoted(table)}") for view in live.views)
    ]
    found += [
        f"`{sight.role}` gets no view of {sight.table} with {', '.join(sight.masked)} masked: the table has policies "
        "of its own, and such a view would pass by them"
        for sight in said.sights
        if sight.masked and (there := live.relation(sight.table)) is not None and there.secured
    ]
    found += [
        f"view {_plain(view.name)} shows guarded tables with the rights of {view.owner}: closed to everybody else"
        if view.kind == "v"
        else f"materialized view {_plain(view.name)} is a copy, as of its last refresh: closed to all but {view.owner}"
        for view in live.views
        if not view.asks
    ]
    found += [
        f"function {name} runs with its owner's rights: see who may execute it" for name in live.functions
    ]
    found += [f"publication {name} sends rows out whatever any policy says" for name in live.publications]
    found += [
        f"`{name}` is given SELECT on tables made later: `kept guard plan` again after each migration"
        for name in live.defaults
    ]
    found += [
        f"policy `{name}` on {_plain(relation)} stands already: the guard's is added to it, and both must agree"
        for relation, name, *_ in live.policies
    ]
    for sight in said.sights:
        if len(sight.purposes) > 1:
            found.append(
                f"`{sight.role}` serves {', '.join(sight.purposes)}: a row that one of them may use shows all of their "
                f"columns of {sight.table}; roles of their own would part them"
            )
    return found
