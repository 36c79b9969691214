"""Measures who can read what in the company's databases, against the purposes each role serves; and tries it.

With or without a guard: what counts is what the catalogue grants now, to each role, to everybody, by membership.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.guard import catalogue
from kept.controls.purposes.guard.catalogue import Catalogue, Role, quoted
from kept.controls.purposes.guard.plan import MINUTES, SETTING, recorded
from kept.controls.purposes.guard.readings import Declared, Reading, declared, own_columns
from kept.datamap.edges import plain, store_of
from kept.errors import KeptError
from kept.evidence.proof import Proof
from kept.policy.entry import Promise
from kept.stores.postgresql import PostgreSQLStore
from kept.stores.walk import Walk

NAMED: Final = 3  # roles named before "and N more"
HIDDEN: Final = 20  # people asked for whom a role may not see


def roles(company: Company, promise: Promise) -> list[Proof]:
    """Whether the grants of each role are within its purposes' data, for each database with data of a purpose.

    Broken where a role of the file reads more than its purposes use; unproven where a role that isn't in the file can
    read, where a database has no roles, and where it doesn't answer.
    """
    if not isinstance(promise, Purpose):
        return []
    found = []
    for store, tables in _places(company, promise).items():
        try:
            found.append(_granted(company, store, tables))
        except KeptError as wrong:
            found.append(_unproven(f"Nobody can say who reads `{store}`: {wrong.message}."))
    return found


def tried(company: Company, promise: Promise) -> list[Proof]:
    """From outside: each role that serves a purpose tries, in a transaction that is undone, to read what it may not.

    Nothing where no role serves it, or the database has no roles.
    """
    found = []
    for store, one in company.policy.stores.items():
        place = company.stores.get(str(store))
        names = [str(role) for role, purposes in one.roles.items() if promise.name in purposes]
        if not isinstance(promise, Purpose) or not names or not isinstance(place, PostgreSQLStore):
            continue
        try:
            said = declared(company, str(store))
            with place.read() as connection:
                found += [_try(connection, said, role) for role in names]
        except KeptError as wrong:
            found.append(_unproven(f"It could not be tried in `{store}`: {wrong.message}.", kind_probe=True))
    return found


def _places(company: Company, promise: Purpose) -> dict[str, tuple[str, ...]]:
    """The SQL stores with data of a purpose, and its tables there."""
    found: dict[str, list[str]] = {}
    for name in promise.uses:
        for table in map(str, company.policy.data[name].tables):
            if company.policy.stores[store_of(table)].is_sql:
                found.setdefault(store_of(table), []).append(plain(table))
    return {store: tuple(dict.fromkeys(tables)) for store, tables in found.items()}


def _unproven(says: str, *, kind_probe: bool = False, unseen: bool = False) -> Proof:
    return Proof("probe" if kind_probe else "measure", "unproven", says, unseen=unseen)


def _granted(company: Company, store: str, tables: Sequence[str]) -> Proof:
    place = company.stores.get(store)
    if place is None:
        return _unproven(f"`{store}` doesn't answer: {company.unreachable.get(store, 'it is not open')}.")
    if not isinstance(place, PostgreSQLStore):
        if place.dialect == "sqlite":
            return _unproven(
                f"`{store}` is a file and has no roles: whoever may open the file reads all of it.",
                unseen=True,
            )
        return _unproven(
            f"Kept doesn't look at the accounts of `{store}` ({place.dialect}): it can't say who reads it."
        )
    if not company.policy.stores[store].roles:
        return _unproven(f"The file doesn't say which database role serves which purpose of `{store}`.")
    said = declared(company, store)
    with place.read() as connection:
        live = catalogue.read(connection, said.tables)
        late = _late(connection, company) if live.own else False
    return _judged(company, said, live, tables, late=late)


def _late(connection: Connection, company: Company) -> bool:
    """Whether nobody has carried over what people choose for as long as closes what rests on a yes."""
    if not connection.scalar(sa.text("SELECT pg_catalog.to_regclass('kept.seen') IS NOT NULL")):
        return False  # then the guard isn't what was applied
    minutes = int(company.settings.get(SETTING, MINUTES))
    query = "SELECT at < pg_catalog.now() - :minutes * interval '1 minute' FROM kept.seen"
    return bool(connection.scalar(sa.text(query), {"minutes": minutes}))


def _judged(company: Company, said: Declared, live: Catalogue, tables: Sequence[str], *, late: bool) -> Proof:
    """Only what concerns these tables and the views over them."""
    allowed = {(one.role, one.table): set(one.columns) for one in said.sights}
    beyond, strangers, looked = list[str](), list[str](), 0
    for role in live.roles:
        if role.superuser or role.name == live.me:
            continue
        for relation in live.relations:
            now = set(live.can_come_to(role, relation.name))
            if relation.named and relation.table not in tables:
                continue
            looked += len(relation.columns)
            mine = allowed.get((role.name, relation.table), set()) if relation.named else set()
            if role.name not in said.roles:
                strangers += [role.name] if now or _passes(role) else []
            elif now - mine or role.unbound:
                more = sorted(now - mine)
                beyond.append(f"`{role.name}` {role.unbound or f'reads {relation.table}.{more[0]}'}")
        for view in live.views:
            if live.can_come_to(role, view.name) and not view.asks:
                (beyond if role.name in said.roles else strangers).append(
                    f"`{role.name}` reads the view {view.name}" if role.name in said.roles else role.name
                )
    strangers = list(dict.fromkeys(strangers))
    counts = {
        "columns looked at": looked,
        "roles of the file that read more": len(beyond),
        "other roles that read": len(strangers),
        "superusers": sum(one.superuser for one in live.roles),
    }
    record = recorded(company, said.store)
    if record is not None and live.own and record.print != live.print:
        says = f"The guard of `{said.store}` is no longer what was applied; `kept guard plan` shows the difference."
        return Proof("measure", "broken", says, counts)
    if beyond:
        return Proof(
            "measure", "broken", f"In `{said.store}` {_some(beyond)}, for none of its purposes.", counts
        )
    if strangers:
        who = _some([f"`{one}`" for one in strangers])
        says = f"In `{said.store}` {who} can read it, and the file names no purpose of theirs."
        return Proof("measure", "unproven", says, counts)
    if late:
        says = (
            f"The guard of `{said.store}` hasn't been told what people chose for too long: run `kept serve`."
        )
        return Proof("measure", "unproven", says, counts)
    says = (
        f"In `{said.store}` the roles {', '.join(said.roles)} read what their purposes use, and nobody else reads it "
        "but superusers and Kept."
    )
    return Proof("measure", "kept", says, counts)


def _passes(role: Role) -> bool:
    """Whether a role may come to read all of it without a grant here; that no policy binds it gives it nothing yet."""
    return bool(role.reads_all or role.becomes or role.copies or role.makes or role.owns)


def _some(things: Sequence[str]) -> str:
    rest = len(things) - NAMED
    return ", ".join(things[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _try(connection: Connection, said: Declared, role: str) -> Proof:
    """Every column that a role may not read is asked for in its name, and every person on its list of the refused."""
    live = catalogue.read(connection, said.tables)
    if live.role(role) is None:
        return _unproven(f"The role `{role}` isn't there, so nobody could try as it.", kind_probe=True)
    tries, through = 0, list[str]()
    for what, statement, empty, values in _forbidden(connection, live, said, role):
        seen = _seen(connection, role, statement, values)
        if seen is None:
            return _unproven(
                f"Kept's role may not become `{role}`, so it could not be tried.", kind_probe=True
            )
        tries += 1
        if seen == "rows" or (seen == "nothing" and not empty):
            through.append(what)
    counts = {"tries": tries, "not refused": len(through)}
    if through:
        return Proof("probe", "broken", f"As `{role}` one can read {_some(through)}.", counts)
    if not tries:
        return _unproven(f"There was nothing that `{role}` could have tried.", kind_probe=True)
    return Proof(
        "probe", "kept", f"As `{role}` everything that it may not read was asked for, and refused.", counts
    )


def _forbidden(
    connection: Connection, live: Catalogue, said: Declared, role: str
) -> Iterator[tuple[str, str, bool, dict[str, Any]]]:
    """What must not be seen: a name for it, the statement, whether an empty answer is as good as a refusal, values."""
    sights = {one.table: one for one in said.sights if one.role == role}
    for relation in live.relations:
        sight = sights.get(relation.table) if relation.named else None
        for column in relation.columns:
            if sight is None or column not in sight.columns:
                yield (
                    f"{relation.table}.{column}",
                    f"SELECT {quoted(column)} FROM {relation.name} LIMIT 1".replace(":", r"\:"),
                    False,
                    {},
                )
    for view in live.views:
        if not view.asks:
            yield view.name, f"SELECT 1 FROM {view.name} LIMIT 1".replace(":", r"\:"), False, {}
    if not live.own:
        return
    for sight in sights.values():
        table = live.relation(sight.table)
        for reading in sight.readings:
            walk = said.walks[reading.kind]
            ways = own_columns(walk, sight.table)
            if table is None or not ways:
                continue
            for key in _hidden(connection, live, reading, walk):
                values = {f"key{n}": part for n, part in enumerate(key)}
                for way in ways:
                    own = " AND ".join(f"p.{quoted(c)} = :key{n}" for n, c in enumerate(way))
                    statement = f"SELECT 1 FROM {table.name} p WHERE {own}"
                    yield f"rows of somebody it may not ({sight.table})", statement, True, values


def _hidden(connection: Connection, live: Catalogue, reading: Reading, walk: Walk) -> Sequence[Sequence[Any]]:
    """The keys of some people whom a reading may not see, by the lists."""
    home = live.relation(walk.root.table)
    if home is None:
        return []
    keys = ", ".join(f"p.{quoted(c)}" for c in walk.root.person)
    on = " AND ".join(f"l.{quoted(c)} = p.{quoted(c)}" for c in walk.root.person)
    there = "EXISTS" if reading.mode == "unless" else "NOT EXISTS"
    query = (
        f"SELECT {keys} FROM {home.name} p WHERE {there} (SELECT FROM kept.{reading.list} l"
        f" WHERE l.reading = :reading AND {on}) LIMIT {HIDDEN}"
    )
    return connection.execute(sa.text(query), {"reading": reading.number}).all()


def _seen(connection: Connection, role: str, statement: str, values: dict[str, Any]) -> str | None:
    """What a statement gives in a role's name: `rows`, `nothing`, `refused`; None where nobody can take that name."""
    nested = connection.begin_nested()
    try:
        connection.execute(sa.text(f"SET LOCAL ROLE {quoted(role)}"))
    except DBAPIError:
        nested.rollback()
        return None
    try:
        connection.execute(sa.text("SET LOCAL row_security = on"))
        return "rows" if connection.execute(sa.text(statement), values).all() else "nothing"
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            return "refused"
        raise
    finally:
        nested.rollback()
