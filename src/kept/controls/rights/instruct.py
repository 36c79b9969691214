"""What people say about the use of their data: restrict, object, withdraw, no decision by a machine alone.

An instruction is no ticket: from the moment it is given every use of the data has to meet it (`refusal`), until the
person, or for a restriction the company after telling them (GDPR Art. 18(3)), lifts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select, update

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.records import book
from kept.controls.purposes.declare import Purpose
from kept.controls.retention import placed
from kept.controls.rights import recipients, register
from kept.controls.rights.acting import Acting, Legs
from kept.controls.rights.life import right_of
from kept.controls.rights.people import Person, must_be_there, person_of
from kept.errors import KeptError
from kept.policy.policy import Policy
from kept.state.database import insert
from kept.state.tables import instructions

VERBS = ("restrict", "object", "withdraw", "human-decision")
EVERY_USE = "*"
HOLD = "hold"

RESTRICTED_EXCEPT = ("consent", "legal-claims", "vital-interest", "legal-duty")
"""Grounds on which restricted data may be used: those of GDPR Art. 18(2), and what another law demands."""


class Instruct(Acting):
    """The acts `restrict`, `object`, `withdraw`, `human-decision`: `instruct`, `tell` whom it concerns, `close`."""

    def __init__(self, *given: object, verb: str) -> None:
        super().__init__(*given)  # type: ignore[arg-type]  # a company and its batches
        self.verb = verb

    def plan(self, people: Sequence[Person]) -> Legs:
        for kind in dict.fromkeys(person.kind for person in people):
            keys = [person.key for person in people if person.kind == kind]
            if self.company.map.walk(kind) is not None:
                must_be_there(self.company, kind, keys)
        kinds = dict.fromkeys(person.kind for person in people)
        tells = self.verb in recipients.VERBS
        if tells and any(recipients.unwritable(self.company, kind, ()) for kind in kinds):
            return [["instruct", "tell", "tasks"], ["close"]]
        told = tells and any(recipients.recipients(self.company.policy, kind, ()) for kind in kinds)
        return [["instruct", *(["tell"] if told else []), "close"]]

    def do(self, act: str, word: str, rest: str) -> None:
        detail = self.batches.must(act)
        match word:
            case "instruct":
                self._instruct(act)
            case "tell":
                recipients.tell_all(self.company, act, self.verb, detail, {}, lambda kind: ())
            case "tasks":
                self.batches.wait(act, "tasks")
            case _:
                self._close(act)

    def _instruct(self, act: str) -> None:
        company, detail = self.company, self.batches.must(act)
        now = company.clock().isoformat()
        requests = {request.id: request for request in register.of_act(company, act)}
        rows = [
            {
                "pseudonym": requests[id].pseudonym,
                "verb": self.verb,
                "scope": scope,
                "who": company.keys.seal("instruction", str(person).encode()),
                "since": now,
                "ended": None,
                "request": id,
            }
            for id, person in zip(detail.requests, detail.persons(), strict=True)
            for scope in scopes(company.policy, self.verb, person.kind, requests[id].subject(company).scope)
        ]
        detail.traces["scopes"] = sorted({str(row["scope"]) for row in rows})
        with company.state.write() as connection:
            statement = insert(connection, instructions)
            again = {name: statement.excluded[name] for name in ("who", "ended", "request")}
            if rows:
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["pseudonym", "verb", "scope"], set_=again
                    ),
                    rows,
                )
        book.tell(company, detail.persons())
        if self.verb == "withdraw":
            whos = dict(zip(detail.requests, detail.persons(), strict=True))
            said = [(str(row["request"]), str(row["scope"])) for row in rows]
            book.record(
                company,
                [book.New(whos[id], scope, "no", "request", record=id) for id, scope in said],
            )
        self.batches.remember(act)

    def _close(self, act: str) -> None:
        company, detail = self.company, self.batches.must(act)
        pseudonyms = {request.id: request.pseudonym for request in register.of_act(company, act)}
        company.ledger.append_many(
            [
                (
                    f"{self.verb} {request}",
                    {
                        "act": self.verb,
                        "request": request,
                        "person": pseudonyms[request],
                        "policy": company.policy.source.digest,
                        "scopes": detail.traces["scopes"],
                    },
                )
                for request in detail.requests
            ]
        )
        outcome = {"scopes": detail.traces["scopes"]}
        self.close(act, dict.fromkeys(detail.requests, outcome))


def scopes(policy: Policy, verb: str, kind: str, asked: Sequence[str]) -> tuple[str, ...]:
    """What an instruction is about: every use, the purposes objected to, the choices withdrawn.

    Without a word of the person's, an objection is to every purpose that rests on a legitimate interest or a public
    task (GDPR Art. 21(1)) and to those the policy always stops (`always`); a withdrawal is of every choice of theirs.
    KeptError for a name that is none of these.
    """
    if verb in ("restrict", "human-decision"):
        return (EVERY_USE,)
    purposes = policy.section("purposes")
    if verb == "object":
        right = right_of(policy, verb)
        open_to = [
            name
            for name, purpose in purposes.items()
            if isinstance(purpose, Purpose)
            and {"legitimate-interest", "public-task"} & set(purpose.ground.values())
        ]
        known = list(dict.fromkeys([*map(str, right.always if right else ()), *map(str, open_to)]))
    else:
        known = [
            str(name)
            for name, choice in policy.section("choices").items()
            if isinstance(choice, Choice)
            and any(policy.related(kind, policy.kind_of(str(who)) or "") for who in choice.of)
        ]
    unknown = [name for name in asked if name not in known]
    if unknown:
        what = "a purpose one can object to" if verb == "object" else "a choice of these people"
        raise KeptError(f"`{unknown[0]}` is not {what}", help="known: " + (", ".join(known) or "none"))
    return tuple(asked) if asked else tuple(known)


def in_force(company: Company, people: Sequence[Person]) -> dict[Person, list[tuple[str, str]]]:
    """What each of these people has said and not taken back: (verb, scope).

    Among it what is held of them, said by somebody else: ("hold", the purpose and the names of the data).
    """
    pseudonyms = company.pseudonyms.find([str(person) for person in people])
    by_pseudonym = {pseudonyms[str(person)]: person for person in people if str(person) in pseudonyms}
    found: dict[Person, list[tuple[str, str]]] = {}
    given = list(by_pseudonym)
    with company.state.read() as connection:
        for start in range(0, len(given), register.CHUNK):
            query = select(instructions.c.pseudonym, instructions.c.verb, instructions.c.scope).where(
                instructions.c.pseudonym.in_(given[start : start + register.CHUNK]),
                instructions.c.ended.is_(None),
            )
            for pseudonym, verb, scope in connection.execute(query):
                found.setdefault(by_pseudonym[pseudonym], []).append((verb, scope))
    for person, on in placed.of(company, people).items():
        found.setdefault(person, []).extend((HOLD, " ".join((one.purpose, *one.data))) for one in on)
    return found


def refusal(policy: Policy, purpose: str, said: Sequence[tuple[str, str]]) -> str | None:
    """Why a purpose may not use somebody's data, given what they said; None where nothing they said forbids it."""
    entry = policy.section("purposes").get(purpose)
    if not isinstance(entry, Purpose):
        return f"no purpose `{purpose}` is declared"
    grounds = {str(ground) for ground in entry.ground.values()}
    for verb, scope in said:
        if verb == "restrict" and not grounds <= set(RESTRICTED_EXCEPT):
            return "the person had the use of their data restricted (GDPR Art. 18(2))"
        if verb == "object" and scope == purpose:
            return "the person objected to this use (GDPR Art. 21)"
        if verb == "withdraw" and scope in map(str, entry.choice):
            return f"the person withdrew `{scope}` (GDPR Art. 7(3))"
    holding: dict[str, set[str]] = {}
    for held_for, *data in (scope.split() for verb, scope in said if verb == HOLD):
        for name in data:
            holding.setdefault(name, set()).add(held_for)
    for name in entry.uses:
        if purpose not in holding.get(str(name), {purpose}):
            held_for = " and ".join(f"`{one}`" for one in sorted(holding[str(name)]))
            return f"`{name}` is held for {held_for}, and for nothing else (GDPR Art. 17(3))"
    return None


def restricted(company: Company) -> dict[str, list[tuple[str, ...]]]:
    """The keys of everybody whose data may only be stored now, by kind."""
    query = select(instructions.c.who).where(
        instructions.c.verb == "restrict", instructions.c.ended.is_(None), instructions.c.who.is_not(None)
    )
    found: dict[str, list[tuple[str, ...]]] = {}
    with company.state.read() as connection:
        for sealed in connection.scalars(query):
            person = person_of(company.policy, company.keys.unseal("instruction", sealed).decode())
            found.setdefault(person.kind, []).append(person.key)
    return found


def given_by(company: Company, request: str) -> list[Person]:
    """Whose instructions a request gave, as far as they are in force."""
    query = select(instructions.c.who).where(
        instructions.c.request == request, instructions.c.ended.is_(None), instructions.c.who.is_not(None)
    )
    with company.state.read() as connection:
        sealed = connection.scalars(query).all()
    whos = dict.fromkeys(company.keys.unseal("instruction", one).decode() for one in sealed)
    return [person_of(company.policy, who) for who in whos]


def lift(company: Company, request: str, by: str) -> int:
    """Instructions given by a request are no longer in force; how many there were."""
    now = company.clock().isoformat()
    with company.state.write() as connection:
        lifted = connection.execute(
            update(instructions)
            .where(instructions.c.request == request, instructions.c.ended.is_(None))
            .values(ended=now, who=None)
        ).rowcount
    if lifted:
        company.ledger.append_many([(f"lift {request}", {"act": "lift", "request": request, "by": by})])
    return lifted


def standing(company: Company, verb: str) -> Mapping[str, int]:
    """How many people have an instruction in force, by scope."""
    query = (
        select(instructions.c.scope, func.count())
        .where(instructions.c.verb == verb, instructions.c.ended.is_(None))
        .group_by(instructions.c.scope)
    )
    with company.state.read() as connection:
        return dict(connection.execute(query).all())
