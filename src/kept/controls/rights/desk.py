"""The desk where requests come in: received, validated, planned, carried out, told, closed; and what staff do there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.rights import addresses, again, clocks, correct, letters, life, recipients, register, tasks
from kept.controls.rights.erase import Erase
from kept.controls.rights.instruct import VERBS, given_by, lift, scopes
from kept.controls.rights.outcome import Counted, Plan, Result, result_of
from kept.controls.rights.people import Found, Person, resolve
from kept.controls.rights.places import places, unreached
from kept.controls.rights.register import Event, Request, Subject
from kept.controls.rights.work import Carrier
from kept.errors import KeptError
from kept.laws.clock import Times
from kept.laws.redress import refusals
from kept.mail.outbox import Round
from kept.state.workflows import Act, Workflows
from kept.stores.collect import collect
from kept.stores.own import own_rows

Along = Callable[[Connection], None]
"""What is done in the same transaction; it may raise, and then nothing is done."""

IDENTITY = timedelta(days=30)  # a request whose person never proved who they are lapses then


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

    def plan(self, verb: str, subjects: Sequence[Subject]) -> Plan:
        """A dry run, with exact counts."""
        company = self.company
        clients = {kind: life.client_of(company.policy, kind) for kind in {one.who.kind for one in subjects}}
        passed_on = sorted({client for client in clients.values() if client is not None})
        subjects = [subject for subject in subjects if clients[subject.who.kind] is None]
        people = [subject.who for subject in subjects]
        kinds = list(dict.fromkeys(person.kind for person in people))
        reached = [places(company, kind) for kind in kinds]
        by_hand = [
            f"{store}.{t}" for place in reached for store, names in place.by_hand.items() for t in names
        ]
        on_device = [
            f"{store}.{t}" for place in reached for store, names in place.on_device.items() for t in names
        ]
        missing = unreached(company, kinds)
        if missing:
            return Plan({}, missing, [], by_hand, on_device, passed_on)
        tables: Counted = {}
        erasing = self.carrier.kinds["erase"]
        if verb == "correct":
            for subject in subjects:
                for cell in correct.planned(company, subject).cells:
                    table_ = f"{company.walk(subject.who.kind).store}.{cell.table}"
                    counted = tables.setdefault(table_, {"corrected": 0})
                    counted["corrected"] += 1
        elif verb == "erase" and isinstance(erasing, Erase):
            for kind, counts in erasing.rehearse(people).items():
                store = company.walk(kind).store
                tables |= {f"{store}.{name}": counted for name, counted in counts.as_json().items()}
        else:
            for place in reached:
                if place.walk is None:
                    continue
                keys = [person.key for person in people if person.kind == place.kind]
                for portion in collect(company.stores[place.walk.store], place.walk, keys):
                    counted = tables.setdefault(f"{place.walk.store}.{portion.table}", {"rows": 0})
                    counted["rows"] += len(portion.rows)
        for place in reached:
            for store, columns in place.records.items():
                tables |= {
                    f"{store}.{name}": {"rows": 0} for name in columns if f"{store}.{name}" not in tables
                }
        return Plan(tables, [], [], by_hand, on_device, passed_on)

    def carry_out(
        self,
        verb: str,
        subjects: Sequence[Subject],
        by: str,
        *,
        channel: str = "desk",
        confirmed: bool = False,
    ) -> Result:
        """Receive requests, and carry out those that needn't wait for anybody.

        People with an open request of that verb join it. A failure leaves the requests open, with the reason.
        """
        began = time.monotonic()
        people = [subject.who for subject in subjects]
        known = self.company.pseudonyms.find([str(person) for person in people])
        joined = register.open_of(self.company, verb, people, known)
        fresh = [subject for subject in subjects if subject.who not in joined]
        ids, running = self._receive(verb, fresh, by, channel, confirmed, known=known) if fresh else ([], [])
        met = [one for one in joined.values() if one.awaits == "confirmation" and confirmed]
        for request in met:
            self.met(request, by)
        order = {subject.who: id for subject, id in zip(fresh, ids, strict=True)}
        order |= {person: request.id for person, request in joined.items()}
        wanted = [order[person] for person in people]
        for request in register.of_ids(self.company, [request.id for request in joined.values()]):
            if request.awaits == "work" and request.act is not None:
                running.append((verb, request.act))
        running += self.carrier.gather(verb) if met else []
        problem = self.carrier.run_all(running, wait=True)
        return result_of(self.company, wanted, problem, began)

    def receive(
        self, verb: str, subject: Subject, by: str, *, channel: str, along: Along | None = None
    ) -> Request:
        """Take in one request that came by itself, whoever else may have one open; it waits for whoever works."""
        [id], _ = self._receive(verb, [subject], by, channel, False, along)
        return register.get(self.company, id)

    def _receive(
        self,
        verb: str,
        subjects: Sequence[Subject],
        by: str,
        channel: str,
        confirmed: bool,
        along: Along | None = None,
        known: Mapping[str, str] | None = None,
    ) -> tuple[list[str], list[tuple[str, str]]]:
        """Put requests into the register; answers their ids, and the acts to run."""
        company, policy = self.company, self.company.policy
        now = company.clock()
        pseudonyms = company.pseudonyms.of([str(subject.who) for subject in subjects], known)
        regions = self._regions(subjects)
        waiting: dict[register.Awaits, list[tuple[str, Subject]]] = {}
        ids: list[str] = []
        for subject in subjects:
            if verb in ("object", "withdraw"):
                scopes(policy, verb, subject.who.kind, subject.scope)
            if verb == "correct" and (subject.changes or channel == "desk"):
                correct.split(company, subject)
            missing = clocks.not_offered(policy, verb, regions.get(subject.who))
            if missing is not None:
                raise KeptError(
                    missing, help="write to the person what they can ask for; nothing was received"
                )
            stage = life.first(policy, verb, subject.who.kind, channel=channel, confirmed=confirmed)
            stage = _said(verb, stage, subject)
            ids.append(register.new_id())
            waiting.setdefault(stage, []).append((ids[-1], subject))
        acts: list[tuple[str, str]] = []
        unplanned: list[tuple[str, KeptError]] = []
        with company.state.write() as connection:
            for stage, pairs in waiting.items():
                placed: dict[str, tuple[str | None, int]] = {id: (None, 0) for id, _ in pairs}
                if stage == "work":
                    for group in self.carrier.groups(verb, pairs):
                        legs, wrong = self._plan(verb, [subject.who for _, subject in group])
                        of = [(id, subject.who) for id, subject in group]
                        act, ordered = self.batches.begin(connection, verb, of, legs, by)
                        placed |= {id: (act, position) for position, id in enumerate(ordered)}
                        acts.append((verb, act))
                        if wrong is not None:
                            unplanned.append((act, wrong))
                rows = []
                for id, subject in pairs:
                    region = regions.get(subject.who)
                    identified = None if stage == "identity" else now
                    times = Times(now, identified)
                    law = clocks.law_of(policy, verb, region, times)
                    act_, position = placed[id]
                    rows.append(
                        register.line(
                            company,
                            id,
                            verb,
                            pseudonyms[str(subject.who)],
                            subject,
                            channel=channel,
                            region=region,
                            law=law,
                            received=now,
                            identified=identified,
                            due=clocks.due(policy, verb, law, times),
                            awaits=stage,
                            until=now + IDENTITY if stage == "identity" else None,
                            act=act_,
                            position=position,
                        )
                    )
                register.add(connection, rows)
                if confirmed and stage not in ("client", "confirmation"):
                    register.happen(company, connection, [id for id, _ in pairs], Event(now, "confirmed", by))
                letters.received(company, connection, stage, verb, [(id, subject) for id, subject in pairs])
            if along is not None:
                along(connection)
        for act, wrong in unplanned:
            self.carrier.failed(act, wrong)
        return ids, [(kind, act) for kind, act in acts if act not in {one for one, _ in unplanned}] + [
            (verb, act) for act, _ in unplanned
        ]

    def _plan(self, verb: str, people: Sequence[Person]) -> tuple[list[list[str]], KeptError | None]:
        """The legs; what can't be planned is received all the same: its clock runs, and somebody mends the cause."""
        try:
            return self.carrier.act(verb).plan(people), None
        except KeptError as wrong:
            return [], wrong

    def _regions(self, subjects: Sequence[Subject]) -> dict[Person, str]:
        """Where people are, as their own row says in the policy's words; nothing where no law depends on it."""
        company, found = self.company, {}
        if len(company.policy.laws) < 2 and not any(
            getattr(right, "regions", ()) for right in company.policy.section("rights").values()
        ):
            return {}
        for kind in dict.fromkeys(subject.who.kind for subject in subjects):
            root, walk = company.policy.root(kind), company.map.walk(kind)
            if root is None or root.region is None or walk is None:
                continue
            column = str(root.region)
            keys = [subject.who.key for subject in subjects if subject.who.kind == kind]
            for key, rows in own_rows(company.stores[walk.store], walk, keys, [column]).items():
                value = rows[0][1][column] if rows else None
                if value:
                    found[Person(kind, tuple(map(str, key)))] = str(value).strip().lower()
        return found

    def replay(self, people: Sequence[Person], by: str) -> Result:
        """Erase again people whom a restored backup brought back; nothing waits, and nobody is written to."""
        company, began = self.company, time.monotonic()
        erasing = self.carrier.act("erase")
        assert isinstance(erasing, Erase)
        planned = again.prepare(company, erasing, people)
        with company.state.write() as connection:
            ids, acts = again.begin(company, connection, self.batches, planned, by, "replay")
        problem = self.carrier.run_all([("erase", act) for act in acts], wait=True)
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
        stage = _said(request.verb, life.following(policy, request.verb, request.awaits), subject)
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
        problem = self.carrier.continue_(act, "tasks")
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


def _said(verb: str, stage: register.Awaits, subject: Subject) -> register.Awaits:
    """Where a correction goes that a person put in words of their own: to staff, who know which column they mean."""
    return "answer" if verb == "correct" and stage == "work" and not subject.changes else stage


def _awaited(request: Request) -> str:
    if not request.is_open:
        return f"nothing: it is closed ({request.state})"
    return register.AWAITED[request.awaits] if request.awaits else "nothing"
