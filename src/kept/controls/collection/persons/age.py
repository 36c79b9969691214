"""How old somebody is, asked so that nobody is led to an answer, and what follows from it; the date is never kept.

Whoever is too young is told no more than that we can't go on, and nothing of them is stored or logged: neither the
date nor that it was refused. That somebody who was refused is not asked again at once, with another date, is for the
application to see to, in the session of that browser alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.whom import kinds_within, region_of, test_of
from kept.controls.collection.declare import NeverCollected
from kept.controls.refused import Refused
from kept.errors import KeptError
from kept.laws import choices as laws
from kept.policy.facts import PersonKind
from kept.policy.grammar import Comparison
from kept.policy.policy import Policy
from kept.stores.conditions import birthday
from kept.stores.sql import SQLStore

OLDEST: Final = 130  # years; an earlier date is a slip of the pen

Band = Literal["under", "guardian", "own"]
"""Nothing is taken of them · something is with their guardian's permission · they speak for themselves."""


@dataclass(frozen=True)
class Age:
    """What follows from somebody's age. `kinds` are those of the policy that somebody of this age is; `own_yes` says
    whether their own consent counts where they are (GDPR Art. 8(1)); `clause` where the policy says so."""

    band: Band
    kinds: frozenset[str]
    own_yes: bool
    reason: str
    clause: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """The question in a language, with the words beside the three fields, in the order of the language."""

    language: str
    text: str
    fields: Mapping[str, str]

    def html(self, *, legend: bool = True) -> str:
        """The fields of a form: `day`, `month`, `year`, each a number and none filled in."""
        rows = "\n".join(
            f'<label>{words} <input name="{name}" inputmode="numeric" autocomplete="bday-{name}" required '
            f'maxlength="{4 if name == "year" else 2}"></label>'
            for name, words in self.fields.items()
        )
        head = f"<legend>{self.text}</legend>\n" if legend else ""
        return f'<fieldset lang="{self.language}">\n{head}{rows}\n</fieldset>'


_WORDS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "en": ("What is your date of birth?", "Day", "Month", "Year"),
    "fr": ("Quelle est votre date de naissance ?", "Jour", "Mois", "Année"),
    "de": ("Wann sind Sie geboren?", "Tag", "Monat", "Jahr"),
    "nl": ("Wat is uw geboortedatum?", "Dag", "Maand", "Jaar"),
    "ro": ("Care este data dumneavoastră de naștere?", "Ziua", "Luna", "Anul"),
    "bn": ("আপনার জন্ম তারিখ কী?", "দিন", "মাস", "বছর"),
}


def question(language: str = "en") -> Question:
    """The neutral question: a whole date, nothing filled in, no word of which answer is wanted. English where we don't
    have the language."""
    known = language.lower().partition("-")[0]
    known = known if known in _WORDS else "en"
    text, day, month, year = _WORDS[known]
    return Question(known, text, {"day": day, "month": month, "year": year})


def answer(
    company: Company, born: date | str | Mapping[str, str], region: str | None, *, kind: str | None = None
) -> Age:
    """What follows from a birth date: a date, `2010-05-31`, or the fields of the question.

    `region` as the policy language writes it; unknown: the strictest of the policy's laws. `kind` is the root kind of
    the person, where only one is meant. Refused("unreadable-age") for what is no date of anybody living.
    """
    policy, today = company.policy, company.clock().astimezone(company.policy.timezone).date()
    years = _years(_date(born), today)
    region = region_of(region)
    within = [one for one in aged(policy) if kind is None or policy.related(str(one.name), kind)]
    kinds = frozenset(str(one.name) for one in within if _may_be(policy, one, years))
    own = years >= laws.own_yes(policy.laws, region).age
    never = next((one for one in never_anything(policy) if kinds_of(policy, one) & kinds), None)
    if never is not None:
        return Age("under", kinds, own, _SORRY, tuple(map(str, never.clause)))
    guarding = next((one for one in permissions(policy) if kinds_of(policy, one) & kinds), None)
    if guarding is not None:
        told = "their guardian's permission is needed"
        return Age("guardian", kinds, own, told, tuple(map(str, guarding.clause)))
    child = laws.child(policy.laws, region)
    if child is not None and years < child.age:
        return Age("under", kinds, own, _SORRY, (child.article,))
    return Age("own", kinds, own, "they are of age")


_SORRY: Final = "we can't go on with this"  # no word of the age: the next answer would be another date


def of_value(company: Company, value: object, region: str | None, kind: str) -> Age:
    """The same for what stands in a form's field of sort `birth-date`."""
    if isinstance(value, date | str):
        return answer(company, value, region, kind=kind)
    raise unreadable()


def unreadable() -> Refused:
    """That a birth date is none."""
    return Refused("unreadable-age", "this is no date of birth", help="a date is written YYYY-MM-DD")


def never_anything(policy: Policy) -> list[NeverCollected]:
    """The promises to collect nothing of some kind of people."""
    found = policy.section("collection").values()
    return [one for one in found if isinstance(one, NeverCollected) and "anything" in one.never]


def permissions(policy: Policy) -> list[Choice]:
    """The choices that cover everything and that somebody else makes: a guardian's permission."""
    found = policy.section("choices").values()
    return [one for one in found if isinstance(one, Choice) and one.covers is not None and one.by]


def kinds_of(policy: Policy, promise: NeverCollected | Choice) -> set[str]:
    """The kinds that a promise is about, ends of links by their kind."""
    return {kind for who in promise.of if (kind := policy.kind_of(str(who))) is not None}


def aged(policy: Policy) -> list[PersonKind]:
    """The kinds that somebody is by their age."""
    return [
        kind for kind in policy.people.values() if any(part.of_age for part in _ages(policy, str(kind.name)))
    ]


def matters(policy: Policy, kind: str) -> bool:
    """Whether something is promised of people of a kind by their age, so that it has to be known before they begin."""
    promises: list[NeverCollected | Choice] = [*never_anything(policy), *permissions(policy)]
    kinds = {name for one in promises for name in kinds_of(policy, one)}
    return any(str(one.name) in kinds and policy.related(str(one.name), kind) for one in aged(policy))


def _ages(policy: Policy, kind: str) -> list[Comparison]:
    """The comparisons of an age that somebody of a kind passes."""
    tests = (policy.people[name].when for name in policy.chain(kind) if name in policy.people)
    return [part for test in tests if test is not None for part in test.all if part.of_age]


def _may_be(policy: Policy, kind: PersonKind, years: int) -> bool:
    """Whether somebody of an age may be of a kind; what else it asks for isn't known here."""
    return all(_holds(part, years) for part in _ages(policy, str(kind.name)))


def _holds(part: Comparison, years: int) -> bool:
    than = int(part.value or "")
    return {
        "<": years < than,
        "<=": years <= than,
        ">": years > than,
        ">=": years >= than,
        "=": years == than,
        "!=": years != than,
    }[part.operator]


def _date(born: date | str | Mapping[str, str]) -> date:
    if isinstance(born, datetime):
        return born.date()
    if isinstance(born, date):
        return born
    try:
        if isinstance(born, str):
            return date.fromisoformat(born.strip())
        return date(*(int(born[name]) for name in ("year", "month", "day")))
    except (ValueError, KeyError, TypeError, OverflowError):
        raise unreadable() from None  # the original would quote the date


def _years(born: date, today: date) -> int:
    """Whole years, counted as the policy's tests count them in the databases."""
    if not 0 <= today.year - born.year <= OLDEST or born > today:
        raise unreadable()
    years = today.year - born.year
    return years if born <= birthday(today, years) else years - 1


# What stands in the databases.


@dataclass(frozen=True)
class UnderAge:
    """How many people are of kinds of whom nothing is collected; those whose birth date is missing, or none, apart.

    `looked` kinds could be asked; `gaps` say why others couldn't."""

    people: int = 0
    without_date: int = 0
    unreadable: int = 0
    looked: int = 0
    gaps: tuple[str, ...] = field(default=())


def under_age(company: Company, promise: NeverCollected) -> UnderAge:
    """Count people of the kinds that nothing is collected of, each kind in one statement. Raises no StoreError."""
    total = UnderAge()
    for who in promise.of:
        try:
            one = _under_age(company, str(company.policy.kind_of(str(who)) or who))
        except KeptError as wrong:
            one = UnderAge(gaps=(f"`{who}`: {wrong.message}",))
        total = UnderAge(
            total.people + one.people,
            total.without_date + one.without_date,
            total.unreadable + one.unreadable,
            total.looked + one.looked,
            (*total.gaps, *one.gaps),
        )
    return total


def _under_age(company: Company, name: str) -> UnderAge:
    policy, root = company.policy, company.policy.root(name)
    walk = company.map.walk(name)
    if root is None or walk is None or walk.store not in company.stores:
        why = company.out_of_reach(name)
        raise KeptError("; ".join(why) or "they can't be looked at")
    store, shape = company.stores[walk.store], walk.tables[walk.root.table]
    source = store.table(walk.root.table)
    today = company.clock().astimezone(policy.timezone).date()
    kind = next(one for one in (root, *kinds_within(policy, str(root.name))) if str(one.name) == name)
    tested = kind.is_a is not None or kind.when is not None
    test = test_of(company, kind, source, shape, today) if tested else sa.true()  # nothing of anybody there
    born = str(root.born) if root.born is not None and _ages(policy, name) else None
    counts = [_count(test), sa.literal(0), sa.literal(0)]
    if born is not None:
        empty, dated = empty_and_dated(store, source.c[born], shape.columns[born].sort)
        counts = [
            _count(sa.and_(dated, test)),
            _count(empty),
            _count(sa.and_(sa.not_(empty), sa.not_(dated))),
        ]
    with store.read() as connection:
        counted = [int(one) for one in connection.execute(sa.select(*counts).select_from(source)).one()]
    return UnderAge(counted[0], counted[1], counted[2], 1)


def empty_and_dated(
    store: SQLStore, born: sa.ColumnElement[object], sort: str
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """That a column holds nothing, and that it holds a date: SQLite takes any text for one."""
    if store.dialect != "sqlite" and sort in ("date", "time"):
        return born.is_(None), born.is_not(None)
    text = sa.func.coalesce(sa.cast(born, sa.Text), "")
    if store.dialect == "sqlite":
        there = sa.and_(
            text.op("GLOB")("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"),
            sa.func.date(sa.func.substr(text, 1, 10)).is_not(None),
        )
    else:
        there = text.regexp_match("^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
    return text == "", there


def _count(so: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((so, 1)))
