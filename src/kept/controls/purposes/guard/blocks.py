"""The migration that a guard is, in blocks: each with the promises it keeps, in words, above its statements. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kept.controls.purposes.guard import cards
from kept.controls.purposes.guard.catalogue import READS, SCHEMA, Catalogue, Relation, quoted, text
from kept.controls.purposes.guard.predicates import BYTES, Predicates, compares, probed
from kept.controls.purposes.guard.readings import Declared, Groups, Reading, Sight
from kept.errors import KeptError

DOTS: Final = "•••"
PLAIN: Final = ("smallint", "integer", "bigint", "text", "character varying", "uuid")
"""Types of a key whose operators are PostgreSQL's own."""
_CREATED: Final = "made by Kept's guard"


@dataclass(frozen=True)
class Block:
    """Some statements, and what they are for: sentences, and the promises (`purposes.alerts SL-13`) they keep."""

    says: str
    promises: tuple[str, ...]
    statements: tuple[str, ...]

    def sql(self) -> str:
        """As it is read: comments, then statements."""
        lines = [f"-- {line}" for line in textwrap.wrap(self.says, 112)]
        lines += [f"--   keeps: {line}" for line in self.promises]
        return "\n".join([*lines, *self.statements])


@dataclass(frozen=True)
class Words:
    """What the policy says, for the comments: a promise's sentence by purpose, and its clauses."""

    of: Mapping[str, str]

    def __call__(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.of[name] for name in names if name in self.of)


def write(
    said: Declared,
    live: Catalogue,
    words: Words,
    *,
    minutes: int,
    never: Sequence[str],
    schema_open: Sequence[str],
) -> list[Block]:
    """The blocks of a guard.

    `never` are the promises that no card number is taken; `schema_open` opens schemas to the roles, as SQL.
    """
    writer = _Writer(said, live, words, Predicates(live, said.walks, minutes))
    sights = [writer.sight(one) for one in said.sights]
    groups = [writer.groups(one) for one in said.groups]
    functions = writer.predicates.made()
    blocks = [writer.roles(schema_open), writer.lists(functions), writer.closed(), *sights, *groups]
    if never:
        blocks.append(writer.cards(never))
    return [one for one in blocks if one.statements]


class _Writer:
    def __init__(self, said: Declared, live: Catalogue, words: Words, predicates: Predicates) -> None:
        self.said, self.live, self.words, self.predicates = said, live, words, predicates

    def _relation(self, table: str) -> Relation:
        found = self.live.relation(table)
        if found is None:
            raise KeptError(f"`{table}` is no table of the database", where=self.said.store)
        return found

    def roles(self, schema_open: Sequence[str]) -> Block:
        missing = [role for role in self.said.roles if self.live.role(role) is None]
        made = [
            line
            for role in missing
            for line in (
                f"CREATE ROLE {quoted(role)} NOLOGIN;",
                f"COMMENT ON ROLE {quoted(role)} IS {text(_CREATED)};",
            )
        ]
        names = ", ".join(f"{role} ({', '.join(purposes)})" for role, purposes in self.said.roles.items())
        says = f"The roles of the file, each with its purposes: {names}. Whichever isn't there is made, without login."
        return Block(says, (), (*made, *schema_open))

    def lists(self, functions: Sequence[str]) -> Block:
        """Who may not be read where silence is a yes, and who may where it isn't; filled by `kept serve`."""
        roles = ", ".join(map(quoted, self.said.roles))
        made = [
            "CREATE SCHEMA kept;",
            f"GRANT USAGE ON SCHEMA kept TO {roles};",
            "CREATE TABLE kept.seen (one boolean PRIMARY KEY DEFAULT true CHECK (one), at timestamptz NOT NULL);",
            "INSERT INTO kept.seen (at) VALUES ('-infinity');",
            f"GRANT SELECT ON kept.seen TO {roles};",
        ]
        for name, readings in self._by_list().items():
            walk = self.said.walks[readings[0].kind]
            home = self._relation(walk.root.table)
            keys = ", ".join(f"{quoted(c)} {home.columns[c]} NOT NULL" for c in walk.root.person)
            key = ", ".join(quoted(c) for c in walk.root.person)
            made += [
                f"CREATE TABLE kept.{name} (reading smallint NOT NULL, {keys}, PRIMARY KEY (reading, {key}));",
                f"ALTER TABLE kept.{name} ENABLE ROW LEVEL SECURITY;",
            ]
            for reading in readings:
                who = sorted({s.role for s in self.said.sights if reading in s.readings})
                names = ", ".join(map(quoted, who))
                if reading.mode == "unless":
                    made += self._filter(reading, names)
                if not who or reading.mode == "unless":
                    continue
                made += [
                    f"GRANT SELECT ON kept.{name} TO {', '.join(map(quoted, who))};",
                    f"CREATE POLICY reading_{reading.number} ON kept.{name} FOR SELECT TO {', '.join(map(quoted, who))}"
                    f" USING (reading = {reading.number});",
                ]
        told = "; ".join(f"{one.number}: {' or '.join(one.purposes)}" for one in self.said.readings)
        says = (
            "Who may not be read for what (refused), and where a yes is needed, who gave it (granted): keys only, "
            "carried over by Kept from what people chose, objected to and had restricted. A filter of 8,000 bytes "
            "tells of most people at once that they aren't refused; a function looks the others up. Numbers on the "
            f"lists, each for whom these purposes may use: {told}."
        )
        return Block(says, (), (*made, *functions))

    def _filter(self, reading: Reading, roles: str) -> list[str]:
        """Bits that say of most people at once that they aren't refused, and a look-up for the others."""
        walk = self.said.walks[reading.kind]
        home, number = self._relation(walk.root.table), reading.number
        types = self.predicates.types(walk)
        given = [f"${place}" for place in range(1, len(walk.root.person) + 1)]
        plain = all(one.lower().startswith(PLAIN) for one in types)
        schema = "pg_catalog" if plain else ""  # else where the type's own operators are, by the owner's path
        equal = compares("=", schema)
        path = "" if plain else " SET search_path FROM CURRENT"
        there = " AND ".join(
            f"p.{quoted(c)} {equal} {at}" for c, at in zip(walk.root.person, given, strict=True)
        )
        lines = [
            f"CREATE TABLE kept.filter_{number} (bits bytea NOT NULL);",
            f"ALTER TABLE kept.filter_{number} ALTER bits SET STORAGE PLAIN;",
            f"INSERT INTO kept.filter_{number} VALUES (pg_catalog.decode(repeat('00', {BYTES}), 'hex'));",
            f"CREATE FUNCTION kept.may_{number}({', '.join(types)}) RETURNS boolean\n"
            f"  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE COST 1{path} AS $may$\nBEGIN\n"
            f"  RETURN EXISTS (SELECT FROM {home.name} p WHERE {there})\n"
            f"    AND NOT EXISTS (SELECT FROM {probed(walk, reading, given, schema, inside=True)});\nEND $may$;",
            f"REVOKE EXECUTE ON FUNCTION kept.may_{number} FROM PUBLIC;",
        ]
        if roles:
            lines += [
                f"GRANT SELECT ON kept.filter_{number} TO {roles};",
                f"GRANT EXECUTE ON FUNCTION kept.may_{number} TO {roles};",
            ]
        return lines

    def _by_list(self) -> dict[str, list[Reading]]:
        found: dict[str, list[Reading]] = {}
        for reading in self.said.readings:
            found.setdefault(reading.list, []).append(reading)
        return found

    def closed(self) -> Block:
        """Nobody reads a table about people, but whom the blocks below let."""
        lines: list[str] = []
        for relation in self.live.relations:
            lines += self._revoked(relation.name)
            if not relation.secured:
                lines.append(f"ALTER TABLE {relation.name} ENABLE ROW LEVEL SECURITY;")
                for command, clause in (
                    ("INSERT", "WITH CHECK (true)"),
                    ("UPDATE", "USING (true)"),
                    ("DELETE", "USING (true)"),
                ):
                    lines.append(
                        f"CREATE POLICY kept_{command.lower()} ON {relation.name} FOR {command} {clause};"
                    )
        for view in self.live.views:
            lines += self._revoked(view.name)
        says = (
            "What isn't declared isn't allowed: nobody reads a table about people or a view over one, refers to it or "
            "watches its changes, unless a block below says so. Rights to insert, update and delete stay as they are: "
            "that is what the policies kept_insert, kept_update and kept_delete are for."
        )
        return Block(says, self.words(["never-undeclared"]), tuple(lines))

    def _revoked(self, relation: str) -> list[str]:
        who = dict.fromkeys(
            "PUBLIC" if grant.everybody else quoted(grant.grantee)
            for grant in self.live.grants
            if grant.relation == relation and grant.privilege in READS
        )
        return [f"REVOKE {', '.join(READS)} ON {relation} FROM {', '.join(who)} CASCADE;"] if who else []

    def sight(self, one: Sight) -> Block:
        relation = self._relation(one.table)
        role = quoted(one.role)
        condition = self.predicates.rows(one.table, one.readings, relation.name, one.role)
        columns = ", ".join(map(quoted, one.columns))
        lines = [f"GRANT SELECT ({columns}) ON {relation.name} TO {role};"]
        if not relation.secured:
            lines.append(
                f"CREATE POLICY {quoted(f'kept_read_{one.role}')} ON {relation.name} FOR SELECT TO {role} USING (true);"
            )
        lines.append(
            f"CREATE POLICY {quoted(f'kept_{one.role}')} ON {relation.name} AS RESTRICTIVE TO {role} USING (\n"
            f"    {condition}\n  ) WITH CHECK (true);"
        )
        what = f"`{one.role}` reads {one.table}: {', '.join(one.columns)}"
        if (
            one.masked and not relation.secured
        ):  # a view of the owner's would pass by the company's own policies
            view = f"kept.{quoted(f'{one.table}_for_{one.role}')}"
            shown = [f"r.{quoted(c)}" for c in one.columns]
            shown += [
                f"CASE WHEN r.{quoted(c)} IS NOT NULL THEN {text(DOTS)} END AS {quoted(c)}"
                for c in one.masked
            ]
            inside = self.predicates.rows(one.table, one.readings, "r", one.role)
            lines += [
                f"CREATE VIEW {view} WITH (security_barrier) AS SELECT {', '.join(shown)}\n"
                f"  FROM {relation.name} r WHERE {inside};",
                f"GRANT SELECT ON {view} TO {role};",
            ]
            what += f"; in {view} also, masked, {', '.join(one.masked)}"
        return Block(f"{what}. Rows: {rows_in_words(one.readings)}.", self.words(one.purposes), tuple(lines))

    def groups(self, one: Groups) -> Block:
        roles = ", ".join(map(quoted, one.roles))
        says = (
            f"{roles.replace(chr(34), '`')}: groups, and no person. {one.name} has {', '.join(one.by)} and month, each "
            f"with {one.floor} people or more. A month is counted once, when it is over, without those who objected, "
            "and never again; `kept groups` answers of the same count, so there is nothing to subtract. It is filled "
            "when the guard stands, and then by `kept serve`."
        )
        return Block(says, self.words([one.purpose]), made(one))

    def cards(self, never: Sequence[str]) -> Block:
        lines = [cards.ISSUERS, cards.FUNCTION, cards.TRIGGER]
        for relation in self.live.relations:
            texts = [
                c
                for c, kind in relation.columns.items()
                if any(word in kind for word in ("char", "text", "json"))
            ]
            if relation.named and texts:
                lines.append(
                    f"CREATE TRIGGER kept_no_card_number BEFORE INSERT OR UPDATE OF {', '.join(map(quoted, texts))}"
                    f" ON {relation.name}\n  FOR EACH ROW EXECUTE FUNCTION kept.refuse_card_numbers("
                    f"{', '.join(map(text, texts))});"
                )
        says = "No card number is stored: a row that holds one in any text is refused, whoever writes it."
        return Block(says, tuple(never), tuple(lines))


def made(one: Groups) -> tuple[str, str]:
    """The table of some groups, and who reads it."""
    table, columns = f"kept.{quoted(one.name)}", ", ".join(f"{quoted(c)} text" for c in one.by)
    return (
        f"CREATE TABLE {table} ({columns}, month date NOT NULL, people bigint NOT NULL, rows bigint);",
        f"GRANT SELECT ON {table} TO {', '.join(map(quoted, one.roles))};",
    )


def rows_in_words(readings: Sequence[Reading]) -> str:
    """Which rows a role sees, in words."""
    parts = []
    for reading in readings:
        purposes = " or ".join(reading.purposes)
        parts.append(
            {
                "unless": f"every {reading.kind}'s, but not where {_none_of(reading)} may use their data "
                "(switched off, objected to, restricted or held)",
                "asked": f"those of a {reading.kind} who said yes to {purposes}",
                "looked": f"those of a {reading.kind} whose data {purposes} may use, as the gate decides",
            }[reading.mode]
        )
        if not reading.lasts:
            parts.append("and none while Kept has carried nothing over for too long")
    return ", ".join(parts)


def _none_of(reading: Reading) -> str:
    if len(reading.purposes) == 1:
        return f"{reading.purposes[0]} no longer"
    return "none of " + ", ".join(reading.purposes)


def _drop(role: str) -> str:
    """Drops a role that a guard made, if it is still as it was made: nobody logs in as it or is a member of it."""
    return (
        "DO $drop$ BEGIN\n"
        f"  IF EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE rolname = {text(role)} AND NOT rolcanlogin"
        " AND NOT EXISTS (\n"
        "    SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles o ON o.oid = m.member\n"
        "    WHERE m.member = r.oid OR (m.roleid = r.oid AND o.rolname <> current_user)))\n"
        f"  THEN DROP ROLE {quoted(role)}; END IF;\n"
        "EXCEPTION WHEN dependent_objects_still_exist OR undefined_object THEN NULL; END $drop$;"
    )


def undone(live: Catalogue, said: Declared, made: Sequence[str], opened: Sequence[str]) -> list[str]:
    """The statements that restore what stood when the catalogue was read; `made` are the roles that a guard made."""
    lines: list[str] = []
    for relation in live.relations:
        lines.append(f"DROP TRIGGER IF EXISTS kept_no_card_number ON {relation.name};")
        lines += [
            f"DROP POLICY IF EXISTS kept_{command} ON {relation.name};"
            for command in ("insert", "update", "delete")
        ]
        for role in said.roles:
            lines += [
                f"DROP POLICY IF EXISTS {quoted(name)} ON {relation.name};"
                for name in (f"kept_read_{role}", f"kept_{role}")
            ]
            lines.append(f"REVOKE SELECT ON {relation.name} FROM {quoted(role)} CASCADE;")
        if not relation.secured:
            lines.append(f"ALTER TABLE {relation.name} DISABLE ROW LEVEL SECURITY;")
    lines += [grant.sql() for grant in live.grants if grant.privilege in READS]
    lines.append(f"DROP SCHEMA {SCHEMA} CASCADE;")
    lines += [line.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM ") for line in opened]
    lines += [_drop(role) for role in made]
    return lines
