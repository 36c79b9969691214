"""The gate before every use that turns on a choice: may this purpose use this person's data now?

What was decided is kept in memory with what it was decided on, and everything anybody chose since is read again
every quarter of a second: a change counts at once in the process that made it, and in every other within a second,
for nothing is decided on what was read longer ago than that.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, Queue
from typing import Final, TypeVar

from kept.company import Company
from kept.controls.choices.deciding import NONE, Basis, Decision, Rulings
from kept.controls.choices.grounds import read
from kept.controls.choices.news import News
from kept.controls.choices.records import book, subjects
from kept.controls.rights.people import Person
from kept.errors import KeptError, TransientError
from kept.policy.entry import Promise

EVERY: Final = 0.25  # seconds between two looks at what others chose or said
SURE: Final = 1.0  # seconds after which nobody can say how a choice stands, where it can't be looked at
FACTS: Final = 60.0  # seconds that a region or an age is remembered
GUARDS: Final = (
    1.0  # seconds that it is remembered who is whose guardian, which only the company's database says
)
MOST: Final = 100_000  # people remembered

Got = TypeVar("Got")


class Gate:
    """Decides for one company, for any number of threads; make one a process, after any fork."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.rulings = Rulings(company)
        self.news = News(company)
        self._lock = threading.Lock()
        self.known: dict[Person, Basis] = {}  # what is remembered of whom, each until its own time
        self._people: dict[bytes, Person] = {}
        self._reading: list[
            tuple[frozenset[Person], set[Person]]
        ] = []  # who is being read, and whose changed since
        self.fresh = float("-inf")  # until when it needn't be looked at what others did
        self._look: _Look | None = None
        book.listen(company, self)

    @classmethod
    def of(cls, company: Company) -> Gate:
        """The gate of a company, one for as long as it is open."""
        gate = company.memory.get(cls)
        if gate is None:
            gate = company.memory.setdefault(cls, cls(company))
        return gate  # type: ignore[no-any-return]  # what stands under its class

    def may(
        self, who: Person, purpose: str, channel: str | None = None, *, signals: frozenset[str] = NONE
    ) -> Decision:
        """Whether a purpose may use somebody's data now, through a channel where it sends something.

        `signals` are those that come with this use: `gpc` (Sec-GPC: 1), `device` (the switch on the device is off).
        Whatever can't be found out refuses.
        """
        now = time.monotonic()
        known = self.known.get(who)
        if known is not None and now < known.until and now < self.fresh:
            found = known.decided.get((purpose, channel, signals))
            if found is not None:
                self.news.asked += 1
                return found
        return self._one(who, lambda known: self.rulings.decide(known, purpose, channel, signals))

    def may_all(
        self, whos: Sequence[Person], purpose: str, channel: str | None = None
    ) -> dict[Person, Decision]:
        """The same for many."""
        found = self.bases(whos)
        if isinstance(found, Decision):
            return dict.fromkeys(whos, found)
        return {who: self.rulings.decide(found[who], purpose, channel, NONE) for who in whos}

    def basis(self, who: Person) -> Basis | Decision:
        """What decisions about somebody rest on now; a refusal where it can't be found out."""
        if (wrong := self._looked()) is not None:
            return wrong
        known = self.known.get(who)
        if known is None or time.monotonic() >= known.until:
            try:
                known = within(SURE, lambda: self._read([who]))[who]
            except KeptError as error:
                return _unreadable(error)
        self.news.asked += 1
        return known

    def bases(self, whos: Sequence[Person]) -> dict[Person, Basis] | Decision:
        """The same for many: what isn't known of them is read in a few statements, however many they are."""
        if (wrong := self._looked()) is not None:
            return wrong
        now, found = time.monotonic(), dict[Person, Basis]()
        for who in whos:
            known = self.known.get(who)
            if known is not None and now < known.until:
                found[who] = known
        missing = list(dict.fromkeys(who for who in whos if who not in found))
        try:
            found |= self._read(missing) if missing else {}
        except KeptError as error:
            return _unreadable(error)
        self.news.asked += len(whos)
        return found

    def choice(
        self,
        who: Person,
        name: str,
        scope: str = "",
        *,
        signals: frozenset[str] = NONE,
        region: str | None = None,
        entry: Promise | None = None,
    ) -> Decision:
        """Whether one choice stands, whatever it is for; for an `entry`, only as far as it was given for that.

        `region` is where somebody is of whom no record says it, such as a visitor.
        """
        return self._one(
            who,
            lambda known: self.rulings.choice(known, name, scope, signals, region=region, entry=entry),
        )

    def learn(self, whos: Iterable[Person]) -> None:
        """Forget what is known of these people: it has changed."""
        with self._lock:
            for who in whos:
                self.known.pop(who, None)
                for reading, changed in self._reading:
                    if who in reading:
                        changed.add(who)

    def _one(self, who: Person, decide: Callable[[Basis], Decision]) -> Decision:
        known = self.basis(who)
        return known if isinstance(known, Decision) else decide(known)

    # What others chose and said.

    def _looked(self) -> Decision | None:
        """See that what is known is known well enough; why nothing can be decided where it isn't.

        A look goes on beside whoever asks, as long as the last one is young enough to decide by.
        """
        now = time.monotonic()
        if now < self.fresh:
            return None
        with self._lock:
            look = self._look
            if look is None or (look.done.is_set() and now >= self.fresh and now >= look.again):
                look = self._look = _Look(self._catch_up, self.news.report)
        if now - self.fresh <= SURE - EVERY:
            return None
        look.done.wait(max(0.0, look.began + SURE - now))
        if time.monotonic() - self.fresh <= SURE - EVERY:
            return None
        return _unreadable(look.wrong or TransientError("Kept's own database doesn't answer in time"))

    def _catch_up(self) -> None:
        began = time.monotonic()
        changed = self.news.read(idle=not (self.known or self._reading), sure=SURE)
        if changed is None:
            with self._lock:
                self.known.clear()
                for whos, spoilt in self._reading:
                    spoilt |= whos
        else:
            self.learn([self._people[index] for index in changed if index in self._people])
        self.fresh = began + EVERY

    # What decisions rest on.

    def _read(self, whos: Sequence[Person]) -> dict[Person, Basis]:
        """What decisions about these people rest on; remembered unless it changed while it was read."""
        began, changed = time.monotonic(), set[Person]()
        reading = (frozenset(whos), changed)
        indexes = {subjects.index(self.company, who): who for who in whos}
        with self._lock:
            self._reading.append(reading)
            if len(self._people) + len(indexes) > MOST:
                self.known.clear()
                self._people = {subjects.index(self.company, who): who for r, _ in self._reading for who in r}
            self._people |= indexes
        found: dict[Person, Basis] = {}
        try:
            found = read(self.company, whos, self.rulings)
            for known in found.values():
                known.until = began + min(known.until, GUARDS if known.guards else FACTS)
        finally:
            with self._lock:  # at once, so that no change falls between the two
                self._reading = [one for one in self._reading if one is not reading]
                if len(found) <= MOST:
                    self.known |= {who: known for who, known in found.items() if who not in changed}
        return found


class _Look:
    """One look at what others did, in a thread of its own: a database that hangs must hold up nobody who asks."""

    def __init__(self, look: Callable[[], None], report: Callable[[], None]) -> None:
        self.began = time.monotonic()
        self.again = self.began  # when another one may begin
        self.done = threading.Event()
        self.wrong: KeptError | None = None
        threading.Thread(target=self._run, args=(look, report), name="kept-look", daemon=True).start()

    def _run(self, look: Callable[[], None], report: Callable[[], None]) -> None:
        try:
            look()
        except KeptError as wrong:
            self.wrong = wrong
        except Exception as wrong:  # noqa: BLE001  # whatever it is: whoever asks must hear that nobody can say
            self.wrong = TransientError(f"Kept's own database could not be read ({type(wrong).__name__})")
        self.again = time.monotonic() + (EVERY if self.wrong is not None else 0)
        self.done.set()
        if self.wrong is None:
            with contextlib.suppress(KeptError):  # only figures; the next look brings them again
                report()


def within(seconds: float, get: Callable[[], Got]) -> Got:
    """What a call gives, or TransientError after so long: a database may hang as well as fail."""
    got: Queue[tuple[Got | None, BaseException | None]] = Queue()

    def run() -> None:
        try:
            got.put((get(), None))
        except BaseException as wrong:  # noqa: BLE001  # raised where it is waited for
            got.put((None, wrong))

    threading.Thread(target=run, name="kept-read", daemon=True).start()
    try:
        found, wrong = got.get(timeout=seconds)
    except Empty:
        raise TransientError("a database doesn't answer in time") from None
    if wrong is not None:
        raise wrong
    return found  # type: ignore[return-value]  # there is one where nothing went wrong


def _unreadable(wrong: KeptError) -> Decision:
    return Decision(
        False, f"nobody can say how their choices stand: {wrong.message}", unsure=True, rule="unsure"
    )
