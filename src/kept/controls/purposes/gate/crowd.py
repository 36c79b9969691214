"""Decisions in arrays: many people and many uses, looked up in a matrix of bits.

    crowd = Gate.of(company).crowd(people)
    crowd.decide(np.array([crowd.number("alerts"), …]), np.array([crowd.index(person), …]))  # → array of bool

It is for uses that nothing but the person decides, and says what `Gate.decide` says of them, but for this: where
somebody is, how old, whether they have left, and the limits of their data are as of loading, until `until`; and what
rests on a guardian's answer is refused, for who is whose guardian only the company's database says.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from kept.company import Company
from kept.controls.choices.deciding import NONE, Basis
from kept.controls.choices.enforce import EVERY, SURE, within
from kept.controls.choices.enforce import Gate as ChoicesGate
from kept.controls.choices.grounds import read
from kept.controls.choices.messages.roster import Texts
from kept.controls.choices.news import _STAMP as STAMP
from kept.controls.choices.records import book, subjects
from kept.controls.purposes.gate.matrix import SORTS, Columns, Places, Rows
from kept.controls.purposes.gate.named import is_one
from kept.controls.purposes.gate.standing import Standing
from kept.controls.purposes.gate.uses import Names, Use
from kept.controls.retention import placed
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError, TransientError
from kept.state.tables import choice_events, instructions
from kept.state.tables import subjects as subjects_table

Asked = tuple[str, Names, str | None]
"""A use as it is asked for: purpose, data (None for all of it) and channel."""

LASTS: Final = timedelta(hours=1)
LOADED: Final = 5000  # people in a page
AT_ONCE: Final = (
    1 << 16
)  # decisions between two looks at what others did; as many as the processor keeps near


class Crowd:
    """Many people, as they stand towards many uses: a row of bits for each sort of people, and each person's row.

    A change counts as it does for the gate: at once in this process, within a second in every other. Where nobody can
    tell, or the time of what was loaded is over, `decide` raises TransientError: an array has no room for doubt.
    For any number of threads.
    """

    def __init__(
        self,
        company: Company,
        choices: ChoicesGate,
        standing: Standing,
        people: Iterable[Person],
        uses: Sequence[Asked] | None = None,
        lasts: timedelta = LASTS,
    ) -> None:
        self.company, self._choices, self._standing = company, choices, standing
        self._uses = _alone(standing, uses)
        self._numbers = {(use.name, use.names, use.channel, use.mixed): n for n, use in enumerate(self._uses)}
        self._columns = Columns(self._uses, standing.uses.width)
        self._held = [n for n, use in enumerate(self._uses) if standing.may_hold(use)]
        self._lock, self._telling, self._catching = threading.Lock(), threading.Lock(), threading.Lock()
        self._changed = set[int]()
        self._of, self._order = np.zeros(0, np.uint32), np.zeros(0, np.uint32)
        self._heads = np.zeros((0, 2), np.uint64)
        self._rows = Rows(len(self._uses))
        self._lapses: list[tuple[float, int]] = []
        self._said: set[int] = set()
        self._ends = time.monotonic() + lasts.total_seconds()
        self.until: datetime = company.clock() + lasts  # decides until then; then it has to be loaded again
        book.listen(company, self)
        self._fresh = float(
            "-inf"
        )  # whatever changes while it is loaded is looked at before the first decision
        self._position, self._stamp = self._upto()
        self._load(people)

    def __len__(self) -> int:
        return len(self._of)

    @property
    def nbytes(self) -> int:
        """What its arrays take, in bytes; the texts of keys come besides, and a number for each who ever answered."""
        return self._rows.nbytes + sum(int(one.nbytes) for one in (self._of, self._heads, self._order))

    def number(self, purpose: str, data: Names = None, channel: str | None = None) -> int:
        """The number of a use, for `decide`; KeptError where it isn't among those that were loaded."""
        use = self._standing.uses.find(purpose, data, channel)
        found = (
            self._numbers.get((use.name, use.names, use.channel, use.mixed)) if isinstance(use, Use) else None
        )
        if found is None:
            raise KeptError("that use is none of this crowd's", help="name it when the crowd is loaded")
        return found

    def index(self, person: Person) -> int:
        """The index of a person, for `decide`; KeptError where they aren't among those that were loaded."""
        for place in self._places([person]):
            return place
        raise KeptError(
            "that person is none of this crowd's", help="load it with everybody it is to decide about"
        )

    def decide(self, uses: Places, whos: Places) -> NDArray[np.bool_]:
        """Whether each use (by `number`) may happen with each person's data (by `index`): two arrays alike in shape.

        KeptError for what is no number or index; TransientError where nobody can tell now.
        """
        uses, whos = _checked(uses, len(self._uses), "uses"), _checked(whos, len(self._of), "whos")
        if uses.shape != whos.shape:
            raise KeptError("uses and whos are arrays of the same shape", help="one use beside each person")
        found = np.empty(uses.size, np.bool_)
        flat, people = uses.reshape(-1), whos.reshape(-1)
        for start in range(0, uses.size, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            with self._lock:
                self._look()
                found[part] = self._rows.bits(self._of[people[part]], flat[part])
        return found.reshape(uses.shape)

    def learn(self, whos: Iterable[Person]) -> None:
        """These people's choices changed: they are looked at again before the next decision."""
        places = set(self._places(whos))
        with self._telling:
            self._changed |= places

    # What others did.

    def _look(self) -> None:
        now = time.monotonic()
        if now >= self._ends:
            raise TransientError("what was loaded is too old to decide by", help="load the crowd again")
        due = self._lapses and self._lapses[0][0] <= now
        if now < self._fresh and not self._changed and not due:
            return
        try:
            within(SURE, self._catch_up)
        except KeptError as wrong:
            raise TransientError(f"nobody can say how choices stand: {wrong.message}") from wrong
        except Exception as wrong:  # whatever it is: whoever asks must hear that nobody can say
            raise TransientError(f"nobody can say how choices stand ({type(wrong).__name__})") from wrong

    def _catch_up(self) -> None:
        with self._catching:  # one after another, though nobody may wait for it any more
            began = time.monotonic()
            with self._telling:
                changed, self._changed = self._changed, set()
            try:
                position, stamp = self._upto()
                if position > self._position:
                    changed |= set(self._answered(self._position))
                if stamp != self._stamp:
                    changed |= self._said | set(self._places(self._instructed())) | self._erased()
                while self._lapses and self._lapses[0][0] <= began:
                    changed.add(heapq.heappop(self._lapses)[1])
                for page in _pages(sorted(changed)):
                    self._read(page, list(self._people(page)))
            except BaseException:
                with self._telling:
                    self._changed |= changed
                raise
            self._position, self._stamp, self._fresh = position, stamp, began + EVERY

    def _upto(self) -> tuple[int, tuple[Any, ...]]:
        """Up to which answer, and a mark that is another one when somebody said something else, or was erased."""
        with self.company.state.read() as connection:
            last = int(connection.scalar(select(func.coalesce(func.max(choice_events.c.number), 0))) or 0)
            return last, tuple(connection.execute(STAMP).one())

    def _answered(self, since: int) -> Iterator[int]:
        query = (
            select(subjects_table.c.person)
            .join(choice_events, choice_events.c.subject == subjects_table.c.number)
            .where(choice_events.c.number > since, subjects_table.c.person.is_not(None))
            .distinct()
        )
        with self.company.state.read() as connection:
            for index in connection.scalars(query).all():
                yield from self._at(bytes(index))

    def _instructed(self) -> list[Person]:
        """Those who said something about the use of their data, or are under a hold."""
        company = self.company
        query = select(instructions.c.who).where(
            instructions.c.ended.is_(None), instructions.c.who.is_not(None)
        )
        with company.state.read() as connection:
            sealed = connection.scalars(query).all()
        people = [
            person_of(company.policy, company.keys.unseal("instruction", one).decode()) for one in sealed
        ]
        return people + [one.person for one in placed.listing(company) if one.person is not None]

    def _erased(self) -> set[int]:
        """Those who had answered something, and no longer stand among those who did."""
        with self.company.state.read() as connection:
            gone = set(
                connection.scalars(select(subjects_table.c.number).where(subjects_table.c.person.is_(None)))
            )
        return {
            place for number in gone & self._subjects.keys() for place in self._at(self._subjects[number])
        }

    # Who they are.

    def _load(self, people: Iterable[Person]) -> None:
        self._texts, heads, rows, start = Texts(), list[bytes](), list[NDArray[np.uint32]](), 0
        for page in _pages(people):
            index = [subjects.index(self.company, who)[:16] for who in page]
            self._texts.add([str(who) for who in page])
            heads.append(b"".join(index))
            rows.append(self._bits(page, range(start, start + len(page))))
            start += len(page)
        self._texts.trim()
        self._of = np.concatenate(rows) if rows else self._of
        both = np.frombuffer(b"".join(heads), ">u8").reshape(-1, 2)
        self._order = np.argsort(both[:, 0], kind="stable").astype(np.uint32)
        self._heads = both[self._order].astype(np.uint64)
        with self.company.state.read() as connection:
            query = select(subjects_table.c.number, subjects_table.c.person).where(
                subjects_table.c.person.is_not(None)
            )
            self._subjects = {
                number: bytes(index)[:16]
                for number, index in connection.execute(query)
                if self._has(bytes(index))
            }

    def _has(self, index: bytes) -> bool:
        return any(True for _ in self._at(index))

    def _at(self, index: bytes) -> Iterator[int]:
        """The places of whoever has an index in the table of subjects."""
        head, tail = int.from_bytes(index[:8]), int.from_bytes(index[8:16])
        at = int(np.searchsorted(self._heads[:, 0], np.uint64(head)))
        while at < len(self._heads) and int(self._heads[at, 0]) == head:
            if int(self._heads[at, 1]) == tail:
                yield int(self._order[at])
            at += 1

    def _places(self, whos: Iterable[Person]) -> Iterator[int]:
        for who in whos:
            if is_one(self.company.policy, who):
                yield from self._at(subjects.index(self.company, who))

    def _people(self, places: Sequence[int]) -> Iterator[Person]:
        return (person_of(self.company.policy, text) for text in self._texts.texts(places))

    # How they stand.

    def _read(self, places: Sequence[int], people: Sequence[Person]) -> None:
        self._of[np.array(places, np.int64)] = self._bits(people, places)
        if len(self._rows) > len(self._of) + SORTS:
            self._of = self._rows.tidy(self._of)

    def _bits(self, people: Sequence[Person], places: Sequence[int]) -> NDArray[np.uint32]:
        """The rows of the matrix for these people, as the databases have them now."""
        policy, now = self.company.policy, time.monotonic()
        bases = read(self.company, [who for who in people if is_one(policy, who)], self._choices.rulings)
        bits: list[int] = []
        for place, who in zip(places, people, strict=True):
            known = bases.get(who)
            if known is None:
                bits.append(0)
                continue
            if known.guards:
                known = Basis(
                    known.events, known.facts, known.said, {}, known.until, known.unplaced, known.answers
                )
                bases[who] = known
            bits.append(self._standing.bits(known, who.kind, NONE))
            if known.until != float("inf"):
                heapq.heappush(self._lapses, (now + known.until, place))
            (self._said.add if known.said else self._said.discard)(place)
        allowed = self._columns.allowed(bits)
        for number in self._held:
            use = self._uses[number]
            for row in map(int, np.flatnonzero(~allowed[:, number])):
                known = bases.get(people[row])
                if known is not None and known.facts.there:
                    allowed[row, number] = self._standing.why_not(use, known, people[row].kind, NONE) is None
        return self._rows.of(allowed)


def _alone(standing: Standing, asked: Sequence[Asked] | None) -> list[Use]:
    """The uses asked for; KeptError for one that is none, or that more than the person decides."""
    if asked is None:
        return [use for use in standing.uses.every() if use.alone]
    found = []
    for purpose, data, channel in asked:
        use = standing.uses.find(purpose, data, channel)
        if not isinstance(use, Use):
            raise KeptError(f"there is no such use: {use.reason}")
        if not use.alone:
            raise KeptError(
                f"`{use.name}` also depends on who asks, in which case, with which evidence or in groups of how many",
                help="ask the gate one by one: decide(…)",
            )
        found.append(use)
    return found


def _pages(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while page := list(islice(rest, LOADED)):
        yield page


def _checked(given: Places, number: int, name: str) -> Places:
    """Whole numbers from 0 to below a number: a negative one would be somebody else's."""
    found = np.asarray(given)
    if not found.size:
        return found.astype(np.int64)
    if found.dtype.kind not in "iu":
        raise KeptError(f"{name} is an array of whole numbers")
    if int(found.min()) < 0 or int(found.max()) >= number:
        raise KeptError(f"{name} has a number that stands for nothing in this crowd")
    return found
