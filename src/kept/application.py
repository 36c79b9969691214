"""Kept inside a company's own application: asked before a use, told what somebody chose, shown what a form brought.

    import kept

    with kept.opened("privacy") as privacy:      # the folder with policy.yaml; once for a process, after any fork
        if privacy.may("user:17", "alerts", "email").allowed:
            ...
        if privacy.decide("analyse-error", "usage", person="user:17", by="engineer:4", case="error:81").allowed:
            ...

Whoever is named `user:17` is taken by kind and key, without a question to any database; another word is looked for as
an identifier, such as an e-mail address. Every method may be called from any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from kept import company as companies
from kept.company import Company
from kept.controls.choices.asking import visitor_kind
from kept.controls.choices.deciding import NONE, Decision
from kept.controls.choices.enforce import Gate
from kept.controls.choices.messages import audience, leave, preferences, sending
from kept.controls.choices.records import book, merge, notices
from kept.controls.choices.records.book import New, Recorded, Refused
from kept.controls.choices.whom import is_in_database
from kept.controls.collection import enforce as collection
from kept.controls.collection.enforce import Collected
from kept.controls.disclosure import enforce as disclosing
from kept.controls.disclosure.enforce import Disclosed
from kept.controls.disclosure.visibility import seen
from kept.controls.purposes.cases import looks
from kept.controls.purposes.cases.looks import Look
from kept.controls.purposes.enforce import NO_EVIDENCE
from kept.controls.purposes.enforce import Gate as UsesGate
from kept.controls.purposes.gate.persons import Condition
from kept.controls.purposes.groups import asked
from kept.controls.purposes.groups.asked import Answer
from kept.controls.purposes.groups.question import Question
from kept.controls.registry import load
from kept.controls.rights.people import Person, person_of, resolve
from kept.controls.security.passwords import Passwords
from kept.controls.security.sealing.sealer import Sealer
from kept.errors import KeptError

VISITOR: Final = re.compile("[0-9a-f]{32}")
NAMED: Final = 20_000  # names that were read before


@contextmanager
def opened(folder: Path | str) -> Iterator[Application]:
    """Kept for the company in a folder, until the block ends; KeptError where its policy can't be read."""
    where = Path(folder)
    with companies.opened(load(where / "policy.yaml"), where) as found:
        yield Application(found)


class Application:
    """One company's promises, as its application meets them."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self._gate = Gate.of(company)
        self._uses = UsesGate.of(company)
        self._visitors = visitor_kind(company.policy)
        self._named: dict[str, Person] = {}

    def person(self, who: str) -> Person:
        """Somebody by `kind:key`, or by an identifier that leads to one person; KeptError where it doesn't."""
        named = self.named(who)
        if named is not None:
            return named
        found = resolve(self.company, [who])
        if not found.people:
            raise KeptError(found.wrong[0][1], where="WHO")
        return found.people[0]

    def named(self, who: str) -> Person | None:
        """Somebody by `kind:key`, without a question to any database; None for what isn't written so, or has a key of
        several columns."""
        found = self._named.get(who)
        if found is None:
            kind, colon, _ = who.partition(":")
            root = self.company.policy.root(kind) if colon else None
            if root is None or len(root.key_columns) > 1:
                return None
            found = self._fit(Person(str(root.name), person_of(self.company.policy, who).key))
            if len(self._named) >= NAMED:
                self._named = {}
            self._named[who] = found
        return found

    def visitor(self, id: str) -> Person:
        """Who only browses, by the random id that the banner gave them, 32 hexadecimal digits; KeptError for another
        word, and where the policy has no visitors."""
        if self._visitors is None:
            raise KeptError(
                "the policy knows no visitors", help="declare a kind without `known-by`, in the browser"
            )
        return self._fit(Person(self._visitors, (id,)))

    def may(
        self, who: str | Person, purpose: str, channel: str | None = None, *, signals: frozenset[str] = NONE
    ) -> Decision:
        """Whether a purpose may use somebody's data now; `signals` as they come with this use: `gpc`, `device`."""
        return self._gate.may(self._one(who), purpose, channel, signals=signals)

    def decide(
        self,
        purpose: str,
        data: str | Iterable[str] | None = None,
        *,
        person: str | Person | None = None,
        by: str | None = None,
        case: str | None = None,
        group: int | None = None,
        channel: str | None = None,
        signals: frozenset[str] = NONE,
        evidence: Mapping[str, str] = NO_EVIDENCE,
    ) -> Decision:
        """Whether a purpose may use data now, and of it which columns, and how: as is, masked, aggregated.

        `data` is a name, several, or None for all of the purpose's; `by` who asks, as `ROLE:KEY` (`engineer:4`);
        `case` their reason (`error:81`); `group` how many people it is about where nobody is named; `evidence` the
        words for what the purpose `needs`. What the policy doesn't declare is refused, and what nobody can tell.
        KeptError where `person` names nobody, or several.
        """
        who = self._one(person) if person is not None else None
        names = data if data is None or isinstance(data, str) else tuple(data)
        return self._uses.decide(
            purpose,
            names,
            person=who,
            by=by,
            case=case,
            group=group,
            channel=channel,
            signals=signals,
            evidence=evidence,
        )

    def decide_all(
        self,
        purpose: str,
        whos: Iterable[str | Person],
        data: str | Iterable[str] | None = None,
        *,
        channel: str | None = None,
    ) -> dict[Person, Decision]:
        """The same about many people, in a few statements for all of them, for a use that nothing but the person
        decides; one that asks who, in which case or with which evidence is refused here."""
        names = data if data is None or isinstance(data, str) else tuple(data)
        return self._uses.decide_all(purpose, [self._one(who) for who in whos], names, channel=channel)

    def sending(self, whos: Iterable[str | Person], purpose: str, channel: str) -> list[Person]:
        """Those to whom a message may go now; noted as sent, so that the board can measure what went out."""
        return sending.sending(self.company, [self._one(who) for who in whos], purpose, channel)

    def audience(self, purpose: str, channel: str | None = None) -> Iterator[Person]:
        """Everybody whom a purpose may use the data of, or write to, now; of any number, in constant memory."""
        return audience.audience(self.company, purpose, channel)

    def headers(self, who: str | Person, purpose: str) -> Mapping[str, str]:
        """The headers by which a letter can be left with one click (RFC 8058), to be signed under DKIM."""
        return leave.headers(self.company, self._one(who), purpose)

    def preferences(self, who: str | Person) -> str | None:
        """The address of somebody's preference page, which needs no log-in; None where no pages are served."""
        return preferences.page_of(self.company, self._one(who))

    def choose(
        self,
        who: str | Person,
        choices: Mapping[str, Literal["yes", "no"]],
        words: str,
        *,
        language: str = "en",
        region: str | None = None,
        scope: str = "",
        way: str = "account",
        by: str | None = None,
        guardian: str | Person | None = None,
        at: datetime | None = None,
    ) -> Sequence[Recorded]:
        """Record what somebody answered to the exact `words` they were shown; book.Refused where it can't be.

        `way` is account, form, letter, staff, device, signal or import; `by` a member of staff who wrote it down. `at`
        is when they said it, however long ago. It is recorded of whoever has the key in the company's database, as it
        is written there; `nobody` (Refused) where nobody has it.
        """
        known = [name for name in choices if name in self.company.policy.section("choices")]
        shown = notices.of_words(self.company.policy, words, choices=known, language=language, region=region)
        person = self._there(who)
        decider = self._there(guardian) if guardian is not None else None
        notice = notices.keep(self.company, shown)
        return book.record(
            self.company,
            [
                New(person, name, answer, way, scope, at, notice, region, by, decider=decider)
                for name, answer in choices.items()
            ],
        )

    def login(self, visitor: str, who: str | Person) -> Sequence[Recorded]:
        """Carry over what somebody chose before they logged in; harmless when repeated. `who` as for `choose`."""
        return merge.merge(self.company, self.visitor(visitor), self._there(who))

    def collect(
        self, step: str, form: Mapping[str, Any], *, source: str, who: str | Person | None = None, **more: Any
    ) -> Collected:
        """What of a form may be written, by a step of the policy (`kept.controls.collection.enforce.collect`)."""
        person = self._one(who) if who is not None else None
        return collection.collect(self.company, step, form, source=source, who=person, **more)

    def look(
        self,
        purpose: str,
        who: str | Person,
        data: str | Sequence[str] | None = None,
        *,
        by: str,
        case: str | None = None,
        evidence: Mapping[str, str] = NO_EVIDENCE,
    ) -> Look:
        """Show one person's data to a member of staff in a case; on record before any row is read."""
        names = data if data is None or isinstance(data, str) else tuple(data)
        return looks.look(self.company, purpose, names, self._one(who), by=by, case=case, evidence=evidence)

    def groups(self, question: Question, recipient: str, *, by: str | None = None) -> Answer:
        """Figures about groups, none of them smaller than the purpose's floor, and none to be worked out from two."""
        return asked.answer(self.company, question, recipient, by=by)

    def disclose(
        self, recipient: str, whos: Iterable[str | Person], purpose: str | None = None, **more: Any
    ) -> Disclosed:
        """What of people's data a party gets, stripped to what is declared; on register and ledger when it returns.

        `more` as for `kept.controls.disclosure.enforce.disclose`. What is sent is the answer's records, and nothing
        else: `kept.controls.disclosure.outgoing` sends them.
        """
        people = [self._one(who) for who in whos]
        return disclosing.disclose(self.company, recipient, people, purpose=purpose, **more)

    def sees(
        self,
        disclosure: str,
        viewer: str | Person | None,
        subject: str | Person,
        *,
        evidence: Mapping[str, str] = NO_EVIDENCE,
    ) -> Decision:
        """Whether somebody (None: anyone at all) sees what a disclosure shows of somebody else, and which columns."""
        who = self._one(viewer) if viewer is not None else None
        return seen.sees(self.company, disclosure, who, self._one(subject), evidence=evidence)

    def seen_by(
        self,
        disclosure: str,
        viewer: str | Person | None,
        table: str | None = None,
        *,
        called: str | None = None,
    ) -> Condition:
        """The same as a condition for the application's own statement, so that a page of people is one query."""
        who = self._one(viewer) if viewer is not None else None
        return seen.seen_by(self.company, disclosure, who, table, called=called)

    @property
    def sealer(self) -> Sealer:
        """Seals what the policy says is sealed, and opens it for the purposes declared."""
        return Sealer.of(self.company)

    @property
    def passwords(self) -> Passwords:
        """Hashes passwords, and refuses weak ones, as the policy says."""
        return Passwords.of(self.company)

    def _one(self, who: str | Person) -> Person:
        return self._fit(who) if isinstance(who, Person) else self.person(who)

    def _there(self, who: str | Person) -> Person:
        """Somebody by their key as the company's database writes it: under another spelling they'd be somebody else."""
        person = self._one(who)
        if person.kind == self._visitors or not is_in_database(self.company, person.kind):
            return person
        found = resolve(self.company, [str(person)])
        if not found.people:
            raise Refused("nobody", found.wrong[0][1])
        return found.people[0]

    def _fit(self, who: Person) -> Person:
        """The same, if they can be: a visitor has the id that a browser made."""
        if who.kind == self._visitors and not all(map(VISITOR.fullmatch, who.key)):
            raise Refused("no-visitor", "the id of a visitor has 32 hexadecimal digits, in lower case")
        return who
