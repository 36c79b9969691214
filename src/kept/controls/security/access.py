"""Who has access, and who used it: the kinds of staff by the policy, and the log-ins of each database.

A kind of staff is in use if somebody of it looked at somebody, opened a case, or had a row of a link given to them. A
log-in of a database is in use for certain only while it is connected: no database says when it was last used, so what
Kept itself noted of the purposes it is declared for has to do, and where there is none of that, nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from kept.company import Company
from kept.errors import KeptError
from kept.policy.policy import STAFF
from kept.state.uses import answers_about_groups, cases, disclosures, looks
from kept.stores.sql import SQLStore

UNUSED: Final = timedelta(days=90)

_POSTGRESQL: Final = sa.text(
    "SELECT r.rolname AS role, r.rolsuper AS everything, EXISTS (SELECT 1 FROM pg_stat_activity a"
    " WHERE a.usename = r.rolname) AS connected, (SELECT count(*) FROM pg_class c JOIN pg_namespace n"
    " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'p') AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'"
    " AND n.nspname <> 'information_schema' AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')"
    " OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))) AS tables"
    " FROM pg_roles r WHERE r.rolcanlogin ORDER BY r.rolname"
)
_MARIADB: Final = sa.text(
    "SELECT g.grantee AS role, MAX(g.everything) AS everything, MAX(g.tables) AS tables,"
    " EXISTS (SELECT 1 FROM information_schema.processlist p"
    "         WHERE LOCATE(CONCAT('''', p.user, '''@'), g.grantee) = 1) AS connected FROM ("
    " SELECT grantee, 1 AS everything, 0 AS tables FROM information_schema.user_privileges"
    "  WHERE privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')"
    " UNION ALL SELECT grantee, 1, 0 FROM information_schema.schema_privileges WHERE table_schema = DATABASE()"
    " UNION ALL SELECT grantee, 0, COUNT(DISTINCT table_name) FROM information_schema.table_privileges"
    "  WHERE table_schema = DATABASE() GROUP BY grantee"
    " UNION ALL SELECT grantee, 0, COUNT(DISTINCT table_name) FROM information_schema.column_privileges"
    "  WHERE table_schema = DATABASE() GROUP BY grantee) g GROUP BY g.grantee ORDER BY g.grantee"
)


@dataclass(frozen=True)
class Role:
    """A role with access: `where` is `staff` or a store, `may` what it has access to, in words.

    `last` is when it was last seen in use; `gap` why that may be less than the truth.
    """

    where: str
    role: str
    may: str
    last: datetime | None
    gap: str | None = None

    def is_unused(self, now: datetime, within: timedelta = UNUSED) -> bool | None:
        """Whether nothing shows that it was used of late; None where it was never seen, and nobody can see it."""
        if self.last is None:
            return None if self.gap else True
        return now - self.last > within

    def as_json(self, now: datetime, within: timedelta = UNUSED) -> dict[str, object]:
        last = self.last.isoformat(timespec="seconds") if self.last else None
        told = {"where": self.where, "role": self.role, "may": self.may, "last_seen": last, "gap": self.gap}
        return told | {"unused": self.is_unused(now, within)}


@dataclass(frozen=True)
class Review:
    """Every role with access, and the places that could not be asked."""

    roles: tuple[Role, ...]
    gaps: tuple[str, ...]


def review(company: Company) -> Review:
    """Look at everybody's access now."""
    company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
    roles, gaps = list(_staff(company)), list[str]()
    for name in company.policy.stores:
        store = company.stores.get(str(name))
        if store is None:
            continue
        try:
            roles += _of_database(company, store)
        except KeptError as wrong:
            gaps.append(f"who may log in to `{name}` can't be read: {wrong.message}")
        if store.dialect == "sqlite":
            gaps.append(f"`{name}` is a file: whoever may read it on its machine has access to all of it")
    return Review(tuple(roles), tuple(gaps))


def note(company: Company, found: Review, within: timedelta = UNUSED) -> int:
    """Put on the ledger that access was reviewed; how many roles were unused. The name of who did it isn't there."""
    now = company.clock()
    seen = [role.is_unused(now, within) for role in found.roles]
    unused, unknown = seen.count(True), seen.count(None)
    counts = {"roles": len(seen), "unused": unused, "unknown": unknown}
    counts |= {"gaps": len(found.gaps), "days": within.days}
    company.ledger.append({"act": "access-review", **counts})
    return unused


def _staff(company: Company) -> Iterator[Role]:
    """The kinds of staff, with what the policy lets each use, and when one of them last did."""
    policy = company.policy
    for kind in [str(one) for one in policy.people if policy.is_staff(str(one))]:
        links = [
            link for link in policy.links.values() if any(end.kind == kind for end in link.between.values())
        ]
        names = {str(link.name) for link in links}
        may = [
            str(one.name)
            for one in policy.section("purposes").values()
            if {kind, STAFF} & set(map(str, getattr(one, "by", ())))
            or names & set(map(str, getattr(one, "case", ())))
        ]
        seen, gaps = [_noted(company, kind)], list[str]()
        for link in links:
            place, _, table = str(link.table).partition(".")
            end = next(at for at in link.between.values() if at.kind == kind)
            store = company.stores.get(place)
            if link.began is None or store is None or place in company.unreachable:
                gaps.append(f"rows of `{link.name}` aren't looked at")
                continue
            try:
                seen.append(_newest(store, table, str(link.began), str(end.column)))
            except KeptError as wrong:
                gaps.append(f"rows of `{link.name}` can't be read: {wrong.message}")
        yield Role(
            "staff", kind, ", ".join(may) or "nothing by itself", _latest(seen), "; ".join(gaps) or None
        )


def _noted(company: Company, kind: str) -> datetime | None:
    """When Kept last noted a look or a case of a kind of staff."""
    with company.state.read() as connection:
        looked = connection.execute(sa.select(sa.func.max(looks.c.at)).where(looks.c.role == kind)).scalar()
        opened = connection.execute(
            sa.select(sa.func.max(cases.c.opened)).where(cases.c.role == kind)
        ).scalar()
    return _latest(_time(value) for value in (looked, opened))


def _newest(store: SQLStore, table: str, began: str, staff: str) -> datetime | None:
    at = store.table(table)
    with store.read() as connection:
        given = sa.select(sa.func.max(at.c[began])).where(at.c[staff].is_not(None))
        return _time(connection.execute(given).scalar())


def _of_database(company: Company, store: SQLStore) -> Iterator[Role]:
    """The log-ins of a database that can read or write its tables; a file has none."""
    declared = {
        str(role): tuple(map(str, purposes))
        for role, purposes in company.policy.stores[store.name].roles.items()
    }
    found: dict[str, sa.Row[tuple[object, ...]]] = {}
    if store.dialect != "sqlite":
        with store.read() as connection:
            rows = connection.execute(_POSTGRESQL if store.dialect == "postgresql" else _MARIADB)
            found = {str(row.role): row for row in rows if row.everything or row.tables}
    now = company.clock()
    for name in dict.fromkeys((*found, *declared)):
        row = found.get(name)
        purposes = declared.get(name, ())
        last = now if row is not None and row.connected else _used(company, purposes)
        may = f"for {', '.join(purposes)}" if purposes else "undeclared"
        if row is not None:
            may = f"{'every table' if row.everything else f'{row.tables} tables'}, {may}"
        gap = None if last == now else "no database says when a log-in was last used"
        yield Role(store.name, name, may, last, gap)


def _used(company: Company, purposes: Iterable[str]) -> datetime | None:
    """When Kept last noted a use for one of some purposes."""
    seen = []
    with company.state.read() as connection:
        for table in (looks, answers_about_groups, disclosures):
            at = sa.select(sa.func.max(table.c.at)).where(table.c.purpose.in_(list(purposes)))
            seen.append(_time(connection.execute(at).scalar()))
    return _latest(seen)


def _time(value: object) -> datetime | None:
    """A time as a database has it; UTC where it names no zone, None where it is none."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
