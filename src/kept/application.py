"""Kept inside a company's own application: asked before a use, told what somebody chose, shown what a form brought.

    import kept

    with kept.opened("privacy") as privacy:      # the folder with policy.yaml; once for a process, after any fork
        if privacy.may("user:17", "alerts", "email").allowed:
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
from kept.controls.registry import load
from kept.controls.rights.people import Person, person_of, resolve
from kept.errors import KeptError

VISITOR: Final = re.compile("[0-9a-f]{32}")


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

    def person(self, who: str) -> Person:
        """Somebody by `kind:key`, or by an identifier that leads to one person; KeptError where it doesn't."""
        kind, colon, _ = who.partition(":")
        root = self.company.policy.root(kind) if colon else None
        if root is not None and len(root.key_columns) <= 1:
            return self._fit(Person(str(root.name), person_of(self.company.policy, who).key))
        found = resolve(self.company, [who])
        if not found.people:
            raise KeptError(found.wrong[0][1], where="WHO")
        return found.people[0]

    def visitor(self, id: str) -> Person:
        """Who only browses, by the random id that the banner gave them, 32 hexadecimal digits; KeptError for another
        word, and where the policy has no visitors."""
        kind = visitor_kind(self.company.policy)
        if kind is None:
            raise KeptError(
                "the policy knows no visitors", help="declare a kind without `known-by`, in the browser"
            )
        return self._fit(Person(kind, (id,)))

    def may(
        self, who: str | Person, purpose: str, channel: str | None = None, *, signals: frozenset[str] = NONE
    ) -> Decision:
        """Whether a purpose may use somebody's data now; `signals` as they come with this use: `gpc`, `device`."""
        return self._gate.may(self._one(who), purpose, channel, signals=signals)

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

    def _one(self, who: str | Person) -> Person:
        return self._fit(who) if isinstance(who, Person) else self.person(who)

    def _there(self, who: str | Person) -> Person:
        """Somebody by their key as the company's database writes it: under another spelling they'd be somebody else."""
        person = self._one(who)
        if person.kind == visitor_kind(self.company.policy) or not is_in_database(self.company, person.kind):
            return person
        found = resolve(self.company, [str(person)])
        if not found.people:
            raise Refused("nobody", found.wrong[0][1])
        return found.people[0]

    def _fit(self, who: Person) -> Person:
        """The same, if they can be: a visitor has the id that a browser made."""
        if who.kind == visitor_kind(self.company.policy) and not all(map(VISITOR.fullmatch, who.key)):
            raise Refused("no-visitor", "the id of a visitor has 32 hexadecimal digits, in lower case")
        return who
