"""Writing what people choose: every answer an event of its own, durable before it is answered, and on the ledger.

What happened is recorded whether or not it changes anything. It takes effect unless something stronger stands: an
explicit answer isn't overridden by a signal or an import, nor a newer answer by an older one that was delivered late.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, text

from kept.company import Company
from kept.controls.choices.asking import ask_of
from kept.controls.choices.declare import Choice
from kept.controls.choices.guardians import guardians
from kept.controls.choices.records import marks, notices, subjects
from kept.controls.choices.records.history import Event, event_of, in_force
from kept.controls.choices.records.marks import Mark
from kept.controls.choices.records.states import AUTOMATIC, OURS, STANDING, WAYS, Answer, State, following
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.evidence.group_commit import GroupCommit
from kept.state.tables import choice_events
from kept.state.tables import notices as notices_table
from kept.state.tables import subjects as subjects_table

WITH: Final = "with "  # of the scope in which a party's own agreement stands: `with lucent`
LEDGER: Final = "choices"  # of the note up to which event the ledger is known to be whole
PAGE: Final = 5000
_ALONE: Final = 0x6B63686F  # "kcho": events are numbered in the order in which they are committed


class Refused(KeptError):
    """An answer that isn't recorded; `reason` is a word for programs."""

    def __init__(self, reason: str, message: str, help: str | None = None) -> None:
        super().__init__(message, help=help)
        self.reason = reason


@dataclass(frozen=True)
class New:
    """One answer to one choice. `at` is when it was given, for what arrives late; `record` (32 hex digits) makes the
    same sent twice the same; `decider` is the guardian who answers for somebody; `by` a member of staff or a party."""

    who: Person
    choice: str
    answer: Answer
    way: str
    scope: str = ""
    at: datetime | None = None
    notice: str | None = None
    region: str | None = None
    by: str | None = None
    record: str | None = None
    decider: Person | None = None


@dataclass(frozen=True)
class Recorded:
    """An answer that is on record: its state, and whether it `took` effect; `known` when it had been before."""

    new: New
    number: int
    record: str
    state: State
    took: bool
    known: bool


def record(
    company: Company, given: Sequence[New], *, along: Callable[[Connection], None] | None = None
) -> list[Recorded]:
    """Record answers, all or none, in one transaction; Refused says why one can't be. On return they are on disk.

    `along` writes in the same transaction; what it raises lets nothing of it stay.
    """
    ready = [one for new in given for one in _checked(company, new)]
    with company.state.write() as connection:
        [done] = _write(company, connection, [ready])
        if isinstance(done, Refused):
            raise done  # nothing of the transaction stays
        if along is not None:
            along(connection)
    put_on_ledger(company, done)
    return done


class Recorder:
    """Records for many threads at once: whoever waits shares the next commit (`GroupCommit`)."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self._commits: GroupCommit[list[New], list[Recorded] | Refused] = GroupCommit(self._commit)

    def record(self, given: Sequence[New]) -> list[Recorded]:
        """As `record` does; what is refused of one caller's is refused to that caller alone."""
        done = self._commits.submit([one for new in given for one in _checked(self.company, new)])
        if isinstance(done, Refused):
            raise done
        return done

    def _commit(self, groups: Sequence[list[New]]) -> list[list[Recorded] | Refused]:
        with self.company.state.write() as connection:
            results = _write(self.company, connection, groups)
        put_on_ledger(
            self.company, [one for done in results if not isinstance(done, Refused) for one in done]
        )
        return results


def scopes(company: Company, choice: Choice) -> tuple[str, ...]:
    """What a choice is made for one by one: its channels or purposes; the empty scope where it is one."""
    if choice.each is None:
        return ("",)
    waiting = [
        one
        for one in company.policy.section("purposes").values()
        if isinstance(one, Purpose) and choice.name in one.choice
    ]
    if choice.each == "purpose":
        return tuple(str(one.name) for one in waiting)
    return tuple(dict.fromkeys(str(channel) for one in waiting for channel in one.sends))


def _checked(company: Company, new: New) -> list[New]:
    """An answer as it is recorded, one for each scope it is about; Refused where it can't be."""
    policy = company.policy
    choice = policy.section("choices").get(new.choice)
    if not isinstance(choice, Choice):
        raise Refused("unknown-choice", "the policy has no such choice")
    kinds = [kind for who in choice.of if (kind := policy.kind_of(str(who))) is not None]
    if not any(policy.related(new.who.kind, kind) for kind in kinds):
        raise Refused("not-theirs", f"`{choice.name}` is not a choice of a `{new.who.kind}`")
    if new.way not in WAYS:
        raise Refused("unknown-way", "nobody can answer in this way")
    if choice.by and new.answer == "yes" and new.way not in OURS:
        open_to = guardians(company, choice, [new.who]).get(new.who, {})
        if new.decider is None or new.decider not in open_to:
            raise Refused(
                "not-theirs-to-give", f"`{choice.name}` is given by {choice.by[0]}, and by nobody else"
            )
        new = replace(new, by=open_to[new.decider])
    now = company.clock()
    new = replace(new, at=min(new.at or now, now), record=new.record or secrets.token_hex(16))
    party = new.scope.removeprefix(WITH) if new.scope.startswith(WITH) else None
    if party is not None:
        if party not in map(str, choice.with_party):
            raise Refused("wrong-scope", f"`{choice.name}` doesn't need the agreement of this party")
        return [new]
    known = scopes(company, choice)
    if new.scope == "" and known != ("",):
        return [replace(new, scope=scope) for scope in known]
    if new.scope not in known:
        raise Refused("wrong-scope", f"`{choice.name}` isn't made for this", "known: " + ", ".join(known))
    return [new]


def _write(
    company: Company, connection: Connection, groups: Sequence[list[New]]
) -> list[list[Recorded] | Refused]:
    """Write groups of answers, each whole or not at all; for each what was recorded, or why it is refused."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ALONE})"))
    writing = _Writing(company, connection, [new for group in groups for new in group])
    results = [writing.group(group) for group in groups]
    if writing.rows:
        connection.execute(insert(choice_events), writing.rows)
        marks.change(connection, writing.on, writing.off)
    return results


class _Writing:
    """One transaction's answers, as they follow one another."""

    def __init__(self, company: Company, connection: Connection, given: Sequence[New]) -> None:
        self.company = company
        self.numbered = subjects.number(company, connection, [new.who for new in given])
        self.stands = in_force(connection, [number for number, _ in self.numbered.values()])
        self.known = _known(connection, given)
        self.shown = _shown(connection, given)
        self.meant = notices.keep_meanings(company, connection, sorted({new.choice for new in given}))
        self.last = int(connection.scalar(text("SELECT coalesce(max(number), 0) FROM choice_events")) or 0)
        self.received = company.clock()
        self.rows: list[dict[str, Any]] = []
        self.on: dict[tuple[Mark, int], None] = {}
        self.off: dict[tuple[Mark, int], None] = {}

    def group(self, group: Sequence[New]) -> list[Recorded] | Refused:
        try:
            times = [self._time(new) for new in group]
        except Refused as wrong:
            return wrong
        return [self._one(new, at) for new, at in zip(group, times, strict=True)]

    def _time(self, new: New) -> datetime:
        """When an answer was given, once all that could refuse it is looked at: never before its notice was there."""
        assert new.at is not None
        known = self.known.get((str(new.record), new.choice, new.scope))
        if known is not None and (known.subject, known.answer) != (self.numbered[new.who][0], new.answer):
            raise Refused("replayed", "another answer was recorded under this id")
        if new.notice is None:
            return new.at
        if new.notice not in self.shown:
            raise Refused("unknown-notice", "nothing like this was ever shown")
        body, since = self.shown[new.notice]
        if new.choice not in body["choices"]:
            raise Refused("not-asked", f"what was shown didn't ask about `{new.choice}`")
        if new.at < since and new.answer == "yes" and known is None:
            raise Refused("impossible-time", "this yes was given before what it answers to was shown")
        return max(new.at, since)

    def _one(self, new: New, at: datetime) -> Recorded:
        place = (str(new.record), new.choice, new.scope)
        if place in self.known:
            event = self.known[place]
            return Recorded(new, event.number, event.record, event.state, event.took, known=True)
        event = self._event(new, at)
        self.known[place] = event
        self.rows.append(_row(event))
        if event.took:
            mine = self.stands.setdefault(event.subject, {})
            _remark(self.on, self.off, mine.get((new.choice, new.scope)), event)
            mine[new.choice, new.scope] = event
        return Recorded(new, event.number, event.record, event.state, event.took, known=False)

    def _event(self, new: New, at: datetime) -> Event:
        policy = self.company.policy
        choice = policy.section("choices")[new.choice]
        assert isinstance(choice, Choice)
        subject, _ = self.numbered[new.who]
        before = self.stands.get(subject, {}).get((new.choice, new.scope))
        twice = new.way not in ("confirmed", *OURS) and ask_of(policy, choice, new.region) == "double-opt-in"
        state = following(before.state if before is not None else None, new.answer, twice=twice)
        lapses = choice.lapses if state in STANDING else None
        meaning = self.meant[new.choice]
        if new.notice is not None:
            meaning = str(self.shown[new.notice][0]["choices"][new.choice]["meaning"])
        self.last += 1
        return Event(
            number=self.last,
            record=str(new.record),
            subject=subject,
            choice=new.choice,
            scope=new.scope,
            answer=new.answer,
            state=state,
            took=_takes(before, new, state, at),
            at=at,
            received=self.received,
            way=new.way,
            by=new.by,
            notice=new.notice,
            meaning=meaning,
            region=new.region,
            until=lapses.end(at, policy.timezone) if lapses is not None else None,
        )


def _takes(before: Event | None, new: New, state: State, at: datetime) -> bool:
    """Whether an answer counts, given the one in force."""
    if before is None:
        return True
    if new.way in OURS:
        return before.state in STANDING or before.state == "Requested"
    if new.way in AUTOMATIC and not before.is_automatic:
        return False
    if state in (
        "Requested",
        "RequestDeferred",
    ):  # asked, put off, not yet confirmed: takes back nothing that was said
        return not (before.state in STANDING or before.is_against) and at >= before.at
    return at > before.at or (at == before.at and (new.answer == "no" or not before.is_against))


def _remark(
    on: dict[tuple[Mark, int], None], off: dict[tuple[Mark, int], None], before: Event | None, event: Event
) -> None:
    """What an event that counts changes in the marks."""
    if before is not None and (mark := marks.mark_of(before)) is not None:
        off[mark, event.subject] = None
        on.pop((mark, event.subject), None)
    if (mark := marks.mark_of(event)) is not None:
        on[mark, event.subject] = None
        off.pop((mark, event.subject), None)


def _known(connection: Connection, given: Sequence[New]) -> dict[tuple[str, str, str], Event]:
    records = sorted({str(new.record) for new in given})
    found: dict[tuple[str, str, str], Event] = {}
    for start in range(0, len(records), PAGE):
        query = select(choice_events).where(choice_events.c.record.in_(records[start : start + PAGE]))
        for event in map(event_of, connection.execute(query)):
            found[event.record, event.choice, event.scope] = event
    return found


def _shown(connection: Connection, given: Sequence[New]) -> dict[str, tuple[dict[str, Any], datetime]]:
    wanted = sorted({new.notice for new in given if new.notice is not None})
    if not wanted:
        return {}
    query = select(notices_table).where(notices_table.c.id.in_(wanted))
    return {
        row.id: (json.loads(row.body), datetime.fromisoformat(row.since)) for row in connection.execute(query)
    }


def _row(event: Event) -> dict[str, Any]:
    row = dict(vars(event))
    for name in ("at", "received", "until"):
        row[name] = row[name].isoformat() if row[name] is not None else None
    return row | {"took": int(event.took)}


def put_on_ledger(company: Company, done: Iterable[Recorded]) -> None:
    """Answers become entries of the ledger, each once; what a crash kept from it follows (`whole_ledger`)."""
    numbers = [one.number for one in done if not one.known]
    with company.state.read() as connection:
        items = [
            entry
            for start in range(0, len(numbers), PAGE)
            for entry in _entries(connection, numbers[start : start + PAGE])
        ]
    company.ledger.append_many(items)


def whole_ledger(company: Company) -> int:
    """See that every event is on the ledger; how many were looked at."""
    upto, looked = int(company.state.notes(LEDGER).get("ledger", {}).get("upto", 0)), 0
    while True:
        query = select(choice_events.c.number).where(choice_events.c.number > upto)
        with company.state.read() as connection:
            numbers = list(connection.scalars(query.order_by(choice_events.c.number).limit(PAGE)))
            items = _entries(connection, numbers)
        if not numbers:
            return looked
        company.ledger.append_many(items)
        upto, looked = numbers[-1], looked + len(numbers)
        company.state.note(LEDGER, "ledger", {"upto": upto})


def _entries(connection: Connection, numbers: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
    if not numbers:
        return []
    query = (
        select(choice_events, subjects_table.c.pseudonym)
        .join(subjects_table, subjects_table.c.number == choice_events.c.subject)
        .where(choice_events.c.number.in_(numbers))
        .order_by(choice_events.c.number)
    )
    return [
        (
            f"choice {row.number}",
            {
                "act": "choose",
                "choice": row.choice,
                "state": row.state,
                "way": row.way,
                "record": row.record,
                "person": row.pseudonym,
                "chosen": row.at,
                "meaning": row.meaning,
                **({"scope": row.scope} if row.scope else {}),
                **({"notice": row.notice} if row.notice else {}),
                **({} if row.took else {"took": False}),
            },
        )
        for row in connection.execute(query)
    ]
