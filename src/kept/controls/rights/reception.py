"""Putting requests into the register: whether they are offered, what they wait for, by when they are due."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.rights import clocks, correct, letters, life, register
from kept.controls.rights.instruct import scopes
from kept.controls.rights.people import Person
from kept.controls.rights.register import Event, Request, Subject
from kept.controls.rights.work import Carrier
from kept.errors import KeptError
from kept.laws.clock import Times
from kept.stores.own import own_rows

Along = Callable[[Connection], None]
"""What is done in the same transaction; it may raise, and then nothing is done."""

IDENTITY = timedelta(days=30)  # a request whose person never proved who they are lapses then


@dataclass(frozen=True)
class Received:
    """The request of each person, new or `joined` (open before), and the acts to run."""

    ids: Mapping[Person, str]
    joined: Mapping[Person, Request]
    acts: Sequence[str]


def receive(
    company: Company,
    carrier: Carrier,
    verb: str,
    subjects: Sequence[Subject],
    by: str,
    *,
    channel: str,
    confirmed: bool = False,
    copy_offered: bool = False,
    along: Along | None = None,
    join: bool = False,
) -> Received:
    """Put requests into the register; with `join` people with an open request of that verb get no other."""
    policy, now = company.policy, company.clock()
    subjects = list({subject.who: subject for subject in subjects}.values())
    regions = _regions(company, subjects)
    waiting: dict[register.Awaits, list[tuple[str, Subject]]] = {}
    ids: dict[Person, str] = {}
    for subject in subjects:
        if verb in ("object", "withdraw"):
            scopes(policy, verb, subject.who.kind, subject.scope)
        if verb == "correct" and (subject.changes or channel == "desk"):
            correct.split(company, subject)
        missing = clocks.not_offered(policy, verb, regions.get(subject.who))
        if missing is not None:
            raise KeptError(missing, help="write to the person what they can ask for; nothing was received")
        stage = life.first(policy, verb, subject.who.kind, channel=channel, confirmed=confirmed)
        stage = life.unless_in_words(verb, stage, subject)
        ids[subject.who] = register.new_id()
        waiting.setdefault(stage, []).append((ids[subject.who], subject))
    acts: list[str] = []
    unplanned: list[tuple[str, KeptError]] = []
    joined: dict[Person, Request] = {}
    with company.state.write() as connection:
        if join:
            register.alone(connection)
        known = company.pseudonyms.find([str(who) for who in ids])
        if join:
            joined = register.open_among(connection, verb, {known[str(w)]: w for w in ids if str(w) in known})
        pseudonyms = company.pseudonyms.of([str(who) for who in ids], known, connection=connection)
        ids |= {who: one.id for who, one in joined.items()}
        for stage, all_pairs in waiting.items():
            pairs = [(id, subject) for id, subject in all_pairs if subject.who not in joined]
            if not pairs:
                continue
            placed: dict[str, tuple[str | None, int]] = {id: (None, 0) for id, _ in pairs}
            if stage == "work":
                for group in carrier.groups(verb, pairs):
                    legs, wrong = _plan(carrier, verb, [subject.who for _, subject in group])
                    of = [(id, subject.who) for id, subject in group]
                    act, ordered = carrier.batches.begin(connection, verb, of, legs, by)
                    placed |= {id: (act, position) for position, id in enumerate(ordered)}
                    acts.append(act)
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
        if copy_offered:
            for id in ids.values():
                letters.copy_offered(company, connection, id, by)
        if along is not None:
            along(connection)
    for act, wrong in unplanned:
        carrier.batches.failed(act, wrong)
    return Received(ids, joined, acts)


def _plan(carrier: Carrier, verb: str, people: Sequence[Person]) -> tuple[list[list[str]], KeptError | None]:
    """The legs; what can't be planned is received all the same: its clock runs, and somebody mends the cause."""
    try:
        return carrier.act(verb).plan(people), None
    except KeptError as wrong:
        return [], wrong


def _regions(company: Company, subjects: Sequence[Subject]) -> dict[Person, str]:
    """Where people are, as their own row says in the policy's words; nothing where no law depends on it."""
    found: dict[Person, str] = {}
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
