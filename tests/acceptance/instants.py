"""Workers killed at random instants while requests come in; looked at between the kills, and at the end."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess

from kept.company import opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights import register
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject
from tests.acceptance import forked
from tests.acceptance.site import Site

VERBS = ("access", "erase", "restrict", "export", "correct", "erase")  # in turn, one for each person
LONGEST = 400.0  # seconds the workers have to finish once nobody kills them any more
Rows = Counter[str]


@dataclass
class Storm:
    """One run: who asked for what, and how each person may look."""

    site: Site
    seed: int
    waits: bool
    asked: dict[int, str] = field(default_factory=dict)
    back: set[int] = field(default_factory=set)  # who changed their mind while they could
    looks: int = 0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.before = self.site.people()
        self.nobody = self.site.impersonal()
        self.users = sorted(user for user in self.before if user < 1_000_000)

    def run(self, kills: int, workers: int) -> None:
        """Kill so many times, ask meanwhile, and hold everything to be true at the end."""
        asking: list[ForkServerProcess] = []
        running = [self._worker() for _ in range(workers)]
        queue = list(self.users[: 2 * kills])
        try:
            with opened(load(self.site.folder / "policy.yaml"), self.site.folder) as company:
                desk = Desk(company, kinds(company))
                for number in range(kills):
                    for user in [queue.pop(0) for _ in range(min(2, len(queue)))]:
                        asking += self._ask(desk, user, number)
                    if self.waits:
                        self._change_minds(desk)
                    time.sleep(self.draw.uniform(0.05, 1.2))
                    victim = running.pop(0)
                    victim.kill()
                    forked.ended(victim)
                    running.append(self._worker())
                    self._look()
                if self.waits:
                    self._end_periods(desk)
                self._finish(desk, running, asking)
        finally:
            for one in (*running, *asking):
                one.kill()
                forked.ended(one)
        self._hold()

    def _worker(self) -> ForkServerProcess:
        return forked.start(self.site.folder, "work", "--watch", "1")

    def _ask(self, desk: Desk, user: int, number: int) -> list[ForkServerProcess]:
        verb = VERBS[len(self.asked) % len(VERBS)]
        self.asked[user] = verb
        changes = (("app.users.first_name", "Corrected"),) if verb == "correct" else ()
        if number % 5 == 0 and verb != "correct":
            return [forked.start(self.site.folder, "request", verb, f"user:{user}", "--by", "tester")]
        subject = Subject(Person("user", (str(user),)), reply=f"p{user}@mail.example", changes=changes)
        desk.carry_out(verb, [subject], "tester", confirmed=True)
        return []

    def _change_minds(self, desk: Desk) -> None:
        """Of those whose rows wait, some come back, and for some the time is over at once."""
        for request in register.listing(desk.company, awaits=("period",)):
            chance = self.draw.random()
            if chance < 0.2 and desk.call_off(request, "tester").problem is None:
                self.back.add(int(request.subject(desk.company).who.key[0]))
            elif chance < 0.4:
                register.change(desk.company, [request.id], until=request.received)

    def _end_periods(self, desk: Desk) -> None:
        for request in register.listing(desk.company, awaits=("period",)):
            register.change(desk.company, [request.id], until=request.received)

    def _finish(self, desk: Desk, running: list[ForkServerProcess], asking: list[ForkServerProcess]) -> None:
        until = time.monotonic() + LONGEST
        while asking:
            code = forked.ended(asking.pop())
            assert code in (0, 1), forked.said(self.site.folder)
        posted = False
        while not posted or register.listing(desk.company):
            posted = self.site.posted()
            assert time.monotonic() < until, self._stuck()
            assert all(one.is_alive() for one in running), forked.said(self.site.folder)
            if self.waits:
                self._end_periods(desk)
            time.sleep(0.5)

    def _stuck(self) -> object:
        return (
            self.site.state("SELECT kind, attempts, retry, problem FROM acts WHERE ended IS NULL"),
            self.site.state("SELECT verb, awaits, until FROM requests WHERE state = 'open'"),
            self.site.state("SELECT state, problem FROM letters WHERE state <> 'sent'"),
        )

    def _may_be(self, user: int) -> list[Rows | None]:
        """How a person may look: as they were, or as what they asked for leaves them."""
        was, verb = self.before[user], self.asked.get(user)
        if verb == "erase":
            return [was, None]
        return [was, self._corrected(was)] if verb == "correct" else [was]

    def _corrected(self, was: Rows) -> Rows:
        found: Rows = Counter()
        for row, count in was.items():
            table, _, values = row.partition(" ")
            cells = (
                list(eval(values)) if table == "users" else []
            )  # a tuple of texts that `Site.people` wrote
            found[f"users {(cells[0], 'Corrected', *cells[2:])}" if cells else row] += count
        return found

    def _look(self) -> None:
        """In one snapshot, everybody is wholly as before or wholly as after."""
        now = self.site.people()
        self.looks += 1
        assert now.keys() <= self.before.keys()
        for user in self.before:
            assert now.get(user) in self._may_be(user), f"half changed: {self.asked.get(user)}"

    def _hold(self) -> None:
        site, now = self.site, self.site.people()
        done = site.state("SELECT id, verb, state, outcome FROM requests")
        assert Counter(verb for _, verb, _, _ in done) == Counter(self.asked.values())
        gone = {user for user, verb in self.asked.items() if verb == "erase"} - self.back
        states = Counter((verb, state) for _, verb, state, _ in done)
        assert states == Counter(
            (verb, "withdrawn" if user in self.back else "done") for user, verb in self.asked.items()
        )
        for user, was in self.before.items():
            expected = self._may_be(user)[-1] if user not in self.back else was
            assert now.get(user) == expected, self.asked.get(user)
        assert site.impersonal() == self.nobody
        self._hold_entries({id: (verb, state) for id, verb, state, _ in done}, gone)
        assert site.answers() == sorted(
            f"{id}.zip" for id, verb, _, _ in done if verb in ("access", "export")
        )
        assert site.left() == {}
        assert site.state("SELECT id FROM acts WHERE ended IS NULL") == []
        assert site.state("SELECT count(*) FROM rooms") + site.state("SELECT count(*) FROM room_keys") == [
            (0,),
            (0,),
        ]
        restricted = [user for user, verb in self.asked.items() if verb == "restrict"]
        assert site.state("SELECT count(*) FROM instructions WHERE ended IS NULL") == [(len(restricted),)]
        twice = "SELECT request, what, count(*) FROM letters GROUP BY request, what HAVING count(*) > 1"
        assert site.state(twice) == []
        twice = "SELECT request, what FROM events GROUP BY request, what HAVING count(*) > 1"
        assert site.state(twice) == []

    def _hold_entries(self, requests: Mapping[str, tuple[str, str]], gone: set[int]) -> None:
        """Each request stands on the ledger once; what batches counted are the rows that went."""
        entries = self.site.entries()
        of_requests = Counter((one["request"], one["act"]) for one in entries if "request" in one)
        assert of_requests == Counter(
            (id, "come back" if state == "withdrawn" else verb) for id, (verb, state) in requests.items()
        )
        deleted: Counter[str] = Counter()
        for one in entries:
            if one["act"] == "erase batch":
                for table, counts in one["counts"].get("app user", {}).items():
                    deleted[table] += counts.get("deleted", 0)
        went: Counter[str] = Counter()
        for user in gone:
            for row, count in self.before[user].items():
                went[row.partition(" ")[0]] += count
        assert +deleted == +went, (json.dumps(deleted), json.dumps(went))


def storm(site: Site, seed: int, *, kills: int, workers: int, waits: bool) -> Storm:
    """Run one; what it did."""
    found = Storm(site, seed, waits)
    found.run(kills, workers)
    return found


def fewest_people(kills: int) -> int:
    """How many people a site needs for so many kills."""
    return 2 * kills + 20
