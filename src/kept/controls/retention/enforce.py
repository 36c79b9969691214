"""The sweep: what is past its limit goes, in short transactions, counted exactly, on the ledger once.

Retention is swept from the tables furthest from people to their own rows, so that a row is gone before the row it
hangs on is judged.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import insert, select, update

from kept.company import Company
from kept.controls.retention.declare import Retention
from kept.controls.retention.limits import Gap, Term, past, terms
from kept.controls.retention.spared import sparing
from kept.errors import TerminalError
from kept.state.tables import acts
from kept.state.workflows import Workflows
from kept.stores.expiring.due import Expiry
from kept.stores.expiring.expiry import WindowDone, expire, overdue, overdue_together
from kept.stores.physical.files import CannotLook, scrub

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Line:
    """What was done, or is due, of one promise in one table: rows, and which of delete, anonymise, destroy it is."""

    promise: str
    place: str
    then: str
    rows: int


def _all(company: Company, now: datetime) -> tuple[list[tuple[Retention, Term]], list[Gap]]:
    """Every term of the policy at a time, in the order to sweep, and what can't be swept."""
    found: list[tuple[Retention, Term]] = []
    gaps: list[Gap] = []
    spare = sparing(company)
    for promise in company.policy.section("retention").values():
        assert isinstance(promise, Retention)
        for term in terms(company, promise, now, spare):
            if isinstance(term, Gap):
                gaps.append(term)
            else:
                found.append((promise, term))
    return sorted(found, key=lambda pair: -pair[1].depth), gaps


def due(company: Company) -> tuple[list[Line], list[Gap]]:
    """The dry run: how many rows a sweep would take now, exactly; changes nothing.

    A row that several promises would take is counted at the first of them, in the sweep's order.
    """
    found, gaps = _all(company, company.clock())
    lines: dict[tuple[str, str, str], int] = {}
    taken: dict[str, tuple[list[Expiry], int]] = {}
    for promise, term in found:
        before, rows = taken.get(term.place, ([], 0))
        together = [*before, *term.expiries()]
        try:
            total = overdue_together(company.stores[term.store], together) if together else 0
        except TerminalError as wrong:
            gaps.append(Gap(term.place, wrong.message))
            continue
        taken[term.place] = (together, total)
        key = (promise.id, term.place, str(promise.then or "delete"))
        lines[key] = lines.get(key, 0) + total - rows
    return [Line(*key, rows) for key, rows in lines.items()], gaps


def sweep(
    company: Company, workflows: Workflows, progress: Progress | None = None
) -> tuple[list[Line], list[Gap]]:
    """Carry out retention as a durable act; a sweep that failed before is carried on by this one.

    Raises what stopped it: TransientError (a store is down, locked, full) or TerminalError; what was done until
    then stays done, is noted, and the next sweep goes on.
    """
    sweeper = workflows.kinds["sweep"]
    assert isinstance(sweeper, Sweep)
    sweeper.progress = progress
    lines: list[Line] = []
    refused: list[Gap] = []
    for act in _acts(company):
        with company.state.write() as connection:
            attempt: int = connection.execute(
                update(acts)
                .where(acts.c.id == act)
                .values(attempts=acts.c.attempts + 1)
                .returning(acts.c.attempts)
            ).scalar_one()
        workflows.run("sweep", act, attempt)
        lines += sweeper.lines(act)
        refused += sweeper.refused(act)
    found, gaps = _all(company, company.clock())
    named = {gap.place for gap in refused}
    stuck = [_stuck(company, term) for _, term in found if term.stuck and term.place not in named]
    return lines, list(dict.fromkeys([*gaps, *refused, *(gap for gap in stuck if gap is not None)]))


def _stuck(company: Company, term: Term) -> Gap | None:
    """The rows that are past their limit after a sweep, because a column of theirs can't be emptied."""
    try:
        rows = past(company, term).rows
    except TerminalError as wrong:
        return Gap(term.place, wrong.message)
    why = f"{rows} rows stay past their limit: {' and '.join(term.stuck)} can't be emptied"
    return Gap(term.place, why) if rows else None


def _acts(company: Company) -> Iterator[str]:
    """The sweeps to carry out: those that failed before, and once they are done a new one."""
    yield from _unfinished(company)
    yield _begin(company)


def _unfinished(company: Company) -> list[str]:
    query = select(acts.c.id).where(acts.c.kind == "sweep", acts.c.ended.is_(None)).order_by(acts.c.began)
    with company.state.read() as connection:
        return list(connection.scalars(query))


def _begin(company: Company) -> str:
    act = uuid.uuid4().hex
    with company.state.write() as connection:
        connection.execute(
            insert(acts).values(
                id=act, kind="sweep", policy=company.policy.source.digest, began=company.clock().isoformat()
            )
        )
    return act


class Sweep:
    """The act `sweep`: a step for each promise and table, `scrub S` where a promise destroys, `close`."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.progress: Progress | None = None

    def _found(self, act: str) -> list[tuple[Retention, Term]]:
        """The terms as they were when the act began: a crash doesn't move its cut-offs."""
        with self.company.state.read() as connection:
            began = connection.execute(select(acts.c.began).where(acts.c.id == act)).scalar_one()
        found, _ = _all(self.company, datetime.fromisoformat(began))
        return found

    def steps(self, act: str, leg: int) -> Sequence[str]:
        found = self._found(act)
        destroyed = sorted({term.store for promise, term in found if promise.then == "destroy"})
        names = dict.fromkeys(f"sweep {promise.id} {term.place}" for promise, term in found)
        return [*names, *(f"scrub {store}" for store in destroyed), "close"]

    def step(self, act: str, name: str) -> None:
        verb, _, rest = name.partition(" ")
        match verb:
            case "sweep":
                promise, _, place = rest.partition(" ")
                self._sweep(act, promise, place)
            case "scrub":
                tables = {
                    t.rows.table for p, t in self._found(act) if p.then == "destroy" and t.store == rest
                }
                left = scrub(self.company.stores[rest], sorted(tables))
                if isinstance(left, CannotLook):
                    raise TerminalError(
                        f"what was destroyed is deleted, but nobody can say whether files still hold it: {left.reason}",
                        help="grant it, and run the sweep again",
                        where=rest,
                    )
            case _:
                self._close(act)

    def _sweep(self, act: str, promise_id: str, place: str) -> None:
        """Take what is past in one table; what can't be done of it is noted, and stops nothing else."""
        number = 0
        for promise, term in self._found(act):
            if promise.id == promise_id and term.place == place:
                for expiry in term.expiries():
                    part = f"{promise.id} {place} {number}"
                    number += 1
                    try:
                        self._expire(act, promise, term, expiry, part)
                    except TerminalError as wrong:
                        noted = self.company.state.notes(act).get(part, _line(promise, place))
                        self.company.state.note(act, part, {**noted, "refused": wrong.message})

    def _expire(self, act: str, promise: Retention, term: Term, expiry: Expiry, part: str) -> None:
        """Take window after window; each is noted before it is committed, so that a crash loses no count.

        Only the store knows whether the last window noted was committed, and tells by how many rows are still due:
        the cut-off is that of the act's beginning, so nothing falls due meanwhile.
        """
        company = self.company
        store = company.stores[term.store]
        tally = _Tally(**company.state.notes(act).get(part, _line(promise, term.place)))
        # counted with those who are spared, who may be others by now
        due = overdue(store, replace(expiry, spared=())).rows
        tally.begin(due)
        tally.refused = None

        def note(window: WindowDone) -> None:
            tally.add(window.rows)
            company.state.note(act, part, vars(tally))

        company.state.note(act, part, vars(tally))
        for _ in expire(store, expiry, before_commit=note):
            if self.progress is not None:
                self.progress(term.place, tally.total)
        tally.begin(0)
        company.state.note(act, part, vars(tally))

    def lines(self, act: str) -> list[Line]:
        """What an act has done, by promise and table."""
        rows: dict[tuple[str, str, str], int] = {}
        for noted in self.company.state.notes(act).values():
            key = (str(noted["promise"]), str(noted["place"]), str(noted["then"]))
            rows[key] = rows.get(key, 0) + noted.get("done", 0) + noted.get("pending", 0)
        return [Line(promise, place, then, number) for (promise, place, then), number in rows.items()]

    def refused(self, act: str) -> list[Gap]:
        """What a store refused to do, and why."""
        noted = self.company.state.notes(act).values()
        return [Gap(note["place"], note["refused"]) for note in noted if note.get("refused")]

    def _close(self, act: str) -> None:
        company = self.company
        company.ledger.append_many(
            [
                (
                    f"sweep {act} {line.promise} {line.place}",
                    {
                        "act": "sweep",
                        "sweep": act,
                        "promise": line.promise,
                        "place": line.place,
                        "then": line.then,
                        "rows": line.rows,
                        "policy": company.policy.source.digest,
                    },
                )
                for line in self.lines(act)
                if line.rows
            ]
        )
        with company.state.write() as connection:
            connection.execute(update(acts).where(acts.c.id == act).values(ended=company.clock().isoformat()))


def _line(promise: Retention, place: str) -> dict[str, str]:
    """What a note is about."""
    return {"promise": promise.id, "place": place, "then": str(promise.then or "delete")}


@dataclass
class _Tally:
    """What a note of a sweep holds: rows `done` for certain, and `pending`, the window that may not be committed yet.

    `due` is how many rows were past their limit when the pending window began.
    """

    promise: str
    place: str
    then: str
    done: int = 0
    pending: int = 0
    due: int = 0
    refused: str | None = None

    @property
    def total(self) -> int:
        return self.done + self.pending

    def add(self, rows: int) -> None:
        """A window is about to be committed, so the one before it was."""
        self.due -= self.pending
        self.done, self.pending = self.total, rows

    def begin(self, due: int) -> None:
        """With `due` rows past their limit now: the pending window was committed if that many are fewer."""
        committed = self.pending > 0 and due <= self.due - self.pending
        self.done, self.pending, self.due = self.done + (self.pending if committed else 0), 0, due
