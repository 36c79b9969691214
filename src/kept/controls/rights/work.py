"""Carries requests on: the acts that are ready, the legs whose time has come, what failed before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from kept.company import Company
from kept.controls.purposes.cases.opening import end_due
from kept.controls.purposes.decisions.carrying import carry_on
from kept.controls.purposes.ends.ending import fall_due
from kept.controls.rights import batches, letters, register, tasks
from kept.controls.rights.acting import Acting
from kept.controls.rights.answers import given
from kept.controls.rights.erasing import again, cleaning
from kept.controls.rights.erasing.erase import Erase
from kept.controls.rights.outcome import Result, result_of
from kept.controls.rights.people import Person
from kept.controls.rights.register import Event, Request, Subject
from kept.controls.rights.warn import warn
from kept.errors import KeptError, TransientError
from kept.state.workflows import Act, Workflows

GATHERED = 500  # requests that one act takes together


class Carrier:
    """The acts of one company; of each, one worker at a time. Without `workflows` nothing is carried out."""

    def __init__(self, company: Company, kinds: Mapping[str, Act], workflows: Workflows | None) -> None:
        self.company = company
        self.kinds = kinds
        self.workflows = workflows
        self.batches = self.act("access").batches

    def act(self, verb: str) -> Acting:
        """How a right is carried out; KeptError for one that no program carries out."""
        act = self.kinds.get(verb)
        if not isinstance(act, Acting):
            raise KeptError(f"`{verb}` is not carried out by a program")
        return act

    def everything(self, *, patient: bool = False) -> Result:
        """Do everything that is due: requests that are ready, periods that are over, what failed before.

        `patient` leaves what failed until its time to be tried again has come, or somebody mended it.
        """
        began, company = time.monotonic(), self.company
        now = company.clock()
        company.ask_again()
        self.batches.forget()
        warn(company)
        end_due(company)
        problems: list[str] = []
        touched: list[str] = []
        for request in register.listing(company, awaits=("identity",)):
            if request.until is not None and request.until <= now:
                self._lapse(request)
        given.expire(company, timedelta(days=letters.ANSWER_DAYS))
        for request in register.listing(company, awaits=("period",)):
            if request.until is not None and request.until <= now and request.act is not None:
                touched.append(request.id)
                problem = self.continue_(request.act, "period")
                problems += [problem] if problem else []
        for act in dict.fromkeys(
            r.act for r in register.listing(company, awaits=("tasks",)) if r.act is not None
        ):
            problem = self.continue_(act, "tasks")
            problems += [problem] if problem else []
        erasing = self.act("erase")
        assert isinstance(erasing, Erase)
        problem = again.holds_that_ended(company, erasing)
        problems += [problem] if problem else []
        ended = fall_due(company, self.workflows) if self.workflows is not None else []
        problems += [outcome.problem for outcome in ended if outcome.problem is not None]
        problems += carry_on(company, self.workflows) if self.workflows is not None else []
        ready = register.listing(company, awaits=("work", "clean"))
        touched += [request.id for request in ready]
        running = batches.unfinished(company, now if patient else None)
        for verb in dict.fromkeys(request.verb for request in ready if request.act is None):
            running += self.gather(verb)
        told = [self._run(verb, act, wait=False) for verb, act in dict.fromkeys(running)]
        problems += [problem for problem in told if problem is not None]
        problems += self.clean(wait=False).values()
        return result_of(company, list(dict.fromkeys(touched)), "\n".join(problems) or None, began)

    def gather(self, verb: str) -> list[tuple[str, str]]:
        """Make acts of the requests that are ready and have none; of each, one worker makes one."""
        company = self.company
        acts: list[tuple[str, str]] = []
        while True:
            with company.state.write() as connection:
                ready = register.ready(connection, verb, GATHERED)
                for group in (
                    self.groups(verb, [(one.id, one.subject(company)) for one in ready]) if ready else ()
                ):
                    of = [(id, subject.who) for id, subject in group]
                    act, ordered = self.batches.begin(connection, verb, of, [], "kept")
                    register.place(connection, act, ordered)
                    acts.append((verb, act))
            if len(ready) < GATHERED:
                return acts

    def clean(self, *, wait: bool) -> dict[str, str]:
        """Make clean, and close, whatever erasures await it; why some can't be closed, by act."""
        if self.workflows is None:
            return {}
        return {
            act: str(wrong) for act, wrong in cleaning.clean(self.company, self.batches, wait=wait).items()
        }

    def to_the_end(self, verb: str, acts: Iterable[str], deleted: Iterable[str] = ()) -> str | None:
        """Carry out acts of one verb, other workers' part awaited; of `deleted` only the files are to be made clean."""
        running = dict.fromkeys(acts)
        told = [self._run(verb, act, wait=True) for act in running]
        if verb == "erase" and (running or deleted):
            wrong = self.clean(wait=True)
            told += [wrong.get(act) for act in (*running, *deleted)]
        return "\n".join(problem for problem in told if problem is not None) or None

    def _run(self, verb: str, act: str, *, wait: bool) -> str | None:
        """Carry out the leg of an act that is under way; what went wrong. Another worker's is waited for, or left."""
        if self.workflows is None:
            return None
        with self.company.state.claim(act, wait=wait) as mine:
            if not mine:
                return "another worker is still at it" if wait else None
            if self.company.state.is_server:  # somebody else may have been at it
                self.batches.forget(act)
                if self.batches.detail(act) is None or not register.is_at_work(self.company, act):
                    return None
            return self.carry_on(verb, act, None)

    def carry_on(self, verb: str, act: str, attempt: int | None) -> str | None:
        if self.workflows is None:
            return None
        try:
            detail = self.batches.must(act)
            if not detail.legs:
                detail.legs = self.act(verb).plan(detail.persons())
                self.batches.remember(act)
            if attempt is None:
                attempt = self.batches.next_attempt(act)
            self.workflows.run(verb, act, attempt, detail.leg)
        except KeptError as wrong:
            if isinstance(wrong, TransientError) or not (halves := self.batches.halves(act)):
                self.batches.failed(act, wrong)
                return str(wrong)
            told = [self._run(verb, half, wait=True) for half in halves]
            return "\n".join(dict.fromkeys(one for one in told if one is not None)) or None
        return None

    def _lapse(self, request: Request) -> None:
        company = self.company
        with company.state.write() as connection:
            register.happen(company, connection, [request.id], Event(company.clock(), "lapsed"))
            register.close(company, connection, {request.id: {"why": "never identified"}}, "lapsed")

    def continue_(self, act: str, awaited: register.Awaits) -> str | None:
        """Go on with an act when what it awaited is there: its tasks are done, its time is over."""
        with self.company.state.claim(act, wait=False) as mine:
            found = register.of_act(self.company, act) if mine else []
            now = self.company.clock()
            if not any(one.awaits == awaited and (one.until is None or one.until <= now) for one in found):
                return None
            if awaited == "tasks" and tasks.listing(self.company, act=act):
                return None
            self.batches.forget(act)
            attempt = self.batches.go_on(act)
            return self.carry_on(found[0].verb, act, attempt)

    def groups(
        self, verb: str, pairs: Sequence[tuple[str, Subject]]
    ) -> Sequence[Sequence[tuple[str, Subject]]]:
        """Requests by the acts that carry them out."""
        of: dict[Person, list[tuple[str, Subject]]] = {}
        for id, subject in pairs:
            of.setdefault(subject.who, []).append((id, subject))
        people = [subject.who for _, subject in pairs]
        return [[of[who].pop(0) for who in group] for group in self.act(verb).apart(people)]
