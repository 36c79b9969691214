"""The gate of collection: of a form it takes what the step declares, and nothing else.

What isn't declared is dropped, or refused where the application wants to know (`strict`). Whatever can't be told is
refused: an unknown step or source, a birth date that is none, a choice nobody can read. The gate writes nothing and
logs nothing: it answers what may be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kept.company import Company
from kept.controls.choices.grounds import about as known_about
from kept.controls.choices.whom import Facts
from kept.controls.collection.card_numbers import find as cards
from kept.controls.collection.declare import Collecting, NeverCollected
from kept.controls.collection.gate.fields import OURS, Fields, source_column
from kept.controls.collection.gate.forbidden import forbidding, looked_into
from kept.controls.collection.persons.age import Age
from kept.controls.collection.persons.young import giving, of_form, refuse_young
from kept.controls.conditions import About, refuse_unmet
from kept.controls.refused import Refused as Refused
from kept.controls.refused import named
from kept.controls.rights.people import Person
from kept.errors import KeptError, StoreError
from kept.policy.policy import Policy
from kept.policy.source import did_you_mean

UNDECLARED: Final = "no data of this step"
FILLED_IN: Final = "we say ourselves where it comes from"


@dataclass(frozen=True)
class Collected:
    """What may be written: `taken` by store.table and column, the source of each row among it, and nothing else.

    `form` is what of the form goes on, under its own names; `dropped` are names of fields, each with why;
    `optional_missing` data that could have been given and wasn't. In fields of `blotted` a card number was; nobody can
    look into those of `unseen`. `age` is what is known of it; `guardian` whoever permitted it beforehand.
    """

    step: str
    source: str
    clause: tuple[str, ...]
    taken: Mapping[str, Mapping[str, Any]] = field(repr=False)
    form: Mapping[str, Any] = field(repr=False)
    dropped: Mapping[str, str]
    optional_missing: tuple[str, ...] = ()
    blotted: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    age: Age | None = None
    guardian: Person | None = None


def collect(
    company: Company,
    step: str,
    form: Mapping[str, Any],
    *,
    source: str,
    who: Person | None,
    region: str | None = None,
    signals: frozenset[str] = frozenset(),
    strict: bool = False,
    evidence: Mapping[str, str] | None = None,
    age: Age | None = None,
    guardian: Person | None = None,
    role: str | None = None,
    besides: frozenset[str] = frozenset(),
) -> Collected:
    """Judge a form by a step of the policy; Refused says why it isn't taken.

    `form` maps names of fields (`email`, `users.email`, `app.users.email`, `account.email`) to values: texts, numbers,
    nested JSON, bytes or `never.Attached`. `source` is one of the step's `from`; `who` the person, if there is one
    yet, or the visitor. `signals` as for the choices' gate. `evidence` says what the step needs: of `verified-…` the
    claim it was verified under, of the others in words. `age` is what followed from the question of age, `guardian`
    whoever permitted beforehand that somebody young is taken in, `role` who enters it, where the step says `by`.
    `besides` are fields that are no data about anybody, such as a token of the form: they go on, after a look for card
    numbers.
    """
    entry = step_named(company.policy, step)
    try:
        return _collect(
            company,
            entry,
            form,
            source=source,
            who=who,
            region=region,
            signals=signals,
            strict=strict,
            evidence=evidence or {},
            age=age,
            guardian=guardian,
            role=role,
            besides=besides,
        )
    except StoreError as wrong:
        raise Refused(
            "unreachable",
            f"nobody can tell whether this may be taken: {wrong.message}",
            clause=entry.clause,
            help="try again later",
        ) from None


def step_named(policy: Policy, step: str) -> Collecting:
    """A step by its name; Refused for a name the policy doesn't have."""
    steps = {
        str(name): one for name, one in policy.section("collection").items() if isinstance(one, Collecting)
    }
    if step not in steps:
        raise Refused(
            "unknown-step", "the policy has no such step of collection", help=did_you_mean(step, steps)
        )
    return steps[step]


def only_source(policy: Policy, step: str) -> str:
    """The source of a step that has one; Refused where it has to be said which."""
    entry = step_named(policy, step)
    if len(entry.sources) != 1:
        raise Refused(
            "unknown-source",
            f"`{step}` has several sources",
            clause=entry.clause,
            help="say which: " + ", ".join(map(str, entry.sources)),
        )
    return str(entry.sources[0])


def _collect(
    company: Company,
    step: Collecting,
    form: Mapping[str, Any],
    *,
    source: str,
    who: Person | None,
    region: str | None,
    signals: frozenset[str],
    strict: bool,
    evidence: Mapping[str, str],
    age: Age | None,
    guardian: Person | None,
    role: str | None,
    besides: frozenset[str],
) -> Collected:
    policy, fields = company.policy, Fields.of(company.policy, step)
    who = _rooted(policy, who)
    kinds = _kinds(policy, step)
    _refuse_source(step, source)
    told = known_about(company, [who])[who] if who is not None else None
    _refuse_stranger(policy, step, source, who, told, kinds)
    places, dropped = _meant(policy, step, fields, form, besides, strict=strict)
    kept = {name: form[name] for name in form if name in places or name in besides}
    secret = {name for name, at in places.items() if fields.sort(*at).type == "credential"}
    about_kinds = kinds | ({who.kind} if who is not None else set())
    looked = looked_into(forbidding(policy, about_kinds), kept, credentials=secret)
    taken: dict[str, dict[str, Any]] = {}
    for name, (table, column) in places.items():
        if not _is_empty(looked.form[name]):
            taken.setdefault(table, {})[column] = looked.form[name]
    given = {
        data for table, columns in taken.items() for one in columns for data in _given(fields, table, one)
    }
    _refuse_missing(step, fields, given)
    known = of_form(company, step, fields, taken, who, told, region, age, giving(policy, source, who, kinds))
    refuse_young(company, step, fields, taken, who, told, known, guardian)
    about = About(source, who, told, region, signals, evidence, role)
    refuse_unmet(company, step, about, _addresses(fields, taken))
    for table in taken:
        filled = source_column(policy, table)
        if filled is not None:
            taken[table][filled] = source
    return Collected(
        str(step.name),
        source,
        tuple(map(str, step.clause)),
        taken,
        looked.form,
        dropped,
        tuple(str(name) for name in step.optional if name not in given),
        looked.blotted,
        looked.unseen,
        known,
        guardian if known is not None and known.band == "guardian" and told is None else None,
    )


# Who, and from whom.


def _rooted(policy: Policy, who: Person | None) -> Person | None:
    root = policy.root(who.kind) if who is not None else None
    return Person(str(root.name), who.key) if who is not None and root is not None else who


def _kinds(policy: Policy, step: Collecting) -> set[str]:
    """The root kinds of the people whose data a step takes."""
    owners = {owner for name in (*step.takes, *step.optional) for owner in policy.owners(policy.data[name])}
    return {str(root.name) if (root := policy.root(owner)) is not None else owner for owner in owners}


def _refuse_source(step: Collecting, source: str) -> None:
    if source not in map(str, step.sources):
        raise Refused(
            "unknown-source",
            f"`{step.name}` takes nothing from there",
            clause=step.clause,
            help="declared: " + ", ".join(map(str, step.sources)),
        )


def _refuse_stranger(
    policy: Policy, step: Collecting, source: str, who: Person | None, told: Facts | None, kinds: set[str]
) -> None:
    """Refuse people whose data the step doesn't take, and those who aren't of the kind it takes it from."""
    if who is None or told is None:
        return
    of = policy.kind_of(source)
    if not any(policy.related(who.kind, kind) for kind in (*kinds, *([of] if of is not None else []))):
        raise Refused("not-theirs", f"`{step.name}` takes nothing of a `{who.kind}`", clause=step.clause)
    if of is None or not policy.related(who.kind, of) or of == who.kind:
        return
    if of not in told.kinds:
        raise Refused(
            "not-theirs", f"`{step.name}` is for people of kind `{of}`, and they are none", clause=step.clause
        )


# What.


def _meant(
    policy: Policy,
    step: Collecting,
    fields: Fields,
    form: Mapping[str, Any],
    besides: frozenset[str],
    *,
    strict: bool,
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """The column each field means, and the fields that are dropped."""
    places: dict[str, tuple[str, str]] = {}
    dropped: dict[str, str] = {}
    for name in form:
        if name in besides:
            continue
        found = fields.meant(name)
        if len(found) > 1:
            raise Refused(
                "ambiguous",
                f"{named(name)} may be several columns",
                clause=step.clause,
                help="call it " + " or ".join(f"{table}.{column}" for table, column in found),
            )
        if not found:
            dropped[cards.blot(name)] = UNDECLARED  # a name may be anything somebody typed
        elif fields.sort(*found[0]).type == "source":
            dropped[name] = FILLED_IN
        elif found[0] in places.values():
            raise Refused("twice", f"{named(name)} is given twice, under two names", clause=step.clause)
        else:
            places[name] = found[0]
    if strict and dropped:
        first = next(iter(dropped))
        raise Refused(
            "undeclared",
            f"{named(first)} is {dropped[first]} (`{step.name}`)",
            clause=(*step.clause, *_undeclared(policy)),
            help="declare it in the policy file, or don't ask for it",
        )
    return places, dropped


def _undeclared(policy: Policy) -> Iterator[str]:
    for promise in policy.section("collection").values():
        if isinstance(promise, NeverCollected) and "undeclared" in promise.never:
            yield from map(str, promise.clause)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | bytes | list | tuple | dict) and not value)


def _given(fields: Fields, table: str, column: str) -> set[str]:
    """The data that is given by a column: not by the time or the source alone, where there is more."""
    found = set()
    for data in fields.data_of(table, column):
        giving = fields.giving(data)
        sort = fields.sort(table, column)
        if sort.type not in OURS or any(one.table == table and one.named(column) for one in giving):
            found.add(data)
    return found


def _refuse_missing(step: Collecting, fields: Fields, given: set[str]) -> None:
    """Refuse a form without data that the step takes. What only a browser keeps comes with no form."""
    missing = [str(name) for name in step.takes if name not in given and fields.giving(str(name))]
    if missing:
        raise Refused(
            "missing",
            f"`{missing[0]}` is missing, without which `{step.name}` isn't done",
            clause=step.clause,
            help=f"give it, for example as `{fields.example(missing[0])}`",
        )


def _addresses(fields: Fields, taken: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The e-mail addresses and numbers that a form gives."""
    found: dict[str, list[str]] = {}
    for table, columns in taken.items():
        for column, value in columns.items():
            sort = fields.sort(table, column).type
            if sort in ("email", "phone"):
                found.setdefault(sort, []).append(str(value))
    return found


def why(wrong: KeptError) -> dict[str, Any]:
    """A refusal as programs get it: a sentence, a word, the clauses."""
    reason, clause = ("failed", ()) if not isinstance(wrong, Refused) else (wrong.reason, wrong.clause)
    return {"error": wrong.message, "reason": reason, "clause": list(clause), "help": wrong.help}
