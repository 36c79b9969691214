"""Carries out the purposes that set somebody's end: by a decision, or upon an event; each on record, each told.

The change stands in the company's database and its record in Kept's own, so whom it is about to end is noted before
the company's database commits. Only that database knows whether it did, and is asked after a crash.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import insert, select, update

from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.ends import endings, told
from kept.controls.purposes.ends.endings import Ends
from kept.controls.rights import register, tasks
from kept.controls.rights.people import Person
from kept.controls.rights.register import Event
from kept.errors import KeptError
from kept.mail.letter import checked
from kept.state.tables import acts
from kept.state.workflows import Workflows
from kept.stores import ended
from kept.stores.ending import Ended, Hindrance

KIND: Final = "end"
STEPS: Final = ("set", "record", "tell", "close")
LETTER: Final = "ended"


@dataclass(frozen=True)
class Decision:
    """Somebody in a role (one of the purpose's `by`) decides that people end; `by` is the name of a member of staff,
    or of whoever enters it for the person, `decider` the person themselves where the role is the end of a link.
    """

    purpose: str
    whos: tuple[Person, ...]
    role: str
    by: str
    decider: Person | None = None
    why: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What was done for one purpose: how many people ended, letters put into the outbox, people staff has to tell."""

    purpose: str
    people: int = 0
    letters: int = 0
    by_hand: int = 0
    problem: str | None = None


@dataclass
class Detail:
    """What an act has to know to go on after a crash: sealed while it is open, destroyed when it is closed.

    `whos` are the keys decided about, None for everybody whose end has come; `people` those whose end is set, with
    their addresses, or was about to be until `settled`.
    """

    purpose: str
    role: str | None = None
    by: str | None = None
    decider: tuple[str, str] | None = None
    why: str | None = None
    whos: list[list[str]] | None = None
    letters: bool = False
    people: list[tuple[list[str], str | None]] = field(default_factory=list)
    settled: bool = False


def hindrances(company: Company, decision: Decision) -> dict[Person, Hindrance]:
    """Why somebody's end can't be set by a decision; KeptError where it is no decision the policy allows."""
    found = _decided(company, decision)
    purpose = found.purpose
    if "reason" in purpose.needs and not (decision.why or "").strip():
        raise KeptError(f"`{purpose.name}` needs a reason", help="give it with --why; the person is told it")
    strangers = [who for who in decision.whos if not company.policy.related(who.kind, found.kind)]
    if strangers:
        raise KeptError(f"`{purpose.name}` is about people of kind `{found.of}`", where="WHO")
    keys = [who.key for who in decision.whos]
    wrong = ended.hindrances(company.stores[found.store], found.ending, company.clock(), keys)
    return {who: wrong[who.key] for who in decision.whos if who.key in wrong}


def decide(company: Company, workflows: Workflows, decision: Decision) -> Outcome:
    """Carry out a decision, as a durable act; whoever is hindered is left as they are."""
    company.agree()
    hindrances(company, decision)
    decider = decision.decider
    detail = Detail(
        decision.purpose,
        decision.role,
        decision.by,
        (decider.kind, decider.key[0]) if decider is not None else None,
        decision.why,
        [list(who.key) for who in decision.whos],
        company.can_write,
    )
    act = _begin(company, detail)
    return _run(company, workflows, act) or _outcome(company, act, decision.purpose)


def fall_due(company: Company, workflows: Workflows, purpose: Purpose | None = None) -> list[Outcome]:
    """Go on with what was cut off, then end everybody whose end has come by itself, of one purpose or of each.

    What can't be done is said in the outcome's `problem`, and stops nothing else.
    """
    found = [
        done
        for act in _unfinished(company)
        if (done := _run(company, workflows, act, wait=False)) is not None
    ]
    chosen = [purpose] if purpose is not None else endings.purposes(company.policy)
    for one in chosen:
        if one.upon is None:
            continue
        try:
            company.agree()
            people = waiting(company, one)
        except KeptError as wrong:
            found.append(Outcome(str(one.name), problem=str(wrong)))
            continue
        if people:
            act = _begin(company, Detail(str(one.name), letters=company.can_write))
            found.append(_run(company, workflows, act) or _outcome(company, act, str(one.name)))
    return found


def waiting(company: Company, purpose: Purpose) -> int:
    """How many people's end has come by itself and isn't set yet."""
    found = endings.come(company, endings.ends(company, purpose), company.clock())
    return ended.due(company.stores[found.store], found.ending, company.clock())


def _decided(company: Company, decision: Decision) -> Ends:
    purpose = endings.purpose_named(company.policy, decision.purpose)
    return endings.decided_by(company, endings.ends(company, purpose), decision.role, decision.decider)


def _begin(company: Company, detail: Detail) -> str:
    act = uuid.uuid4().hex
    with company.state.write() as connection:
        connection.execute(
            insert(acts).values(
                id=act,
                kind=KIND,
                policy=company.policy.source.digest,
                began=company.clock().replace(microsecond=0).isoformat(),
                detail=_sealed(company, detail),
            )
        )
    return act


def unfinished(company: Company) -> list[tuple[datetime, Detail]]:
    """What acts that are not over were about to do, or have done in part, and since when."""
    found = [(_began(company, act), _detail(company, act)) for act in _unfinished(company)]
    return [(began, detail) for began, detail in found if detail is not None]


def _unfinished(company: Company) -> list[str]:
    query = select(acts.c.id).where(acts.c.kind == KIND, acts.c.ended.is_(None)).order_by(acts.c.began)
    with company.state.read() as connection:
        return list(connection.scalars(query))


def _run(company: Company, workflows: Workflows, act: str, *, wait: bool = True) -> Outcome | None:
    """Carry out an act; what went wrong is noted, and it is tried again whenever somebody works.

    None for one that another worker is at, or has closed meanwhile.
    """
    with company.state.claim(act, wait=wait) as mine:
        detail = _detail(company, act) if mine else None
        if detail is None:
            return None
        with company.state.write() as connection:
            again = update(acts).where(acts.c.id == act).values(attempts=acts.c.attempts + 1)
            attempt: int = connection.execute(again.returning(acts.c.attempts)).scalar_one()
        try:
            workflows.run(KIND, act, attempt)
        except KeptError as wrong:
            with company.state.write() as connection:
                failed = update(acts).where(acts.c.id == act)
                connection.execute(failed.values(problem=wrong.message[:2000]))
            return Outcome(detail.purpose, problem=str(wrong))
        return _outcome(company, act, detail.purpose)


def _outcome(company: Company, act: str, purpose: str) -> Outcome:
    """What was noted when the act was closed, by whichever worker."""
    noted = company.state.notes(act).get(purpose)
    if noted is None:
        return Outcome(purpose, problem="another worker is at it, and isn't done yet")
    return Outcome(purpose, noted["people"], noted["letters"], noted["by_hand"])


class End:
    """The act `end`: `set` the end, `record` it on the ledger, `tell` the people, `close`."""

    def __init__(self, company: Company) -> None:
        self.company = company

    def steps(self, act: str, leg: int) -> Sequence[str]:
        return STEPS if _detail(self.company, act) is not None else ()

    def step(self, act: str, name: str) -> None:
        detail = _detail(self.company, act)
        if detail is None:
            return
        match name:
            case "set":
                self._set(act, detail)
            case "record":
                self._record(act, detail)
            case "tell":
                self._tell(act, detail)
            case _:
                self._close(act, detail)

    def _ends(self, act: str, detail: Detail) -> Ends:
        found = endings.ends(self.company, endings.purpose_named(self.company.policy, detail.purpose))
        if detail.whos is None:
            return endings.come(self.company, found, self._at(act))
        decider = Person(detail.decider[0], (detail.decider[1],)) if detail.decider is not None else None
        return endings.decided_by(self.company, found, str(detail.role), decider)

    def _at(self, act: str) -> datetime:
        """The moment of the end: that of the act's beginning, so that a crash doesn't move it."""
        return _began(self.company, act)

    def _set(self, act: str, detail: Detail) -> None:
        """Set the end; whom it is for is noted before it is committed, and settled once it is."""
        if detail.settled:
            return
        company, found = self.company, self._ends(act, detail)

        def note(done: list[Ended]) -> None:
            detail.people = [(list(one.key), one.address) for one in done]
            _remember(company, act, detail)

        ended.end(
            company.stores[found.store],
            found.ending,
            self._at(act),
            note,
            whos=[tuple(who) for who in detail.whos] if detail.whos is not None else None,
            noted=[tuple(key) for key, _ in detail.people],
        )
        detail.settled = True
        _remember(company, act, detail)

    def _people(self, detail: Detail) -> list[tuple[str, str | None]]:
        """Everybody whose end was set, written as a person, with their address."""
        purpose = endings.purpose_named(self.company.policy, detail.purpose)
        kind = str(endings.ends(self.company, purpose).kind)
        return [(str(Person(kind, tuple(key))), address) for key, address in detail.people]

    def _record(self, act: str, detail: Detail) -> None:
        company, people = self.company, self._people(detail)
        purpose = endings.purpose_named(company.policy, detail.purpose)
        pseudonyms = company.pseudonyms.of([who for who, _ in people])
        entry: dict[str, Any] = {
            "act": KIND,
            "end": act,
            "purpose": str(purpose.name),
            "sets": str(purpose.sets[0]),
            "policy": company.policy.source.digest,
        }
        if detail.role is None:
            entry["upon"] = str(purpose.upon)
        else:
            entry["as"] = detail.role
        if detail.decider is not None:
            decider = str(Person(detail.decider[0], (detail.decider[1],)))
            entry["by"] = company.pseudonyms.of([decider])[decider]
        elif self._by_staff(detail):
            entry["by"] = detail.by
        company.ledger.append_many(
            [(f"end {act} {pseudonyms[who]}", {**entry, "person": pseudonyms[who]}) for who, _ in people]
        )

    def _by_staff(self, detail: Detail) -> bool:
        return detail.role is not None and self.company.policy.is_staff(detail.role)

    def _tell(self, act: str, detail: Detail) -> None:
        """Write to everybody; whom no letter can reach, a member of staff tells."""
        company, found = self.company, self._ends(act, detail)
        if not found.tells:
            return
        at = self._at(act)
        written, by_hand = _reached(self._people(detail), detail)
        for start in range(0, len(written), register.CHUNK):
            with company.state.write() as connection:
                for who, address in written[start : start + register.CHUNK]:
                    made = told.letter(company, found.purpose, found.of, detail.role, at, address, detail.why)
                    company.outbox.put(LETTER, made, act, id=_letter(act, who), connection=connection)
        if by_hand:
            what = f"tell that their account ended on {at:%Y-%m-%d} (`{detail.purpose}`)"
            tasks.give(company, act, "a letter", by_hand, what, company.clock() + tasks.USUAL)

    def _close(self, act: str, detail: Detail) -> None:
        company, now = self.company, self.company.clock()
        purpose = endings.purpose_named(company.policy, detail.purpose)
        written, by_hand = _reached(self._people(detail), detail) if purpose.tells else ([], [])
        counts = {"people": len(detail.people), "letters": len(written), "by_hand": len(by_hand)}
        company.state.note(act, detail.purpose, counts)
        with company.state.write() as connection:
            if detail.people:
                by = detail.by if self._by_staff(detail) else None
                register.happen(company, connection, [act], Event(now, "ended", by, detail.why))
            closed = update(acts).where(acts.c.id == act)
            connection.execute(closed.values(ended=now.isoformat(), detail=None, problem=None))


def _reached(
    people: Sequence[tuple[str, str | None]], detail: Detail
) -> tuple[list[tuple[str, str]], list[str]]:
    """Whom a letter reaches, with their addresses, and whom it doesn't: no address that is one, or no mail server."""
    written = [(who, address) for who, address in people if address and detail.letters and _can_be(address)]
    reached = {who for who, _ in written}
    return written, [who for who, _ in people if who not in reached]


def _can_be(address: str) -> bool:
    try:
        checked(address, "an address on record")
    except KeptError:
        return False
    return True


def _letter(act: str, who: str) -> str:
    """The id of the letter to a person about an act: the same however often it is put into the outbox."""
    return sha256(f"{act} {who}".encode()).hexdigest()[:40]


def _began(company: Company, act: str) -> datetime:
    with company.state.read() as connection:
        began = connection.execute(select(acts.c.began).where(acts.c.id == act)).scalar_one()
    return datetime.fromisoformat(began).astimezone(UTC)


def _detail(company: Company, act: str) -> Detail | None:
    """What an open act remembers; None when it is closed."""
    with company.state.read() as connection:
        sealed = connection.execute(select(acts.c.detail).where(acts.c.id == act)).scalar()
    if sealed is None:
        return None
    found = Detail(**json.loads(company.keys.unseal(KIND, sealed)))
    found.decider = (found.decider[0], found.decider[1]) if found.decider is not None else None
    found.people = [(list(key), address) for key, address in found.people]
    return found


def _remember(company: Company, act: str, detail: Detail) -> None:
    with company.state.write() as connection:
        connection.execute(update(acts).where(acts.c.id == act).values(detail=_sealed(company, detail)))


def _sealed(company: Company, detail: Detail) -> bytes:
    return company.keys.seal(KIND, json.dumps(asdict(detail)).encode())
