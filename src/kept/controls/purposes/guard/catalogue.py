"""What stands in a PostgreSQL database now, as its catalogue says: owners, rights, roles, policies, views."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

SCHEMA: Final = "kept"
READS: Final = ("SELECT", "REFERENCES", "TRIGGER")
"""Rights by which something of a row can be learned: to read it, to refer to it, to be told of each change of it."""

_TABLES: Final = sa.text("""
    WITH RECURSIVE named AS (
      SELECT c.oid FROM pg_catalog.pg_class c
      WHERE c.relname = ANY(:tables) AND c.relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(c.oid)
      UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN named ON named.oid = i.inhparent)
    SELECT c.oid, n.nspname, c.relname, o.rolname AS owner, c.relrowsecurity, c.relforcerowsecurity,
      c.relname = ANY(:tables) AND pg_catalog.pg_table_is_visible(c.oid) AS named,
      (SELECT pg_catalog.json_object_agg(a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
       FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    FROM named JOIN pg_catalog.pg_class c USING (oid)
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    ORDER BY n.nspname, c.relname
""")
_VIEWS: Final = sa.text("""
    WITH RECURSIVE found AS (
      SELECT r.ev_class AS oid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
      WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND d.refobjid = ANY(:oids) AND r.ev_class <> d.refobjid
      UNION
      SELECT r.ev_class FROM found JOIN pg_catalog.pg_depend d ON d.refobjid = found.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.classid = 'pg_catalog.pg_rewrite'::regclass
      JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid WHERE r.ev_class <> found.oid)
    SELECT c.oid, n.nspname, c.relname, o.rolname AS owner, c.relkind::text AS kind,
      coalesce('security_invoker=true' = ANY(c.reloptions) OR 'security_invoker=on' = ANY(c.reloptions), false) AS asks
    FROM found JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    WHERE c.relkind IN ('v', 'm') AND n.nspname <> 'kept' ORDER BY n.nspname, c.relname
""")
_GRANTS: Final = sa.text("""
    SELECT c.oid, NULL AS column, coalesce(g.rolname, 'PUBLIC') AS grantee, x.grantee = 0 AS everybody,
      x.privilege_type, x.is_grantable
    FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) x
    LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
    WHERE c.oid = ANY(:oids) AND x.grantee <> c.relowner
    UNION
    SELECT c.oid, a.attname, coalesce(g.rolname, 'PUBLIC'), x.grantee = 0, x.privilege_type, x.is_grantable
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
    WHERE c.oid = ANY(:oids) AND x.grantee <> c.relowner
    ORDER BY 1, 2, 3, 5
""")
_READERS: Final = sa.text("""
    SELECT r.rolname, c.oid, pg_catalog.array_agg(a.attname ORDER BY a.attnum) AS columns
    FROM pg_catalog.pg_roles r CROSS JOIN pg_catalog.pg_class c
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.oid = ANY(:oids) AND (r.rolname !~ '^pg_' )
      AND pg_catalog.has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')
    GROUP BY 1, 2 ORDER BY 1, 2
""")
_ROLES: Final = sa.text("""
    SELECT r.rolname, r.rolsuper, r.rolbypassrls, r.rolreplication,
      r.rolcreaterole AND pg_catalog.current_setting('server_version_num')::int < 160000 AS makes,
      pg_catalog.pg_has_role(r.oid, 'pg_read_all_data', 'MEMBER') AS reads_all,
      coalesce((SELECT pg_catalog.array_agg(o.rolname ORDER BY o.rolname) FROM pg_catalog.pg_roles o
        WHERE o.oid <> r.oid AND pg_catalog.pg_has_role(r.oid, o.oid, 'MEMBER')
          AND (o.rolsuper OR o.rolbypassrls OR o.rolname IN
            ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))), '{}') AS becomes,
      coalesce((SELECT pg_catalog.array_agg(o.rolname ORDER BY o.rolname) FROM pg_catalog.pg_roles o
        WHERE o.rolname = ANY(:owners) AND pg_catalog.pg_has_role(r.oid, o.oid, 'MEMBER')), '{}') AS owns,
      coalesce((SELECT pg_catalog.array_agg(o.rolname ORDER BY o.rolname) FROM pg_catalog.pg_roles o
        WHERE NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, o.oid, 'MEMBER')
          AND NOT pg_catalog.pg_has_role(r.oid, o.oid, 'USAGE')), '{}') AS acts
    FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1
""")
_POLICIES: Final = sa.text("""
    SELECT p.polrelid AS oid, p.polname, p.polpermissive, p.polcmd::text AS command,
      pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS qual
    FROM pg_catalog.pg_policy p WHERE p.polrelid = ANY(:oids) ORDER BY 1, 2
""")
_TRIGGERS: Final = sa.text("""
    SELECT t.tgrelid AS oid, t.tgname, t.tgenabled::text AS enabled FROM pg_catalog.pg_trigger t
    WHERE t.tgrelid = ANY(:oids) AND NOT t.tgisinternal ORDER BY 1, 2
""")
_BESIDES: Final = {
    "functions": "SELECT n.nspname || '.' || p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n"
    " ON n.oid = p.pronamespace WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'kept')",
    "publications": "SELECT DISTINCT pubname::text || ' (' || tablename || ')' FROM pg_catalog.pg_publication_tables"
    " WHERE schemaname || '.' || tablename = ANY(:names)",
    "defaults": "SELECT DISTINCT coalesce(r.rolname, 'PUBLIC') FROM pg_catalog.pg_default_acl d CROSS JOIN LATERAL"
    " pg_catalog.aclexplode(d.defaclacl) x LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee"
    " WHERE d.defaclobjtype = 'r' AND x.privilege_type = 'SELECT' AND x.grantee <> d.defaclrole",
}
_OWN: Final = sa.text("""
    SELECT 'function ' || p.proname AS what,
      pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid) || p.proowner::text || coalesce(p.proacl::text, '')) AS found
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'kept' AND p.prokind = 'f'
    UNION ALL
    SELECT c.relkind::text || ' ' || c.relname,
      pg_catalog.md5(coalesce(pg_catalog.pg_get_viewdef(c.oid), '') || c.relowner::text || coalesce(c.relacl::text, ''))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'kept' AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'schema', pg_catalog.md5(coalesce(n.nspacl::text, '') || n.nspowner::text) FROM pg_catalog.pg_namespace n
    WHERE n.nspname = 'kept'
    ORDER BY 1, 2
""")


@dataclass(frozen=True)
class Relation:
    """A table (or a part of one, where `named` is False) as it stands."""

    name: str  # quoted, with its schema
    table: str
    schema: str
    owner: str
    secured: bool
    forced: bool
    named: bool
    columns: Mapping[str, str]


@dataclass(frozen=True)
class View:
    """A view over guarded tables; `asks` where it reads with the rights of whoever asks."""

    name: str
    kind: str
    owner: str
    asks: bool


@dataclass(frozen=True)
class Grant:
    """A right on a relation, or on one column of it, of a role or everybody (`PUBLIC`)."""

    relation: str
    column: str | None
    grantee: str
    everybody: bool
    privilege: str
    grantable: bool

    def sql(self) -> str:
        """The statement that gives it."""
        what = f"{self.privilege} ({quoted(self.column)})" if self.column else self.privilege
        to = "PUBLIC" if self.everybody else quoted(self.grantee)
        return f"GRANT {what} ON {self.relation} TO {to}{' WITH GRANT OPTION' if self.grantable else ''};"


@dataclass(frozen=True)
class Role:
    """A role; `owns` names the owners of guarded tables that it is, or is a member of; `becomes` the roles that
    nothing binds, of which it is a member: it may take their name whenever it likes, inherited or not. `acts` are the
    others whose rights it doesn't inherit, and may take so."""

    name: str
    superuser: bool
    bypasses: bool
    copies: bool
    makes: bool
    reads_all: bool
    becomes: tuple[str, ...]
    owns: tuple[str, ...]
    acts: tuple[str, ...]

    @property
    def unbound(self) -> str | None:
        """Why nothing in the database binds it; None where it can be bound."""
        if self.superuser:
            return "is a superuser"
        if self.bypasses:
            return "has BYPASSRLS"
        if self.reads_all:
            return "is a member of pg_read_all_data: every column, and every view with its owner's rights"
        if self.becomes:
            return f"is a member of {', '.join(self.becomes)}, and may act as that"
        if self.copies:
            return "has REPLICATION: it may copy the whole server"
        if self.makes:
            return "has CREATEROLE: before PostgreSQL 16 it may make itself a member of the tables' owner"
        return f"owns tables of the guard's (as {', '.join(self.owns)})" if self.owns else None


@dataclass(frozen=True)
class Catalogue:
    """One database, as far as the guard is concerned."""

    me: str
    may_make_roles: bool
    version: int
    relations: tuple[Relation, ...]
    views: tuple[View, ...]
    grants: tuple[Grant, ...]
    roles: tuple[Role, ...]
    readers: tuple[tuple[str, str, tuple[str, ...]], ...]  # role, relation, columns it can read now
    policies: tuple[tuple[str, str, bool, str, str | None], ...]
    triggers: tuple[tuple[str, str, str], ...]
    functions: tuple[str, ...]
    publications: tuple[str, ...]
    defaults: tuple[str, ...]
    own: tuple[tuple[str, str], ...]

    def role(self, name: str) -> Role | None:
        return next((one for one in self.roles if one.name == name), None)

    def relation(self, table: str) -> Relation | None:
        """The table of a name, as the store's connection finds it."""
        return next((one for one in self.relations if one.named and one.table == table), None)

    def can_read(self, role: str, relation: str) -> tuple[str, ...]:
        return next((columns for who, what, columns in self.readers if (who, what) == (role, relation)), ())

    def can_come_to(self, role: Role, relation: str) -> tuple[str, ...]:
        """What a role can read by its own name, or by one that it may take."""
        names = (role.name, *role.acts)
        return tuple(dict.fromkeys(column for name in names for column in self.can_read(name, relation)))

    @property
    def print(self) -> str:
        """SHA-256 of all that a guard rests on or makes: another one when somebody changed any of it.

        Roles aren't in it: they are the whole server's, and a new one reads nothing here until it is granted.
        """
        parts: list[tuple[Any, ...]] = [
            self.relations,
            self.views,
            self.grants,
            self.policies,
            self.triggers,
            self.own,
        ]
        plain = [
            [dataclasses.astuple(one) if isinstance(one, Relation | View | Grant) else one for one in part]
            for part in parts
        ]
        return sha256(json.dumps(plain, default=str, sort_keys=True).encode()).hexdigest()


def read(connection: Connection, tables: Sequence[str]) -> Catalogue:
    """The catalogue as far as these tables are concerned."""

    def rows(query: sa.TextClause | str, **given: Any) -> Sequence[sa.Row[Any]]:
        text = sa.text(query) if isinstance(query, str) else query
        return connection.execute(text, given).all()

    found = rows(_TABLES, tables=list(tables))
    oids = [row.oid for row in found]
    views = rows(_VIEWS, oids=oids)
    names = {row.oid: f"{quoted(row.nspname)}.{quoted(row.relname)}" for row in (*found, *views)}
    [mine] = rows(
        "SELECT current_user::text AS me, rolsuper OR rolcreaterole AS makes,"
        " current_setting('server_version_num')::int AS version"
        " FROM pg_catalog.pg_roles WHERE rolname = current_user"
    )
    me, makes, version = mine.me, mine.makes, mine.version
    plain = [f"{row.nspname}.{row.relname}" for row in found]
    besides = {
        what: tuple(
            sorted(str(name) for (name,) in rows(query, **({"names": plain} if ":names" in query else {})))
        )
        for what, query in _BESIDES.items()
    }
    return Catalogue(
        me,
        makes,
        version,
        tuple(
            Relation(
                names[r.oid],
                r.relname,
                r.nspname,
                r.owner,
                r.relrowsecurity,
                r.relforcerowsecurity,
                r.named,
                r.columns,
            )
            for r in found
        ),
        tuple(View(names[r.oid], r.kind, r.owner, r.asks) for r in views),
        tuple(
            Grant(names[r.oid], r.column, r.grantee, r.everybody, r.privilege_type, r.is_grantable)
            for r in rows(_GRANTS, oids=list(names))
        ),
        tuple(
            Role(
                r.rolname,
                r.rolsuper,
                r.rolbypassrls,
                r.rolreplication,
                r.makes,
                r.reads_all,
                tuple(r.becomes),
                tuple(r.owns),
                tuple(r.acts),
            )
            for r in rows(_ROLES, owners=sorted({row.owner for row in found}))
        ),
        tuple((r.rolname, names[r.oid], tuple(r.columns)) for r in rows(_READERS, oids=list(names))),
        tuple(
            (names[r.oid], r.polname, r.polpermissive, r.command, r.qual) for r in rows(_POLICIES, oids=oids)
        ),
        tuple((names[r.oid], r.tgname, r.enabled) for r in rows(_TRIGGERS, oids=oids)),
        besides["functions"],
        besides["publications"],
        besides["defaults"],
        tuple((r.what, r.found) for r in rows(_OWN)),
    )


def quoted(name: str) -> str:
    """A name as SQL writes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"
