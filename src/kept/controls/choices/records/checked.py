"""Whether an answer can be recorded at all, by the policy: whose choice it is, who may answer, and for what."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from kept.company import Company
from kept.controls.choices.asking import Ask, ask_of, visitor_kind
from kept.controls.choices.declare import Choice
from kept.controls.choices.guardians import guardians
from kept.controls.choices.records.answers import WITH, New, Refused
from kept.controls.choices.records.states import ANSWERS, ENDS, OURS, WAYS
from kept.controls.choices.whom import about
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.people import Person
from kept.policy.words import regions

RECORD: Final = re.compile("[0-9a-f]{32}")
WHOLE: Final = re.compile("-?[0-9]+")
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)  # a clock that was never set says so
LONGEST: Final = 200  # characters of a key, or of who wrote an answer down
FOR_A_PARTY: Final = ("api", "staff", "letter", "form", "import", *OURS)
"""How a party's own agreement comes: never by what a visitor's browser sends."""


def scopes(company: Company, choice: Choice) -> tuple[str, ...]:
    """What a choice is made for one by one: its channels or purposes; the empty scope where it is one."""
    if choice.each is None:
        return ("",)
    waiting = [
        one
        for one in company.policy.section("purposes").values()
        if isinstance(one, Purpose) and choice.name in one.choice
    ]
    if choice.each == "purpose":
        return tuple(str(one.name) for one in waiting)
    return tuple(dict.fromkeys(str(channel) for one in waiting for channel in one.sends))


class Rules:
    """What the policy of one company says of answers, worked out once; get it with `Rules.of`."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self._choices: dict[str, tuple[Choice, tuple[str, ...], frozenset[str]]] = {}
        self._asks: dict[tuple[str, str | None], Ask] = {}
        self._numbers: dict[str, tuple[bool, ...]] = {}
        self.visitors = visitor_kind(company.policy)

    @classmethod
    def of(cls, company: Company) -> Rules:
        """The rules of a company, for as long as it is open."""
        rules = company.memory.get(cls)
        if rules is None:
            rules = company.memory.setdefault(cls, cls(company))
        return rules  # type: ignore[no-any-return]  # what stands under its class

    def choice(self, name: str) -> Choice:
        """A choice of the policy; Refused where it has none of that name."""
        return self._of(name)[0]

    def scopes(self, name: str) -> tuple[str, ...]:
        """The scopes for which a choice is asked today."""
        return self._of(name)[1]

    def person(self, who: Person, choice: str) -> Person:
        """Somebody by the kind and the key under which their answers stand; Refused where a choice isn't theirs."""
        return self._person(who, self._of(choice)[2], choice)

    def ask(self, name: str, region: str | None) -> Ask:
        """How a choice is asked somewhere."""
        found = self._asks.get((name, region))
        if found is None:
            found = self._asks[name, region] = ask_of(self.company.policy, self.choice(name), region)
        return found

    def all_checked(self, given: Iterable[New]) -> list[New]:
        """Answers as they are recorded (`checked`), each yes with where its person is.

        Refused for a yes of somebody who isn't there: whoever has their key next must inherit none. To refuse anything
        is open to everybody. StoreError where the company's database can't be asked.
        """
        ready = [one for new in given for one in self.checked(new)]
        yeses = [one.who for one in ready if one.answer == "yes" and one.who.kind != self.visitors]
        if not yeses:
            return ready
        found = about(self.company, list(dict.fromkeys(yeses)))
        if not all(one.there for one in found.values()):
            raise Refused("nobody", "there is nobody like that who could say yes")
        return [
            replace(one, home=found[one.who].region) if one.answer == "yes" and one.who in found else one
            for one in ready
        ]

    def checked(self, new: New) -> list[New]:
        """An answer as it is recorded, one for each scope it is about; Refused where it can't be."""
        choice, known, roots = self._of(new.choice)
        if new.way not in WAYS:
            raise Refused("unknown-way", "nobody can answer in this way")
        if new.answer not in ANSWERS or (new.way in OURS) != (new.answer in ENDS and new.way != "staff"):
            raise Refused("unknown-answer", "nobody can answer this in this way")
        if new.way in OURS:  # what ends is on record already, whatever the policy has become
            return [self._timed(new)]
        who = self._person(new.who, roots, new.choice)
        new = self._timed(replace(new, who=who))
        if new.by is not None and (len(new.by) > LONGEST or "\0" in new.by):
            raise Refused("unknown-way", "whoever wrote this down has no such name")
        if new.region is not None and (new.region not in regions() or new.region == "elsewhere"):
            new = replace(
                new, region=None
            )  # a region nobody knows is none: the strictest way of asking holds
        if new.scope.startswith(WITH):
            if new.scope.removeprefix(WITH) not in map(str, choice.with_party):
                raise Refused("wrong-scope", f"`{choice.name}` doesn't need the agreement of this party")
            if new.way not in FOR_A_PARTY:
                raise Refused("not-theirs-to-give", "a party agrees for itself")
            return [new]
        if choice.by and new.answer == "yes":
            new = replace(new, by=self._guardian(choice, new))
        if new.scope == "" and known != ("",):
            return [replace(new, scope=scope) for scope in known]
        if new.scope not in known:
            raise Refused("wrong-scope", f"`{choice.name}` isn't made for this", "known: " + ", ".join(known))
        return [new]

    def _of(self, name: str) -> tuple[Choice, tuple[str, ...], frozenset[str]]:
        """A choice, its scopes, and the root kinds of those whose it is."""
        found = self._choices.get(name)
        if found is None:
            policy = self.company.policy
            choice = policy.section("choices").get(name)
            if not isinstance(choice, Choice):
                raise Refused("unknown-choice", "the policy has no such choice")
            kinds = [kind for who in choice.of if (kind := policy.kind_of(str(who))) is not None]
            roots = frozenset(str(root.name) for kind in kinds if (root := policy.root(kind)) is not None)
            found = self._choices[name] = (choice, scopes(self.company, choice), roots)
        return found

    def _person(self, who: Person, roots: frozenset[str], choice: str) -> Person:
        """Somebody by the kind and the key they have as a person: otherwise one person would be two subjects."""
        if who.kind not in roots:
            root = self.company.policy.root(who.kind)
            if root is None or str(root.name) not in roots:
                raise Refused("not-theirs", f"`{choice}` is not a choice of such a person")
            who = Person(str(root.name), who.key)
        numbers = self._numbers.get(who.kind)
        if numbers is None:
            numbers = self._numbers[who.kind] = _numbers(self.company, who.kind)
        if len(who.key) != len(numbers) or not all(map(_is_key, who.key, numbers)):
            raise Refused("not-theirs", "nobody can have such a key")
        return who

    def _timed(self, new: New) -> New:
        """With its id, and its time in UTC. A device's clock may be ahead: what is from later than now is from now."""
        at = new.at
        if at is not None:
            if at.tzinfo is None:
                raise Refused("no-zone", "a time is given with its zone")
            if at < EARLIEST:
                raise Refused("too-old", "nobody can have answered then")
            at = at.astimezone(UTC) if at <= self.company.clock() else None
        if new.record is not None and not RECORD.fullmatch(new.record):
            raise Refused("wrong-record", "the id of a record has 32 hexadecimal digits")
        return replace(new, at=at, home=None, record=new.record or secrets.token_hex(16))

    def _guardian(self, choice: Choice, new: New) -> str:
        """The pseudonym of whoever gives a yes for somebody; Refused where it isn't theirs to give."""
        open_to = guardians(self.company, choice, [new.who]).get(new.who, {})
        if new.decider is None or new.decider not in open_to:
            raise Refused(
                "not-theirs-to-give", f"`{choice.name}` is given by {choice.by[0]}, and by nobody else"
            )
        return open_to[new.decider]


def _numbers(company: Company, kind: str) -> tuple[bool, ...]:
    """For each column of a kind's key whether numbers stand in it, as far as its database says."""
    root = company.policy.people[kind]
    walk = company.map.walk(kind)
    if walk is None or kind == visitor_kind(company.policy):
        return (False,) * max(1, len(root.key_columns))
    columns = walk.tables[walk.root.table].columns
    return tuple(columns[column].sort == "number" for column in walk.root.person)


def _is_key(part: str, is_number: bool) -> bool:
    """Whether part of a key is one, written as the database writes it: `07` would be another subject than `7`."""
    if not part or len(part) > LONGEST or not part.isprintable():
        return False
    return not is_number or (WHOLE.fullmatch(part) is not None and str(int(part)) == part)
