"""The desk where requests come in: received, validated, planned, carried out, told, closed; and what staff do there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kept.company import Company
from kept.controls.rights import addresses, clocks, letters, life, recipients, register, tasks
from kept.controls.rights.batches import problems
from kept.controls.rights.erasing import again
from kept.controls.rights.erasing.erase import Erase
from kept.controls.rights.instruct import VERBS, given_by, lift
from kept.controls.rights.outcome import Result, result_of
from kept.controls.rights.people import Found, Person, resolve
from kept.controls.rights.reception import Along, receive
from kept.controls.rights.register import Event, Request, Subject
from kept.controls.rights.work import Carrier
from kept.errors import KeptError
from kept.laws.clock import Times
from kept.laws.redress import refusals
from kept.mail.outbox import Round
from kept.state.workflows import Act, Workflows


class Desk:
    """Requests of one company. What is asked of it is durable when it returns.

    Without `workflows` nothing is carried out here: what is received or decided waits for whoever works (`work`).
    """

    def __init__(
        self, company: Company, kinds: Mapping[str, Act], workflows: Workflows | None = None
    ) -> None:
        self.company = company
        self.carrier = Carrier(company, kinds, workflows)
        self.batches = self.carrier.batches

    @classmethod
    def at_work(cls, company: Company, workflows: Workflows) -> Desk:
        """A desk that carries out what it can at once."""
        return cls(company, workflows.kinds, workflows)

    # Coming in.

    def find(self, verb: str, whos: Sequence[str]) -> Found:
        """The people that WHOs name; one whose rows are gone already is found while their request is open."""
        found = resolve(self.company, whos)
        waiting = register.open_of(self.company, verb, [person for _, person in found.gone])
        back = {place for place, person in found.gone if person in waiting}
        people = dict.fromkeys((*found.people, *(person for _, person in found.gone if person in waiting)))
        return Found(tuple(people), tuple((place, why) for place, why in found.wrong if place not in back))

    def carry_out(
        self,
        verb: str,
        subjects: Sequence[Subject],
        by: str,
        *,
        channel: str = "desk",
        confirmed: bool = False,
        copy_offered: bool = False,
    ) -> Result:
        """Receive requests, and carry out those that needn't wait for anybody.

        People with an open request of that verb join it. A failure leaves the requests open, with the reason. `by`
        validated them with the people (`confirmed`), and offered a copy before (`copy_offered`).
        """
        began = time.monotonic()
        self.company.ask_again()
        received = receive(
            self.company,
            self.carrier,
            verb,
            subjects,
            by,
            channel=channel,
            confirmed=confirmed,
            copy_offered=copy_offered,
            join=True,
        )
        joined = received.joined.values()
        met = [one for one in joined if one.awaits == "confirmation" and confirmed]
        for request in met:
            self.met(request, by)
        running = [*received.acts, *(one.act for one in joined if one.awaits == "work" and one.act)]
        running += [act for _, act in self.carrier.gather(verb)] if met else []
        deleted = [one.act for one in joined if one.awaits == "clean" and one.act]
        problem = self.carrier.to_the_end(verb, running, deleted)
        ids = [received.ids[subject.who] for subject in subjects]
        result = result_of(self.company, ids, problem, began)
        if (
            problem is None and not result.done
        ):  # another worker, or a part of an act that was parted, met with one
            stuck = problems(self.company)
            told = dict.fromkeys(stuck[one.act] for one in result.requests if one.act in stuck)
            result = replace(result, problem="\n".join(told) or None)
        return result

    def receive(
        self, verb: str, subject: Subject, by: str, *, channel: str, along: Along | None = None
    ) -> Request:
        """Take in one request that came by itself, whoever else may have one open; it waits for whoever works."""
        received = receive(self.company, self.carrier, verb, [subject], by, channel=channel, along=along)
        return register.get(self.company, received.ids[subject.who])

    def replay(self, people: Sequence[Person], by: str) -> Result:
        """Erase again people whom a restored backup brought back; nothing waits, and nobody is written to."""
        company, began = self.company, time.monotonic()
        erasing = self.carrier.act("erase")
        assert isinstance(erasing, Erase)
        planned = again.prepare(company, erasing, people)
        with company.state.write() as connection:
            ids, acts = again.begin(company, connection, self.batches, planned, by, "replay")
        problem = self.carrier.to_the_end("erase", acts)
        return result_of(self.company, ids, problem, began)

    # What staff and the person do.

    def met(
        self, request: Request, who: str | None, words: str | None = None, *, along: Along | None = None
    ) -> Request:
        """What a request awaited is there: the link was followed, staff confirmed or approved. It goes on."""
        if not request.is_open or request.awaits not in ("identity", "confirmation", "approval"):
            raise KeptError(f"this request awaits {_awaited(request)}", where=request.id)
        policy, now = self.company.policy, self.company.clock()
        values: dict[str, object] = {}
        if request.awaits == "identity":
            values["identified"] = now
            times = Times(request.received, now)
            values["due"] = clocks.due(policy, request.verb, request.law, times)
        subject = request.subject(self.company)
        stage = life.unless_in_words(
            request.verb, life.following(policy, request.verb, request.awaits), subject
        )
        what = {"identity": "identified", "confirmation": "confirmed", "approval": "approved"}[request.awaits]
        with self.company.state.write() as connection:
            if along is not None:
                along(connection)
            register.write(connection, [request.id], **values, awaits=stage, until=None)
            register.happen(self.company, connection, [request.id], Event(now, what, who, words))
            if what == "identified":
                letters.received(self.company, connection, stage, request.verb, [(request.id, subject)])
        return register.get(self.company, request.id)

    def extend(self, request: Request, why: str, who: str) -> Request:
        """More time, with reasons told inside the first period (GDPR Art. 12(3))."""
        history = register.history(self.company, request.id)
        times, now = clocks.times_of(request, history), self.company.clock()
        refused = clocks.may_extend(self.company.policy, request.verb, request.law, times, now, why)
        if refused is not None:
            raise KeptError(f"it can't be extended: {refused}", where=request.id)
        longer = Times(times.received, times.identified, times.pauses, now)
        due = clocks.due(self.company.policy, request.verb, request.law, longer)
        self._tell(request, letters.extended, Event(now, "extended", who, why), extended=now, due=due)
        return register.get(self.company, request.id)

    def ask(self, request: Request, question: str, who: str) -> Request:
        """Ask the person what they mean; under UK law the clock stands still meanwhile."""
        self._must_be_open(request)
        if request.act is not None:
            raise KeptError("it is being carried out already", where=request.id)
        if request.awaits == "client":
            raise KeptError("it is the client's to answer, and theirs to ask", where=request.id)
        event = Event(self.company.clock(), "asked", who, question)
        times = clocks.times_of(request, [*register.history(self.company, request.id), event])
        due = clocks.due(self.company.policy, request.verb, request.law, times)
        self._tell(request, letters.asked, event, awaits="clarification", due=due)
        return register.get(self.company, request.id)

    def heard(self, request: Request, words: str, who: str) -> Request:
        """The person has said what they mean; the request goes on where it stopped."""
        if request.awaits != "clarification":
            raise KeptError(f"this request awaits {_awaited(request)}", where=request.id)
        history = register.history(self.company, request.id)
        event = Event(self.company.clock(), "heard", who, words)
        times = clocks.times_of(request, [*history, event])
        met = {event.what for event in history}
        stage: register.Awaits | None = "identity" if request.identified is not None else None
        stage = "confirmation" if "confirmed" in met else stage
        stage = "approval" if "approved" in met else stage
        register.change(
            self.company,
            [request.id],
            event,
            awaits=life.following(self.company.policy, request.verb, stage),
            due=clocks.due(self.company.policy, request.verb, request.law, times),
        )
        return register.get(self.company, request.id)

    def refuse(self, request: Request, reason: str, who: str, words: str | None = None) -> Request:
        """Refuse, with a reason the law accepts; the person is told it, and where to complain (GDPR Art. 12(4))."""
        self._must_be_open(request)
        if request.act is not None:
            raise KeptError(
                "it is being carried out already, and can't be refused any more", where=request.id
            )
        laws = [request.law] if request.law else list(self.company.policy.laws)
        known = {one.id: one for law in laws for one in refusals(law, request.verb)}
        if reason not in known:
            raise KeptError(
                f"`{reason}` is no reason to refuse `{request.verb}`",
                help="known: " + ", ".join(sorted(known)),
            )
        company = self.company
        event = Event(company.clock(), "refused", who, words)
        outcome = {"reason": reason, "article": known[reason].article, "says": known[reason].says}
        with company.state.write() as connection:
            letters.refused(company, connection, request, outcome, words)
            register.happen(company, connection, [request.id], event)
            register.close(company, connection, {request.id: outcome}, "refused")
        entry = {
            "act": "refuse",
            "request": request.id,
            "person": request.pseudonym,
            "reason": reason,
            "by": who,
        }
        company.ledger.append_many([(f"refuse {request.id}", entry)])
        return register.get(company, request.id)

    def answer(self, request: Request, words: str, who: str) -> Request:
        """Close what only a person can answer: a complaint, a request that a client answered."""
        if not request.is_open or request.awaits not in ("answer", "client"):
            raise KeptError(f"this request awaits {_awaited(request)}", where=request.id)
        company = self.company
        event = Event(company.clock(), "answered", who, words)
        with company.state.write() as connection:
            letters.answered(company, connection, request, words)
            register.happen(company, connection, [request.id], event)
            register.close(company, connection, {request.id: {"answered": True}})
        entry = {"act": request.verb, "request": request.id, "person": request.pseudonym, "by": who}
        company.ledger.append_many([(f"answer {request.id}", entry)])
        return register.get(company, request.id)

    def call_off(self, request: Request, who: str | None) -> Result:
        """The person changed their mind: what hasn't begun ends; what waits in a room comes back."""
        self._must_be_open(request)
        began = time.monotonic()
        if request.act is None:
            company = self.company
            with company.state.write() as connection:
                register.happen(company, connection, [request.id], Event(company.clock(), "withdrawn", who))
                register.close(company, connection, {request.id: {}}, "withdrawn")
            return result_of(self.company, [request.id], None, began)
        if request.awaits != "period":
            raise KeptError(
                "it is being carried out already, and can't be called off any more", where=request.id
            )
        company, event = self.company, Event(self.company.clock(), "came-back", who)
        with self.company.state.claim(request.act, wait=True) as mine:
            now_awaits = register.get(self.company, request.id).awaits
            if not mine or now_awaits != "period":
                raise KeptError(
                    "it is being carried out already, and can't be called off any more", where=request.id
                )
            self.batches.forget(request.act)
            attempt = self.batches.go_on(
                request.act,
                [["return"]],
                # at once with the turn: whoever asks again after a crash is noted once
                write=lambda connection: register.happen(company, connection, [request.id], event),
            )
            problem = self.carrier.carry_on(request.verb, request.act, attempt)
        return result_of(self.company, [request.id], problem, began)

    def lift(self, request: Request, why: str, who: str) -> int:
        """Instructions given by a request are no longer in force; the person is told before (GDPR Art. 18(3))."""
        if request.verb not in VERBS:
            raise KeptError(f"`{request.verb}` gave no instruction that could be lifted", where=request.id)
        company = self.company
        people = given_by(company, request.id)
        known = addresses.of(company, people) if company.can_write else {}
        with company.state.write() as connection:
            for address in known.values():
                letters.lifted(company, connection, request, address, why)
            if people:
                register.happen(company, connection, [request.id], Event(company.clock(), "lifted", who, why))
        return lift(company, request.id, who)

    def task_done(self, id: str, who: str) -> Result:
        """A task is done; when it was the last of its act, the act goes on."""
        began = time.monotonic()
        act, place = tasks.do(self.company, id, who)
        ids = [request.id for request in register.of_act(self.company, act)]
        ids = ids or [request.id for request in register.of_ids(self.company, [act])]  # passed on by hand
        register.change(self.company, ids, Event(self.company.clock(), "by-hand", who))
        recipients.told_by_hand(self.company, ids, place)
        problem = self.carrier.continue_(act, "tasks") or self.carrier.clean(wait=True).get(act)
        return result_of(self.company, ids, problem, began)

    def post(self) -> Round | None:
        """Send the letters that wait; None where the company has no mail server."""
        if not self.company.can_write:
            return None
        with self.company.post() as server:
            return self.company.outbox.send(server)

    def work(self, *, patient: bool = False) -> Result:
        """Do everything that is due (`Carrier.everything`)."""
        return self.carrier.everything(patient=patient)

    def _tell(self, request: Request, letter: letters.LetterWriter, event: Event, **values: object) -> None:
        """Change an open request, note why, and write to the person, all or nothing."""
        self._must_be_open(request)
        company = self.company
        with company.state.write() as connection:
            register.write(connection, [request.id], **values)
            register.happen(company, connection, [request.id], event)
            letter(company, connection, request, event.words or "")

    def _must_be_open(self, request: Request) -> None:
        if not request.is_open:
            raise KeptError(f"this request is closed: {request.state}", where=request.id)


def _awaited(request: Request) -> str:
    if not request.is_open:
        return f"nothing: it is closed ({request.state})"
    return register.AWAITED[request.awaits] if request.awaits else "nothing"
