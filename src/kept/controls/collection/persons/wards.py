"""Young people whose guardian answers for them: permitted beforehand, seen, ended; and who has nobody any more."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.choices.declare import Choice
from kept.controls.choices.enforce import Gate
from kept.controls.choices.guardians import ends, guardians, ties
from kept.controls.choices.records import subjects
from kept.controls.choices.records.book import New, Recorded, record
from kept.controls.choices.records.history import Event, current
from kept.controls.choices.whom import Facts, facts, kinds_within, test_of, young
from kept.controls.collection.persons.age import empty_and_dated, kinds_of, permissions
from kept.controls.collection.persons.verified import WARD
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.state.database import insert
from kept.state.tables import verifications
from kept.stores.clauses import written

AT_ONCE: Final = 5000
BEFOREHAND: Final = timedelta(days=7)  # so long a permission waits for the account it is for


@dataclass(frozen=True)
class Ward:
    """Somebody a guardian answers for: how the permission stands, and since when it is as it is."""

    person: Person
    choice: str
    state: str | None
    since: datetime | None


@dataclass(frozen=True)
class Closed:
    """Somebody who may not go on: nobody answers for them now, and why."""

    person: Person
    choice: str
    why: str


def allow(company: Company, guardian: Person, address: str) -> None:
    """A guardian permits that an account is opened for somebody young under an address (or a user name).

    It waits for a week. Of the address only a keyed hash is kept, and nothing else of the child. Refused where whoever
    says so is not of age themselves, or their account isn't there.
    """
    told = facts(company, [guardian])[guardian]
    if not told.there or young(company.policy) & (told.kinds | told.unsure):
        raise Refused("no-guardian", "whoever gives this permission has to be known, and of age")
    now = company.clock()
    with company.state.write() as connection:
        number, pseudonym = subjects.number(company, connection, [guardian])[guardian]
        row = {"subject": number, "what": WARD, "of": _of(company, address), "by": "guardian"}
        row |= {"at": now.isoformat(), "until": (now + BEFOREHAND).isoformat()}
        statement = insert(connection, verifications).values(row)
        changed = {name: statement.excluded[name] for name in ("at", "until", "by")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["subject", "what", "of"], set_=changed)
        )
    entry = {"act": "permit", "choice": [str(one.name) for one in permissions(company.policy)]}
    company.ledger.append(entry | {"person": pseudonym}, key=f"permit {secrets.token_hex(16)}")


def allowed(company: Company, guardian: Person, addresses: Sequence[str]) -> bool:
    """Whether a guardian has permitted an account under one of these addresses, and still may."""
    told = facts(company, [guardian])[guardian]
    if not addresses or not told.there or young(company.policy) & (told.kinds | told.unsure):
        return False
    with company.state.read() as connection:
        number = subjects.find(company, [guardian], connection).get(guardian)
        query = sa.select(verifications.c.subject).where(
            verifications.c.subject == number,
            verifications.c.what == WARD,
            verifications.c.of.in_([_of(company, one) for one in addresses]),
            verifications.c.until > company.clock().isoformat(),
        )
        return connection.execute(query).first() is not None


def permitted(company: Company, who: Person, told: Facts) -> Decision | None:
    """Why a guardian's permission doesn't stand, where somebody needs one; None where all is well.

    The links are read anew, so a guardian who is gone counts at once. Raises StoreError where they can't be read.
    """
    for choice in permissions(company.policy):
        if kinds_of(company.policy, choice) & (told.kinds | told.unsure):
            found = Gate.of(company).choice(who, str(choice.name))
            if not found.allowed:
                return found
            event = current(company, [who]).get(who, {}).get((str(choice.name), ""))
            if event is None or event.by not in guardians(company, choice, [who]).get(who, {}).values():
                clause = tuple(map(str, choice.clause))
                return Decision(
                    False, "whoever gave the permission may not any more", clause, str(choice.name)
                )
    return None


def wards(company: Company, guardian: Person) -> list[Ward]:
    """Everybody a guardian answers for, for the guardian to see."""
    found = []
    for choice in permissions(company.policy):
        for link, end in ends(company, choice):
            theirs = [other for tie in ties(company, link, end, [guardian]) for other in tie.others.values()]
            stands = current(company, theirs)
            for who in dict.fromkeys(theirs):
                if guardian in guardians(company, choice, [who]).get(who, {}):
                    event = stands.get(who, {}).get((str(choice.name), ""))
                    state, since = (event.state, event.at) if event is not None else (None, None)
                    found.append(Ward(who, str(choice.name), state, since))
    return found


def end(company: Company, guardian: Person, ward: Person, *, way: str = "account") -> list[Recorded]:
    """A guardian takes their permission back: from now on nothing is collected or used of whom they answer for.

    Refused("no-guardian") for whoever does not answer for them.
    """
    given = []
    for choice in permissions(company.policy):
        by = guardians(company, choice, [ward]).get(ward, {})
        if guardian in by:
            given.append(New(ward, str(choice.name), "no", way, by=by[guardian]))
    if not given:
        raise Refused("no-guardian", "they do not answer for this person")
    done = record(company, given)
    Gate.of(company).learn([ward])
    return done


def closed(company: Company) -> Iterator[Closed]:
    """Everybody young who may not go on, for lack of a permission that stands or of a guardian, a few thousand at a
    time; also those of whom nobody can tell how old they are. Raises StoreError where the stores can't be asked."""
    for choice in permissions(company.policy):
        for kind in sorted(kinds_of(company.policy, choice)):
            for people in _of_kind(company, kind):
                yield from _closed(company, choice, kind, people)


def _closed(company: Company, choice: Choice, kind: str, people: Mapping[Person, bool]) -> Iterator[Closed]:
    unread = [who for who, dated in people.items() if not dated]
    told = facts(company, unread) if unread else {}
    wards_ = [who for who in people if who not in told or kind in (told[who].kinds | told[who].unsure)]
    stands, by = current(company, wards_), guardians(company, choice, wards_)
    now, name = company.clock(), str(choice.name)
    for who in wards_:
        event = stands.get(who, {}).get((name, ""))
        why = _why(event, by.get(who, {}), now)
        if why is not None and who in told:
            why = f"nobody can tell how old they are, and {why}"
        if why is not None:
            yield Closed(who, name, why)


def _why(event: Event | None, by: Mapping[Person, str], now: datetime) -> str | None:
    if event is None:
        return "no permission was ever given"
    if event.is_against:
        return "the permission was refused or taken back"
    if not event.stands(now):
        return "the permission lapsed"
    if not by:
        return "no guardian answers for them any more"
    return None if event.by in by.values() else "whoever gave the permission may not any more"


def _of_kind(company: Company, name: str) -> Iterator[dict[Person, bool]]:
    """People of a kind, and those who may be for want of a birth date (False), read in one statement."""
    policy = company.policy
    walk, root = company.walk(name), policy.root(name)
    assert root is not None
    store, shape = company.stores[walk.store], walk.tables[walk.root.table]
    source = store.table(walk.root.table)
    kind = next(one for one in kinds_within(policy, str(root.name)) if str(one.name) == name)
    test = test_of(company, kind, source, shape, company.clock().astimezone(policy.timezone).date())
    dated: sa.ColumnElement[bool] = sa.true()
    if root.born is not None and name in young(policy):
        _, dated = empty_and_dated(store, source.c[str(root.born)], shape.columns[str(root.born)].sort)
    keys = [source.c[column] for column in walk.root.person]
    query = sa.select(*keys, sa.case((dated, 1), else_=0)).where(sa.or_(sa.not_(dated), test))
    with store.read() as connection:
        rows = connection.execution_options(yield_per=AT_ONCE).execute(query)
        for part in rows.partitions(AT_ONCE):
            yield {
                Person(str(root.name), tuple(written(one) for one in key)): bool(known)
                for *key, known in part
            }


def _of(company: Company, address: str) -> bytes:
    return company.keys.mac("ward", address.strip().casefold().encode())
