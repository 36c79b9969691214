"""Everybody who may be written to, held in memory: a question about ten million people costs a few bitmaps.

It says of everybody what `Gate.may` says of each, as of the last `refresh`; `audience` reads the databases instead.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from pyroaring import BitMap
from sqlalchemy import Connection, func, select

from kept.company import Company
from kept.controls.choices import whom
from kept.controls.choices.deciding import Basis, Decision, Plan, Rulings
from kept.controls.choices.declare import Choice
from kept.controls.choices.grounds import learn, read, unplaced
from kept.controls.choices.messages.audience import owners
from kept.controls.choices.messages.roster import NOBODY, PAGE, Roster, roster
from kept.controls.choices.records import lapses, marks, subjects
from kept.controls.choices.records.answers import WITH, reaches
from kept.controls.choices.records.checked import scopes
from kept.controls.choices.records.forgetting import FORGOTTEN
from kept.controls.choices.records.history import Event, event_of
from kept.controls.choices.records.marks import NO, Mark, mark_of
from kept.controls.retention import placed
from kept.controls.rights.instruct import refusal
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError
from kept.policy.entry import Promise
from kept.state.tables import choice_events, instructions, notes, verifications
from kept.state.tables import subjects as subjects_table


class Audience:
    """Everybody of a kind, held in memory: who may be written to is a few operations on bitmaps.

    Bitmaps are of places in the roster. The roster (who is there, where, of which kinds) is as of `load`, and read anew
    on the first `refresh` of a day; answers and instructions are as of the last `refresh`.
    """

    def __init__(self, company: Company, kind: str) -> None:
        self.company, self.kind = company, kind
        self.rulings = Rulings(company)
        self._load()

    @classmethod
    def load(cls, company: Company, kind: str) -> Audience:
        """Read everybody of a root kind, once; KeptError where no database lists them."""
        if unplaced(company, kind):
            raise KeptError(f"people of kind `{kind}` can't be listed: no database of the company's has them")
        return cls(company, kind)

    def of(self, purpose: str, channel: str | None = None) -> BitMap:
        """The places of everybody whose data a purpose may use, through a channel, as of the last `refresh`."""
        plan = self.rulings.plan(purpose, channel)
        if isinstance(plan, Decision):
            raise KeptError(plan.reason)
        kinds = owners(self.company, plan).get(self.kind, frozenset())
        found = BitMap()
        for kind in kinds:
            found |= self._everybody if kind == self.kind else self._roster.certain[kind] & self._everybody
        for permission in self.rulings.permissions:
            found &= self._stands(permission, "", None) | (self._everybody - self._concerned(permission))
        for choice, scope in plan.needs:
            found &= self._stands(choice, scope, plan.entry)
        for choice, scope in plan.unless:
            found -= self._forbidding(choice, scope)
        if not plan.leavers:
            found -= self._roster.ended
        for said, places in self._said.items():
            if refusal(self.company.policy, plan.name, said) is not None:
                found -= places
        return found

    def people(self, places: BitMap) -> Iterator[Person]:
        """Those at these places."""
        return self._roster.people(self.company, places.to_array())

    def refresh(self) -> int:
        """Take in what was chosen and said since; how many answers that counted."""
        if self._today() != self._day:
            self._load()
        self._forget()
        events = self._events()
        objecting, forbids = BitMap(), {name for name, _ in self._forbids}
        for event in events:
            place = self._place_of(event.subject)
            if place is not None:
                if event.choice in forbids:
                    objecting.add(place)
                if event.took:
                    self._remark(event, place)
        self._object(objecting)
        self._settle()
        return sum(event.took for event in events)

    # What is held.

    def _load(self) -> None:
        company = self.company
        self._day: date = self._today()
        self._at = {name: place for place, name in enumerate(self.rulings.choices)}
        self._roster: Roster = roster(
            company,
            self.kind,
            lambda region: tuple(
                self.rulings.is_silent(choice, region) for choice in self.rulings.choices.values()
            ),
        )
        self._everybody = self._roster.everybody
        self._places = _places(company, self._roster)
        self._silent: dict[frozenset[tuple[bool, ...]], BitMap] = {}
        self._compared: dict[tuple[str, str], tuple[BitMap, BitMap]] = {}
        self._forbids = {
            (str(choice.name), scope): (choice, scope)
            for plan in self._plans()
            for choice, scope in plan.unless
        }
        self._objecting = {key: BitMap() for key in self._forbids}
        with company.state.read() as connection:
            # before the marks, so that nothing is missed: to take an answer in twice changes nothing
            self._position = int(connection.scalar(select(func.max(choice_events.c.number))) or 0)
            self._marks = {mark: self._translated(bits) for mark, bits in marks.read(connection).items()}
            aged = select(verifications.c.subject).where(
                verifications.c.what == whom.AGE, verifications.c.by == whom.OWN
            )
            grown = self._translated(connection.scalars(aged))
            self._erased = _erased(connection)
            self._last_erased = connection.scalar(_LAST_ERASED)
            yeses = select(choice_events.c.subject).where(
                choice_events.c.choice.in_({name for name, _ in self._forbids}),
                choice_events.c.answer == "yes",
            )
            objecting = self._translated(connection.scalars(yeses.distinct())) if self._forbids else BitMap()
        for kind in whom.young(company.policy) & self._roster.kinds.keys():
            self._roster.kinds[kind] -= grown - self._roster.certain[kind]
        self._object(objecting)
        self._settle()

    def _plans(self) -> Iterator[Plan]:
        for entry in self.company.policy.section("purposes").values():
            for channel in (None, *map(str, getattr(entry, "sends", ()))):
                plan = self.rulings.plan(str(entry.name), channel)
                if isinstance(plan, Plan):
                    yield plan

    def _today(self) -> date:
        return self.company.clock().astimezone(self.company.policy.timezone).date()

    def _translated(self, numbers: Iterable[int]) -> BitMap:
        """Subjects by their places; those of other kinds, and those who are nobody any more, left out."""
        places, last = self._places, len(self._places)
        given = numbers.to_array() if isinstance(numbers, BitMap) else numbers
        found = BitMap(array("I", (places[number] for number in given if number < last)))
        found.discard(NOBODY)
        return found

    def _place_of(self, number: int) -> int | None:
        if number < len(self._places):
            place = self._places[number]
            return None if place == NOBODY else place
        with self.company.state.read() as connection:  # somebody answered for the first time
            row = connection.execute(
                select(subjects_table).where(subjects_table.c.number == number)
            ).one_or_none()
        found = None
        if row is not None and row.who is not None and row.kind == self.kind:
            found = self._roster.place(
                person_of(self.company.policy, self.company.keys.unseal("subject", row.who).decode())
            )
        self._places.extend([NOBODY] * (number + 1 - len(self._places)))
        self._places[number] = NOBODY if found is None else found
        return found

    def _events(self) -> list[Event]:
        query = select(choice_events).where(choice_events.c.number > self._position)
        with self.company.state.read() as connection:
            events = [event_of(row) for row in connection.execute(query.order_by(choice_events.c.number))]
        self._position = events[-1].number if events else self._position
        return events

    def _object(self, places: BitMap) -> None:
        """See which of these forbid something by their newest answer (`Rulings.objection`)."""
        if not places:
            return
        at = self._at_places(places)
        for who, basis in self._bases(list(at)):
            for key, (choice, scope) in self._forbids.items():
                if self.rulings.objection(basis, choice, scope) is not None:
                    self._objecting[key].add(at[who])
                else:
                    self._objecting[key].discard(at[who])

    def _forget(self) -> None:
        """Let go of what those said who were erased since, and of those who aren't there any more."""
        with self.company.state.read() as connection:
            last = connection.scalar(_LAST_ERASED)
            if last == self._last_erased:
                return
            erased = _erased(connection)
        self._last_erased = last
        gone = self._translated(erased - self._erased)
        self._erased = erased
        for number in erased:
            if number < len(self._places):
                self._places[number] = NOBODY
        checked = (bits for pair in self._compared.values() for bits in pair)
        for bits in (*self._marks.values(), *self._objecting.values(), *checked):
            bits -= gone
        at = self._at_places(gone)
        for who, basis in self._bases(list(at)):
            if not basis.facts.there:
                self._everybody.discard(at[who])

    def _at_places(self, places: BitMap) -> dict[Person, int]:
        """Those at these places, each with theirs."""
        given = places.to_array()
        return dict(zip(self._roster.people(self.company, given), given, strict=True))

    def _remark(self, event: Event, place: int) -> None:
        for (choice, _), pair in self._compared.items():
            if choice == event.choice:
                for bits in pair:
                    bits.discard(place)
        for mark, places in self._marks.items():
            if (mark.choice, mark.scope) == (event.choice, event.scope):
                places.discard(place)
        if (mark_ := mark_of(event)) is not None:
            self._marks.setdefault(mark_, BitMap()).add(place)

    def _settle(self) -> None:
        """What changes without an event: yeses that lapse, instructions, guardians; and meanings not read yet."""
        company = self.company
        with company.state.read() as connection:
            learn(connection, self.rulings, (mark.meaning for mark in self._marks if mark.meaning != NO))
            over = lapses.unrecorded(company, connection, company.clock())
        self._over: dict[tuple[str, str], BitMap] = {}
        for event in over:
            place = self._place_of(event.subject)
            if place is not None:
                self._over.setdefault((event.choice, event.scope), BitMap()).add(place)
        self._said = self._instructed()
        self._guarded = {
            (name, scope): self._still_guarded(choice, scope)
            for name, choice in self.rulings.choices.items()
            if choice.by
            for scope in dict.fromkeys(("", *scopes(company, choice)))
        }

    def _instructed(self) -> dict[tuple[tuple[str, str], ...], BitMap]:
        """The places of those who said something about the use of their data, by what they said."""
        company = self.company
        query = select(instructions.c.who).where(
            instructions.c.ended.is_(None), instructions.c.who.is_not(None)
        )
        with company.state.read() as connection:
            sealed = connection.scalars(query).all()
        named = {company.keys.unseal("instruction", one).decode() for one in sealed}
        people = [person_of(company.policy, who) for who in sorted(named)]
        people += [one.person for one in placed.listing(company) if one.person is not None]
        found: dict[tuple[tuple[str, str], ...], BitMap] = {}
        for who, basis in self._bases([who for who in dict.fromkeys(people) if who.kind == self.kind]):
            place = self._roster.place(who)
            if place is not None and basis.said:
                found.setdefault(tuple(sorted(basis.said)), BitMap()).add(place)
        return found

    def _still_guarded(self, choice: Choice, scope: str) -> BitMap:
        """Those for whom whoever answered a choice may still do so."""
        given = self._concerned(choice) & BitMap.union(
            BitMap(), *(bits for mark, bits in self._marks.items() if mark.choice == choice.name)
        )
        at = self._at_places(given)
        guarded = self.rulings.is_guarded
        return BitMap(at[who] for who, basis in self._bases(list(at)) if guarded(basis, choice, scope))

    def _bases(self, people: Sequence[Person]) -> Iterator[tuple[Person, Basis]]:
        for start in range(0, len(people), PAGE):
            yield from read(self.company, people[start : start + PAGE], self.rulings).items()

    # What follows from it.

    def _concerned(self, choice: Choice) -> BitMap:
        found = BitMap()
        for kind in self.rulings.kinds(choice):
            found |= self._everybody if kind == self.kind else self._roster.kinds.get(kind, BitMap())
        return found

    def _stands(self, choice: Choice, scope: str, entry: Promise | None) -> BitMap:
        """Those for whom a choice allows what waits for it (`Rulings._stands`)."""
        name = str(choice.name)
        covered = self._yes(name, scope, entry)
        silent = self._silent_for(choice)
        found = (silent | covered) - self._against(name, scope)
        found &= self._concerned(choice)
        if choice.by:
            found &= self._guarded.get((name, scope), BitMap())
        for party in choice.with_party:
            found &= self._yes(name, f"{WITH}{party}", None)
        return found

    def _forbidding(self, choice: Choice, scope: str) -> BitMap:
        """Those whom a choice forbids something (`unless`): by their newest answer, or their silence."""
        name = str(choice.name)
        silent = (self._silent_for(choice) & self._concerned(choice)) - self._against(name, scope)
        return self._objecting[name, scope] | silent

    def _yes(self, choice: str, scope: str, entry: Promise | None) -> BitMap:
        """Those with a yes on record that hasn't lapsed, and covers what a promise is about."""
        covered = BitMap()
        for mark, places in self._marks.items():
            if (mark.choice, mark.scope) != (choice, scope) or mark.meaning == NO:
                continue
            if entry is None or self.rulings.covers(mark.meaning, entry):
                covered |= places
        return covered - self._over.get((choice, scope), BitMap())

    def _against(self, choice: str, scope: str) -> BitMap:
        """Those with a no in force, also one from when the policy asked otherwise (`deciding.in_force`)."""
        elsewhere, today = BitMap(), self.rulings.scopes[choice]
        for mark, places in self._marks.items():
            if mark.choice == choice and mark.meaning == NO and reaches(mark.scope, scope, today):
                elsewhere |= places
        here = self._marks.get(Mark(choice, scope, NO), BitMap())
        both = elsewhere & self._yes(choice, scope, None)
        return here | (elsewhere - both) | self._outdated(choice, scope, both)

    def _outdated(self, choice: str, scope: str, places: BitMap) -> BitMap:
        """Of those with a yes that stands and a no from elsewhere: whose no is the newer one. Looked up once."""
        if not places:
            return places
        checked, found = self._compared.setdefault((choice, scope), (BitMap(), BitMap()))
        at = self._at_places(places - checked)
        for who, basis in self._bases(list(at)):
            event = self.rulings.in_force(basis, self.rulings.choices[choice], scope)
            if event is not None and event.is_against:
                found.add(at[who])
        checked |= places
        return found & places

    def _silent_for(self, choice: Choice) -> BitMap:
        """Those whose silence is taken for a yes, by their region."""
        at = self._at[str(choice.name)]
        areas = frozenset(area for area in self._roster.areas if area[at])
        found = self._silent.get(areas)
        if found is None:
            found = BitMap.union(BitMap(), *(self._roster.areas[area] for area in areas))
            self._silent[areas] = found
        return found


_LAST_ERASED = select(notes.c.counts).where(notes.c.act == FORGOTTEN)


def _erased(connection: Connection) -> BitMap:
    """The numbers of those who are nobody any more."""
    return BitMap(
        connection.scalars(select(subjects_table.c.number).where(subjects_table.c.person.is_(None)))
    )


def _places(company: Company, held: Roster) -> array[int]:
    """By the number of each subject, their place in the roster; NOBODY for others.

    The index of each person is looked for among those of the subjects, by the first 12 bytes: SHA-256, so that two of
    10,000,000 share them with a chance of one in 10 to the 15.
    """
    numbers, heads, tails = array("I"), array("Q"), array("I")
    query = select(subjects_table.c.number, subjects_table.c.person).where(
        subjects_table.c.person.is_not(None)
    )
    with company.state.read() as connection:
        rows = connection.execution_options(yield_per=50_000).execute(query.order_by(subjects_table.c.person))
        for part in rows.partitions():
            for number, person in part:
                numbers.append(number)
                heads.append(int.from_bytes(person[:8]))
                tails.append(int.from_bytes(person[8:12]))
    found = array("I", [NOBODY]) * (max(numbers, default=0) + 1)
    for place, who in enumerate(held.people(company, range(len(held.keys)))):
        index = subjects.index(company, who)
        head = int.from_bytes(index[:8])
        at = bisect_left(heads, head)
        while at < len(heads) and heads[at] == head:
            if tails[at] == int.from_bytes(index[8:12]):
                found[numbers[at]] = place
                break
            at += 1
    return found
