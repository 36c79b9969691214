"""What is on record of a choice, worked out anew from its events alone and set beside what the gate went by.

The gate decides person by person in memory; here the database is asked about everybody, by other statements. What is
found is counts and times, and nobody's name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, cast, func, literal, or_, select

from kept.company import Company
from kept.controls.choices import meaning as meanings_of
from kept.controls.choices.asking import ASKED, ask_of
from kept.controls.choices.declare import Choice
from kept.controls.choices.records import marks
from kept.controls.choices.records.book import WITH
from kept.controls.choices.records.states import AGAINST, STANDING
from kept.controls.choices.whom import facts
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError
from kept.state.tables import choice_events, choice_readers, meanings, sends, subjects

AGAIN: Final = 3  # measurements, while people choose meanwhile
LEDGER: Final = (
    100_000  # events all of which are looked for on the ledger; of more, as many are drawn at random
)
PAGE: Final = 5000
LOOKED_BACK: Final = timedelta(days=30)  # messages older than that are over
AT_WORK: Final = timedelta(minutes=2)  # a process that was heard of since is at work
HEARD: Final = timedelta(hours=24)  # a process that was heard of since asks before it acts
AT_ONCE: Final = timedelta(seconds=1)  # what `within: at once` can mean between processes
PRIME: Final = (
    1_000_003  # squares of subjects' numbers are summed by their remainders, so that no sum overflows
)
DIFFERING: Final = 10_000  # messages looked at one by one


@dataclass(frozen=True)
class Standing:
    """How many answers are in force by the events, and in how many lists of the gate's there are others."""

    yes: int
    no: int
    differing: int
    unshown: int  # yeses of which nobody can say what was asked


def standing(company: Company, choice: Choice) -> Standing:
    """Compare the marks with the events they follow from: how many, and two sums over the subjects' numbers."""
    found = Standing(0, 0, 0, 0)
    for _ in range(AGAIN):
        with company.state.read() as connection:
            found = _standing(connection, str(choice.name))
        if not found.differing:  # else somebody chose while it was measured
            break
    return found


def _standing(connection: Connection, name: str) -> Standing:
    newest = (
        select(func.max(choice_events.c.number).label("number"))
        .where(choice_events.c.choice == name, choice_events.c.took == 1)
        .group_by(choice_events.c.subject, choice_events.c.scope)
        .subquery()
    )
    query = (
        select(
            choice_events.c.scope,
            choice_events.c.state,
            choice_events.c.meaning,
            func.count(),
            func.sum(choice_events.c.subject),
            func.sum(cast(choice_events.c.subject, BigInteger) * choice_events.c.subject % PRIME),
            func.count().filter(choice_events.c.notice.is_(None)),
        )
        .join(newest, newest.c.number == choice_events.c.number)
        .join(subjects, subjects.c.number == choice_events.c.subject)
        .where(subjects.c.person.is_not(None))
        .group_by(choice_events.c.scope, choice_events.c.state, choice_events.c.meaning)
    )
    expected: dict[tuple[str, str], tuple[int, int, int]] = {}
    yes = no = unshown = 0
    for scope, state, meaning, number, total, squares, without in connection.execute(query):
        if state in STANDING:
            place, yes = (scope, meaning), yes + number
            unshown += without if not scope.startswith(WITH) else 0
        elif state in AGAINST:
            place, no = (scope, marks.NO), no + number
        else:
            continue
        before = expected.get(place, (0, 0, 0))
        expected[place] = (before[0] + number, before[1] + int(total), before[2] + int(squares))
    there = {
        (mark.scope, mark.meaning): (len(bits), sum(bits), sum(one * one % PRIME for one in bits))
        for mark, bits in marks.read(connection, [name]).items()
        if bits
    }
    places = expected.keys() | there.keys()
    return Standing(yes, no, sum(expected.get(one) != there.get(one) for one in places), unshown)


@dataclass(frozen=True)
class OnLedger:
    """How many events there are, how many were looked for on the ledger, and how many of these aren't there."""

    events: int
    looked: int
    missing: int


def on_ledger(company: Company, choice: Choice) -> OnLedger:
    """Look for each event's entry on the ledger; of very many for the newest, and for some drawn at random."""
    mine = choice_events.c.choice == str(choice.name)
    counted = select(func.count(), func.min(choice_events.c.number), func.max(choice_events.c.number)).where(
        mine
    )
    newest = select(choice_events.c.number).where(mine).order_by(choice_events.c.number.desc()).limit(LEDGER)
    with company.state.read() as connection:
        total, least, most = connection.execute(counted).one()
        if total <= LEDGER:
            numbers = set(connection.scalars(newest))
        else:
            numbers = set(connection.scalars(newest.limit(PAGE)))
            drawn = random.sample(range(least, most + 1), LEDGER)
            for page in _pages(drawn):
                there = select(choice_events.c.number).where(mine, choice_events.c.number.in_(page))
                numbers |= set(connection.scalars(there))
    missing = 0
    for page in _pages(sorted(numbers)):
        entries = company.ledger.keyed([f"choice {number}" for number in page])
        missing += sum(entries.get(f"choice {number}", {}).get("choice") != choice.name for number in page)
    return OnLedger(total, len(numbers), missing)


@dataclass(frozen=True)
class Sent:
    """The messages of a purpose in the last 30 days, and those that shouldn't have been let through.

    `after_no`: somebody had said no; `without_yes`: they hadn't answered, or their yes was over, where one is needed;
    `uncovered`: their yes was about less; `under_way`: they had changed their mind, no longer ago than it may take.
    """

    messages: int
    after_no: int
    without_yes: int
    uncovered: int
    under_way: int
    last: datetime | None = None
    unsure: str | None = None

    @property
    def wrong(self) -> int:
        return self.after_no + self.without_yes + self.uncovered


def sent(company: Company, choice: Choice, purpose: Purpose) -> Sent:
    """Compare the messages of a purpose with the answers that were in force when each left."""
    since = (company.clock() - LOOKED_BACK).isoformat()
    mine = and_(sends.c.purpose == str(purpose.name), sends.c.at >= since)
    with company.state.read() as connection:
        total, newest = connection.execute(select(func.count(), func.max(sends.c.at)).where(mine)).one()
        doubtful = list(_doubtful(connection, company, choice, purpose, mine))
    counts = {"no": 0, "yes": 0, "covers": 0, "under-way": 0}
    try:
        regions = _regions(company, [row for row in doubtful if row.why == "yes"])
    except KeptError as wrong:
        return Sent(total, 0, 0, 0, 0, unsure=wrong.message)
    with company.state.read() as connection:
        for row in doubtful:
            if row.why == "yes" and ask_of(company.policy, choice, regions.get(row.subject)) not in ASKED:
                continue
            if row.why != "covers" and _changed_since(connection, company, choice, row):
                counts["under-way"] += 1
            else:
                counts[row.why] += 1
    last = datetime.fromisoformat(newest) if newest is not None else None
    return Sent(total, counts["no"], counts["yes"], counts["covers"], counts["under-way"], last)


@dataclass(frozen=True)
class _Doubtful:
    """A message that may have needed another answer than the one in force."""

    subject: int
    scope: str
    at: str
    why: str


def _doubtful(
    connection: Connection, company: Company, choice: Choice, purpose: Purpose, mine: ColumnElement[bool]
) -> Iterator[_Doubtful]:
    """The messages without a clear yes, by what was in force then as the events say."""
    scope = {"channel": sends.c.channel, "purpose": sends.c.purpose}.get(
        str(choice.each), literal("", sends.c.purpose.type)
    )
    stood = and_(
        choice_events.c.state.in_(STANDING),
        or_(choice_events.c.until.is_(None), choice_events.c.until > sends.c.at),
    )
    little, since = _too_little(connection, company, choice, purpose)
    over = choice_events.c.state.in_(AGAINST)
    uncovered = and_(stood, choice_events.c.meaning.in_(little), sends.c.at > since)
    asks = {ask_of(company.policy, choice, region) in ASKED for region in _every_region(choice)}
    query = (
        select(
            sends.c.subject,
            scope,
            sends.c.at,
            func.coalesce(over, False).label("over"),
            func.coalesce(uncovered, False),
        )
        .select_from(sends)
        .outerjoin(choice_events, choice_events.c.number == _in_force(str(choice.name), scope))
        .where(mine, or_(choice_events.c.number.is_(None), ~stood, uncovered))
        .limit(DIFFERING if len(asks) == 1 else None)  # where only some need a yes, all are looked at
    )
    for subject, in_scope, at, is_over, is_uncovered in connection.execute(
        query if True in asks else query.where(over)
    ):
        yield _Doubtful(subject, in_scope, at, "covers" if is_uncovered else "no" if is_over else "yes")
    for party in choice.with_party:
        agreed = literal(f"{WITH}{party}", sends.c.purpose.type)
        missing = (
            select(sends.c.subject, agreed, sends.c.at)
            .select_from(sends)
            .outerjoin(choice_events, choice_events.c.number == _in_force(str(choice.name), agreed))
            .where(mine, or_(choice_events.c.number.is_(None), ~stood))
            .limit(DIFFERING)
        )
        for subject, in_scope, at in connection.execute(missing):
            yield _Doubtful(subject, in_scope, at, "no")


def _in_force(name: str, scope: Any) -> Any:
    """The number of the event in force for a message's subject when it left: the newest that counted and was known."""
    other = choice_events.alias()
    return (
        select(func.max(other.c.number))
        .where(
            other.c.subject == sends.c.subject,
            other.c.choice == name,
            other.c.scope == scope,
            other.c.took == 1,
            other.c.received <= sends.c.at,
        )
        .correlate(sends)
        .scalar_subquery()
    )


def _too_little(
    connection: Connection, company: Company, choice: Choice, purpose: Purpose
) -> tuple[list[str], str]:
    """The meanings of a yes that don't cover a purpose as it is now, and since when it is known to be so."""
    now = meanings_of.meaning(company.policy, choice)
    about = meanings_of.about(company.policy, "purposes", str(purpose.name))
    digest = meanings_of.digest(now)
    since = connection.scalar(select(meanings.c.since).where(meanings.c.id == digest))
    if since is None:
        return [], ""
    little = []
    given = select(choice_events.c.meaning).where(choice_events.c.choice == str(choice.name)).distinct()
    for id, body in connection.execute(
        select(meanings.c.id, meanings.c.body).where(meanings.c.id.in_(given), meanings.c.id != digest)
    ):
        if not meanings_of.covers(json.loads(body), "purposes", str(purpose.name), about):
            little.append(id)
    return little, str(since)


def _every_region(choice: Choice) -> list[str | None]:
    return [None, *(str(region) for region in choice.ask if region != "elsewhere")]


def _regions(company: Company, rows: Sequence[_Doubtful]) -> dict[int, str | None]:
    """Where these subjects are, as far as the company's databases or their own answers tell."""
    numbers = sorted({row.subject for row in rows})
    found: dict[int, str | None] = {}
    for page in _pages(numbers):
        chosen = select(subjects.c.number, subjects.c.who).where(
            subjects.c.number.in_(page), subjects.c.who.is_not(None)
        )
        told = (
            select(choice_events.c.subject, choice_events.c.region)
            .where(choice_events.c.subject.in_(page), choice_events.c.region.is_not(None))
            .order_by(choice_events.c.number)
        )
        with company.state.read() as connection:
            sealed = connection.execute(chosen).all()
            found |= {row.subject: row.region for row in connection.execute(told)}
        people: dict[Person, int] = {
            person_of(company.policy, company.keys.unseal("subject", who).decode()): number
            for number, who in sealed
        }
        known = facts(company, list(people))
        found |= {people[who]: one.region for who, one in known.items() if one.region is not None}
    return found


def _changed_since(connection: Connection, company: Company, choice: Choice, row: _Doubtful) -> bool:
    """Whether the answer stood so shortly before that the change had not to be everywhere yet."""
    left = datetime.fromisoformat(row.at)
    query = (
        select(choice_events.c.state, choice_events.c.received)
        .where(
            choice_events.c.subject == row.subject,
            choice_events.c.choice == str(choice.name),
            choice_events.c.scope == row.scope,
            choice_events.c.took == 1,
            choice_events.c.received <= row.at,
        )
        .order_by(choice_events.c.number.desc())
        .limit(2)
    )
    newest = connection.execute(query).all()
    if not newest:
        return False
    before = newest[1].state if len(newest) > 1 else None
    changed = datetime.fromisoformat(newest[0].received)
    stood = before in STANDING or (
        before is None and newest[0].state in AGAINST and not _first_needed(company, choice)
    )
    return stood and left <= _end(company, choice, changed)


def _first_needed(company: Company, choice: Choice) -> bool:
    return any(ask_of(company.policy, choice, region) in ASKED for region in _every_region(choice))


def _end(company: Company, choice: Choice, start: datetime) -> datetime:
    """Until when a change made then must be everywhere."""
    return max(choice.takes_effect.end(start, company.policy.timezone), start + AT_ONCE)


@dataclass(frozen=True)
class Effect:
    """How soon changes reach those who ask.

    `heard` are the processes that asked since yesterday, `learned` the changes they learned of from elsewhere, and
    `longest` the longest that took; `readers` are those at work now, `behind` those of them that haven't learned of a
    withdrawal in time.
    """

    heard: int
    readers: int
    learned: int
    longest: timedelta
    behind: int
    within: timedelta


def effect(company: Company, choice: Choice) -> Effect:
    """What the processes that ask say of themselves, beside the withdrawals they must know of."""
    now = company.clock()
    within = _end(company, choice, now) - now
    with company.state.read() as connection:
        heard = connection.execute(
            select(choice_readers).where(choice_readers.c.seen >= (now - HEARD).isoformat())
        ).all()
        working = [row for row in heard if datetime.fromisoformat(row.seen) >= now - AT_WORK]
        behind = 0
        for row in working:
            known_by = (datetime.fromisoformat(row.seen) - within).isoformat()
            newest = connection.scalar(
                select(func.max(choice_events.c.number)).where(
                    choice_events.c.choice == str(choice.name),
                    choice_events.c.state.in_(AGAINST),
                    choice_events.c.received <= known_by,
                )
            )
            behind += newest is not None and row.position < newest
    longest = max((row.longest for row in heard), default=0)
    learned = sum(row.events for row in heard)
    return Effect(len(heard), len(working), learned, timedelta(milliseconds=longest), behind, within)


def _pages(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + PAGE] for start in range(0, len(numbers), PAGE))
