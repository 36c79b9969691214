"""What data is used for, each use on one legal ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from ruamel.yaml.nodes import Node, SequenceNode

from kept.controls.choices.declare import Choice
from kept.controls.phrases import conditions
from kept.laws.law import Law, law
from kept.policy import words
from kept.policy.checks.clocks import check_clock
from kept.policy.conditions import Conditional, check_conditions
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import clock
from kept.policy.fact_readers import store_of
from kept.policy.grammar import Clock
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reading, Reference, Regional, Text, Word
from kept.policy.source import Name, Problems
from kept.policy.wording import (
    by_region,
    capitalised,
    channels,
    clock_words,
    data_words,
    joined,
    who_words,
    words_of,
)


class Ground(Regional[Name]):
    """One ground, or one for each region; several at once are none."""

    def __init__(self) -> None:
        super().__init__(Word(words.GROUNDS, "a legal ground (GDPR Art. 6(1))"))

    def read(self, node: Node, reading: Reading) -> dict[str, Name] | None:
        if isinstance(node, SequenceNode) and len(node.value) > 1:
            reading.problems.error(
                "two-grounds",
                "a purpose has exactly one ground",
                reading.span(node.value[1]),
                help="make it two purposes, or say where each holds: {eea: consent, elsewhere: contract}",
                law="GDPR Art. 6(1), 13(1)(c)",
            )
            return None
        return super().read(node, reading)


@dataclass(frozen=True, kw_only=True)
class Purpose(Conditional):
    """`{uses: usage, ground: legitimate-interest, interest: a better app, groups: 10}`."""

    verbs: ClassVar = ("uses", "sets")

    uses: tuple[Name, ...] = key(Many(Reference("data")), default=())
    sets: tuple[Name, ...] = key(Many(Reference("data", "moments")), default=())
    ground: Mapping[str, Name] = key(Ground(), default={})
    law: Name | None = key(Text("the law that asks for it"))
    interest: Name | None = key(Text("the interest pursued"))
    sends: tuple[Name, ...] = key(Many(Word(words.CHANNELS, "a channel")), default=())
    upon: Clock | None = key(clock("an event such as `company.ended`"))
    tells: tuple[Name, ...] = key(Many(Reference("people", "ends")), default=())


@dataclass(frozen=True, kw_only=True)
class NeverUsed(Promise):
    """`{never: machine-alone}`."""

    verbs: ClassVar = ("never",)

    never: tuple[Name, ...] = key(
        Many(Word(("undeclared", "machine-alone"), "a use that never happens")), required=True, default=()
    )


BRANCHES = (Purpose, NeverUsed)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report data without a purpose, and each purpose without its one ground and what that ground asks for."""
    used: set[str] = set()
    for promise in policy.section("purposes").values():
        if isinstance(promise, Purpose):
            used.update(promise.uses, promise.sets)
            _ground(policy, promise, problems)
            _choices(policy, promise, problems)
            _bounds(policy, promise, problems)
    for data in policy.data.values():
        if data.name not in used and not policy.is_clients(data) and "purposes" not in policy.incomplete:
            problems.error(
                "no-purpose",
                f"nothing is `{data.name}` for: no purpose uses it",
                data.span,
                help="name it in a purpose, or stop collecting it",
                law=policy.cite("Art. 5(1)(b)"),
            )
    _roles(policy, used, problems)


def _ground(policy: Policy, purpose: Purpose, problems: Problems) -> None:
    if not purpose.ground:
        if "ground" not in purpose.keys:
            problems.error(
                "no-ground",
                f"`{purpose.name}` has no legal ground",
                purpose.span,
                help=f"add ground: one of {', '.join(words.GROUNDS)}",
                law=policy.cite("Art. 6(1)"),
            )
        return
    grounds = {str(ground): ground for ground in purpose.ground.values()}
    if "legitimate-interest" in grounds and purpose.interest is None:
        problems.error(
            "no-interest",
            f"`{purpose.name}` rests on a legitimate interest and does not say which",
            grounds["legitimate-interest"].span,
            help="add interest: what is pursued",
            law=policy.cite("Art. 13(1)(d)"),
        )
    if "legal-duty" in grounds and purpose.law is None:
        problems.error(
            "no-law",
            f"`{purpose.name}` rests on a legal duty and does not say which law lays it down",
            grounds["legal-duty"].span,
            help="add law: the law that asks for it",
            law=policy.cite("Art. 6(3)"),
        )
    if "consent" in grounds and not purpose.choice:
        problems.error(
            "no-choice",
            f"`{purpose.name}` rests on consent and no choice gives it",
            grounds["consent"].span,
            help="add choice: the choice people make",
            law=policy.cite("Art. 7"),
        )
    health = [
        name
        for name in purpose.uses
        if name in policy.data
        and any(
            sort.type == "health"
            for columns in policy.data[name].tables.values()
            for sort in columns.values()
        )
    ]
    for name in health:
        if policy.european() and set(grounds) & {"contract", "legitimate-interest"}:
            problems.finding(
                "special-category",
                f"`{name}` is data about health, and `{purpose.name}` has no ground for that",
                name.span,
                help="health data asks for explicit consent or another ground of Art. 9(2)",
                law=policy.cite("Art. 9"),
            )


def _choices(policy: Policy, purpose: Purpose, problems: Problems) -> None:
    """Whoever the data is about must be asked, and asked as the law wants."""
    owners = {name: policy.owners(policy.data[name]) for name in purpose.uses if name in policy.data}
    everybody = [owner for kinds in owners.values() for owner in kinds]
    asked: list[str] = []
    for name in purpose.choice:
        choice = policy.section("choices").get(name)
        if not isinstance(choice, Choice):
            continue
        theirs = [kind for who in choice.of if (kind := policy.kind_of(who)) is not None]
        asked += theirs
        if everybody and theirs and not _related(policy, theirs, everybody):
            problems.error(
                "choice-of-others",
                f"`{name}` is a choice of `{', '.join(choice.of)}`, and `{purpose.name}` uses no data of theirs",
                name.span,
                help="name a choice of the people whose data it is",
            )
        for under in policy.european():
            _opt_in(purpose, choice, law(under), problems)
    if "consent" not in purpose.ground.values() or not _related(policy, asked, everybody):
        return
    for name, kinds in owners.items():
        if not _related(policy, asked, kinds):
            problems.finding(
                "not-asked",
                f"`{purpose.name}` uses `{name}` with consent, and the people it is about are never asked",
                name.span,
                help="add a choice of theirs, or leave this data out",
                law=policy.cite("Art. 7(1)"),
            )


def _related(policy: Policy, some: Sequence[str], others: Sequence[str]) -> bool:
    return any(policy.related(one, other) for one in some for other in others)


def _opt_in(purpose: Purpose, choice: Choice, under: Law, problems: Problems) -> None:
    """Where the law wants a clear yes, silence is none; and a yes that is asked for is the ground."""
    area = under.regions[0]
    regions = {
        area,
        *(
            region
            for region in (*choice.ask, *purpose.ground)
            if region != "elsewhere" and words.covers(area, region)
        ),
    }
    for region in sorted(regions):
        ground, ask = (
            words.applicable(purpose.ground, region) if purpose.ground else None,
            words.applicable(choice.ask, region),
        )
        if ground == "consent" and ask == "opt-out":
            problems.error(
                "opt-out-for-consent",
                f"`{purpose.name}` rests on consent, and in {words.region_name(region)} "
                f"`{choice.name}` takes silence for a yes",
                ask.span,
                help="ask: opt-in, at least there",
                law=under.opt_in,
            )
            return
        if ground == "legitimate-interest" and ask in ("opt-in", "double-opt-in"):
            problems.finding(
                "mixed-ground",
                f"`{purpose.name}` waits for a yes (`{choice.name}`) and yet claims a legitimate interest",
                ground.span,
                help="ground: consent, if people are asked; else let them object: ask: opt-out",
                law=f"{under.short} Art. 6(1)",
            )
            return


def _bounds(policy: Policy, purpose: Purpose, problems: Problems) -> None:
    check_conditions(policy, purpose, problems)
    if purpose.upon is not None:
        check_clock(policy, purpose.upon, purpose.at("upon"), problems)
    for name in purpose.sets:
        of, dot, moment = name.rpartition(".")
        if dot and of in policy.people and policy.moment(of, moment) is None:
            problems.error(
                "no-such-clock",
                f"`{of}` has no `{moment}` column to set",
                name.span,
                help=f"add {moment}: the column, to `{of}`",
            )
    if purpose.groups and (purpose.sends or purpose.case):
        problems.error(
            "contradiction",
            f"`{purpose.name}` looks at groups only, and yet at single people",
            purpose.at("groups"),
            help="make it two purposes",
        )
    rights = policy.section("rights")
    objectable = {str(name) for name in getattr(rights.get("object"), "always", ())}
    grounds = set(purpose.ground.values())
    if (
        purpose.sends
        and policy.european()
        and not purpose.choice
        and purpose.name not in objectable
        and (grounds & {"legitimate-interest"} or ("consent" in grounds and "withdraw" not in rights))
    ):
        problems.finding(
            "no-way-out",
            f"`{purpose.name}` sends messages that nobody can stop",
            purpose.at("sends"),
            help=f"add a choice, or rights: {{object: {{always: {purpose.name}}}}}",
            law=policy.cite("Art. 7(3)" if "consent" in grounds else "Art. 21(2)"),
        )
    single = not (
        purpose.groups
        or purpose.choice
        or purpose.sends
        or purpose.by
        or purpose.case
        or purpose.needs
        or purpose.tells
    )
    if single and purpose.uses and grounds & {"legitimate-interest", "legal-claims"}:
        problems.finding(
            "unbounded-staff",
            f"anyone on the staff may look at one person's data for `{purpose.name}`",
            purpose.span,
            help="add case: a link, by: a role, or groups: the smallest group",
            law=policy.cite("Art. 5(1)(f), 32(4)"),
        )


def _roles(policy: Policy, used: set[str], problems: Problems) -> None:
    for store in policy.stores.values():
        holds = [
            data.name
            for data in policy.data.values()
            if data.name in used and any(store_of(table) == store.name for table in data.tables)
        ]
        if store.is_sql and store.sort != "outside" and holds and not store.roles:
            problems.finding(
                "no-roles",
                f"`{store.name}` does not say which database role serves which purpose",
                store.span,
                help="add roles: {role: [purposes]}; until then the board can't show who reads what",
                law=policy.cite("Art. 25, 32"),
            )


def sentence(policy: Policy, promise: Purpose | NeverUsed) -> str:
    """The promise as the policy page says it."""
    if isinstance(promise, NeverUsed):
        never = {
            "undeclared": "We use your data for nothing beyond what this page names.",
            "machine-alone": "No decision with legal or like effect on you is made by a machine alone.",
        }
        return " ".join(never[word] for word in promise.never)
    label = capitalised(words_of(promise.name))
    you = {kind for name in promise.uses if name in policy.data for kind in policy.owners(policy.data[name])}
    you |= {str(who) for who in promise.tells}
    you |= {str(name).partition(".")[0] for name in promise.sets if "." in name}
    consent = set(promise.ground.values()) == {"consent"}
    parts = []
    if promise.uses:
        parts.append(f"use {data_words(policy, promise.uses)}")
    if promise.sets:
        verb = "may change or remove" if promise.uses else "decide on"
        parts.append(f"{verb} {joined(_decided(policy, name) for name in promise.sets)}")
    text = f"{label}: we {', and '.join(parts)}{'' if consent and promise.choice else _grounds(promise)}"
    text += conditions(policy, [promise], you, consent=consent)
    if promise.upon is not None:
        text += f", {clock_words(policy, promise.upon)}"
    text += "."
    if promise.sends:
        text += f" We reach you {channels(promise.sends, 'or')}."
    if promise.tells:
        text += f" We tell {joined(dict.fromkeys(who_words(policy, who, you) for who in promise.tells))}."
    return text


def _decided(policy: Policy, name: str) -> str:
    _, dot, moment = name.rpartition(".")
    if dot:
        return f"the {'end' if moment == 'ended' else 'beginning'} of your account"
    return data_words(policy, [name])


def _grounds(promise: Purpose) -> str:
    """The ground in words, by region where it differs."""
    phrases = {
        "contract": "to carry out our contract with you",
        "consent": "only with your consent",
        "legitimate-interest": f"for our legitimate interest in {promise.interest}",
        "legal-duty": f"because the law requires it ({promise.law})",
        "legal-claims": "to make or defend legal claims",
        "vital-interest": "to protect somebody's life",
        "public-task": "for a task in the public interest",
    }
    if not promise.ground:
        return ""
    return ", " + by_region({region: phrases[ground] for region, ground in promise.ground.items()}).replace(
        "; ", ", "
    )
