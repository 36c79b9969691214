"""What the company's database says of people: whether they are there, their region, and which kinds they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.asking import visitor_kind
from kept.controls.choices.records.subjects import find
from kept.controls.rights.people import Person
from kept.errors import StoreError
from kept.policy.facts import PersonKind
from kept.policy.policy import Policy
from kept.policy.words import regions
from kept.state.tables import verifications
from kept.stores.clauses import written
from kept.stores.conditions import condition
from kept.stores.own import own_rows
from kept.stores.walk import Walk

CHUNK: Final = 5000
AGE: Final = "age"  # what is verified of somebody who was asked how old they are
OWN: Final = "own"  # and that they speak for themselves


@dataclass(frozen=True)
class Facts:
    """What is known of somebody. `there`: their key, as it is written, is that of a row of their own; `ended`: they
    have left (`began_at` and `left_at` say when, where that can be read). `region` is None where nobody can tell;
    `kinds` are theirs, the root's among them; `unsure` those that nobody can tell, for want of a birth date that is
    one, or of the database's answer."""

    there: bool
    region: str | None
    kinds: frozenset[str]
    unsure: frozenset[str] = frozenset()
    ended: bool = False
    began_at: datetime | None = None
    left_at: datetime | None = None


def kinds_within(policy: Policy, root: str) -> list[PersonKind]:
    """The kinds that some people of a root kind are, by a test: `minor` of `member`."""
    return [
        kind
        for kind in policy.people.values()
        if kind.is_a is not None and str(kind.name) != root and policy.chain(str(kind.name))[-1:] == (root,)
    ]


def facts(company: Company, whos: Sequence[Person]) -> dict[Person, Facts]:
    """The facts about each. Whoever stands where no database of the company's can be asked is taken to be there."""
    found: dict[Person, Facts] = {}
    for root in dict.fromkeys(who.kind for who in whos):
        people = [who for who in whos if who.kind == root]
        walk = company.map.walk(root)
        if walk is None or walk.store not in company.stores:
            within = frozenset(str(kind.name) for kind in kinds_within(company.policy, root))
            found |= {who: Facts(True, None, frozenset((root,)), within) for who in people}
            continue
        for start in range(0, len(people), CHUNK):
            found |= _of_store(company, walk, root, people[start : start + CHUNK])
    return _without_a_date(company, found)


def about(company: Company, whos: Sequence[Person]) -> dict[Person, Facts]:
    """The same. A visitor is in a browser: that no database has them says nothing; a kind nobody knows is nobody.

    TransientError where a database that should say it doesn't answer.
    """
    visitors = visitor_kind(company.policy)
    for kind in {who.kind for who in whos} - {visitors}:
        if is_in_database(company, kind):
            company.walk(kind)
    found = facts(company, [who for who in whos if company.policy.root(who.kind) is not None])
    nobody = Facts(False, None, frozenset())
    return {
        who: Facts(True, one.region, one.kinds)
        if who.kind == visitors and not (one := found[who]).there
        else found.get(who, nobody)
        for who in whos
    }


def is_in_database(company: Company, kind: str) -> bool:
    """Whether people of a kind have rows in a database that can be asked."""
    root = company.policy.root(kind)
    return (
        root is not None
        and root.table is not None
        and company.policy.stores[str(root.table).partition(".")[0]].is_sql
    )


def _without_a_date(company: Company, found: dict[Person, Facts]) -> dict[Person, Facts]:
    """Whoever said once how old they are, and speaks for themselves, is of no kind that one grows out of: a birth date
    may be left out, or taken back."""
    unsure = [who for who, told in found.items() if told.there and told.unsure]
    if not unsure:
        return found
    with company.state.read() as connection:
        numbers = find(company, unsure, connection)
        own: set[int] = set()
        for start in range(0, len(numbers), CHUNK):
            part = list(numbers.values())[start : start + CHUNK]
            chosen = (verifications.c.what == AGE) & (verifications.c.by == OWN)
            query = sa.select(verifications.c.subject).where(chosen, verifications.c.subject.in_(part))
            own |= set(connection.scalars(query))
    outgrown = young(company.policy)
    return found | {
        who: replace(found[who], unsure=found[who].unsure - outgrown)
        for who in unsure
        if numbers.get(who) in own
    }


def young(policy: Policy) -> frozenset[str]:
    """The kinds that one grows out of: those with an upper bound of age."""
    return frozenset(
        str(kind.name)
        for kind in policy.people.values()
        if kind.when is not None
        and any(part.of_age and part.operator in ("<", "<=") for part in kind.when.all)
    )


def region_of(value: object) -> str | None:
    """A region as the policy language writes it, from what a column holds; None where it is none."""
    text = str(value).strip().lower().replace("_", "-") if value is not None else ""
    return text if text in regions() and text != "elsewhere" else None


def _of_store(company: Company, walk: Walk, root: str, people: Sequence[Person]) -> dict[Person, Facts]:
    policy, store = company.policy, company.stores[walk.store]
    kind, within = policy.people[root], kinds_within(policy, root)
    columns = dict.fromkeys(
        str(column) for column in (kind.region, kind.born, kind.began, kind.ended) if column is not None
    )
    shape = walk.tables[walk.root.table]
    now = company.clock()
    rows = own_rows(
        store, walk, [who.key for who in people], [one for one in columns if one in shape.columns]
    )
    keys = [key for found in rows.values() for key, _ in found]
    holds = _tests(company, walk, within, keys)
    found: dict[Person, Facts] = {}
    for who in people:
        mine = rows.get(who.key, [])
        if len(mine) != 1:
            found[who] = Facts(
                bool(mine), None, frozenset((root,)), frozenset(str(one.name) for one in within)
            )
            continue
        key, row = mine[0]
        if (
            tuple(map(written, key)) != who.key
        ):  # `07` is customer 7, and who asks under another name has no answers
            found[who] = Facts(False, None, frozenset((root,)))
            continue
        unsure = {
            str(one.name)
            for one in within
            if one.when is not None
            and any(part.of_age for part in one.when.all)
            and not is_date(row.get(str(kind.born)))
        }
        kinds = {str(one.name) for one in within if key in holds[str(one.name)]} - unsure
        found[who] = Facts(
            True,
            region_of(row.get(str(kind.region))),
            frozenset({root, *kinds}),
            frozenset(unsure),
            is_past(row.get(str(kind.ended)), now),
            moment(row.get(str(kind.began))),
            moment(row.get(str(kind.ended))),
        )
    return found


def _tests(
    company: Company, walk: Walk, within: Sequence[PersonKind], keys: Sequence[tuple[Any, ...]]
) -> dict[str, set[tuple[Any, ...]]]:
    """The keys of those who pass the test of each kind."""
    if not within or not keys:
        return {str(one.name): set() for one in within}
    store, root = company.stores[walk.store], walk.root
    source, shape = store.table(root.table), walk.tables[root.table]
    today = company.clock().astimezone(company.policy.timezone).date()
    own = [source.c[column] for column in root.person]
    tests = [test_of(company, one, source, shape, today) for one in within]
    query = sa.select(*own, *(sa.case((test, 1), else_=0) for test in tests))
    if len(own) == 1:
        query = query.where(own[0].in_([key[0] for key in keys]))
    else:
        query = query.where(sa.tuple_(*own).in_(keys))
    found: dict[str, set[tuple[Any, ...]]] = {str(one.name): set() for one in within}
    with store.read() as connection:
        for row in connection.execute(query):
            key, passes = tuple(row[: len(own)]), row[len(own) :]
            for one, passed in zip(within, passes, strict=True):
                if passed:
                    found[str(one.name)].add(key)
    return found


def test_of(
    company: Company, kind: PersonKind, source: sa.TableClause, shape: Any, today: date
) -> sa.ColumnElement[bool]:
    """The test of a kind and of every kind it is, down to the root."""
    parts = []
    for name in company.policy.chain(str(kind.name)):
        one = company.policy.people[name]
        if one.when is not None:
            root = company.policy.root(name)
            born = str(root.born) if root is not None and root.born is not None else None
            parts.append(condition(one.when, source, shape, today=today, born=born))
    if not parts:
        raise StoreError(f"`{kind.name}` has no test that says who is one")
    return sa.and_(*parts)


def is_past(value: object, now: datetime) -> bool:
    """Whether a column says that something is over: a time that has come, or anything that isn't a time."""
    if value is None or value == "":
        return False
    at = moment(value)
    return at is None or at <= now


def moment(value: object) -> datetime | None:
    """A time as a column has it, UTC where it names no zone; None for what is none."""
    text = value.isoformat() if isinstance(value, date) else str(value)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def is_date(value: object) -> bool:
    """Whether a birth date is one."""
    if isinstance(value, date | datetime):
        return True
    try:
        date.fromisoformat(str(value)[:10])
    except ValueError:
        return False
    return True
