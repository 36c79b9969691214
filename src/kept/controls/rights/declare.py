"""What people can do about their data. The name of an entry is the right itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from kept.controls.purposes.declare import Purpose
from kept.laws.law import clock, law
from kept.policy import words
from kept.policy.conditions import check_case
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import period
from kept.policy.fact_readers import store_of
from kept.policy.grammar import Period
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Region, Word
from kept.policy.source import Name, Problems, Span
from kept.policy.wording import (
    a,
    capitalised,
    channels,
    data_words,
    joined,
    people_words,
    region_words,
    who_words,
    words_of,
)


@dataclass(frozen=True, kw_only=True)
class Right(Promise):
    """`erase: {through: account, waits: 30 days, offers: copy}`."""

    verbs: ClassVar = ()
    entry_names: ClassVar = words.RIGHTS

    through: tuple[Name, ...] = key(
        Many(Word(("account", "email", "form", "phone", "post", "app"), "a way to ask")), default=()
    )
    within: Period | None = key(period())
    waits: Period | None = key(period())
    offers: Name | None = key(Word(("copy",), "what is offered before"))
    confirmed_by: tuple[Name, ...] = key(Many(Reference("people")), default=())
    approved_by: tuple[Name, ...] = key(Many(Reference("people")), default=())
    by: tuple[Name, ...] = key(Many(Reference("people", "ends")), default=())
    of: tuple[Name, ...] = key(Many(Reference("people")), default=())
    to: tuple[Name, ...] = key(Many(Reference("parties")), default=())
    case: tuple[Name, ...] = key(Many(Reference("links")), default=())
    regions: tuple[Name, ...] = key(Many(Region()), default=())
    excepted: tuple[Name, ...] = key(Many(Reference("data")), name="except", default=())
    always: tuple[Name, ...] = key(Many(Reference("purposes")), default=())
    tells: tuple[Name, ...] = key(Many(Reference("people", "ends")), default=())


BRANCHES = (Right,)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report rights the law gives and the file leaves out, answers too late, stores nobody can reach."""
    for right in policy.section("rights").values():
        if isinstance(right, Right):
            _entry(policy, right, problems)
    _missing(policy, problems)
    _outside(policy, problems)
    passed = {
        kind
        for right in policy.section("rights").values()
        if isinstance(right, Right) and right.name == "pass-on"
        for kind in right.of
    }
    for person in policy.people.values():
        if person.controller is not None and person.name not in passed:
            problems.finding(
                "no-pass-on",
                f"a request of `{person.name}` is for `{person.controller}` to answer, and nobody passes it on",
                person.span,
                help=f"add rights: {{pass-on: {{of: {person.name}, to: {person.controller}}}}}",
                law=policy.cite("Art. 28(3)(e)"),
            )


def _entry(policy: Policy, right: Right, problems: Problems) -> None:
    for name in policy.laws:
        given = law(name).rights.get(right.name)
        if given is None or given.clock is None:
            continue
        article = f"{law(name).short} {given.clock_article}"
        if right.within is not None and _days(right.within) > _days(given.clock):
            problems.error(
                "too-late",
                f"`{right.name}` is answered within {right.within}, and the law gives {given.clock}",
                right.at("within"),
                help="leave `within` out to promise what the law asks",
                law=article,
            )
            break
        if right.waits is not None and _days(right.waits) > _days(given.clock):
            problems.finding(
                "waits-too-long",
                f"`{right.name}` waits {right.waits}, and the law gives {given.clock} for the answer",
                right.at("waits"),
                help="wait less",
                law=article,
            )
            break
    for name in right.always:
        purpose = policy.section("purposes").get(name)
        if isinstance(purpose, Purpose) and "legal-duty" in purpose.ground.values():
            problems.error(
                "contradiction",
                f"an objection always stops `{name}`, and the law demands `{name}`",
                name.span,
                help="a legal duty is done whoever objects",
            )
    if right.always and right.approved_by:
        problems.error(
            "contradiction",
            f"an objection to `{right.always[0]}` is stopped whatever the reason, and somebody has to approve it",
            right.at("approved-by"),
            help="leave `approved-by` out: what is always stopped is never weighed",
            law=policy.cite("Art. 21(3)"),
        )
    for name in right.case:
        check_case(policy, name, problems)
    if right.name == "pass-on" and not (right.of and right.to):
        problems.error(
            "pass-on-what",
            "`pass-on` does not say whose requests go to whom",
            right.span,
            help="add of: the people, and to: the client",
        )


def _missing(policy: Policy, problems: Problems) -> None:
    """The rights each law gives, in its own region; one finding for all that the file leaves out."""
    declared = {name: right for name, right in policy.section("rights").items() if isinstance(right, Right)}
    grounds = {
        str(ground)
        for use in policy.section("purposes").values()
        if isinstance(use, Purpose)
        for ground in use.ground.values()
    }
    needed = {"access", "correct", "erase", "restrict", "export", "no-retaliation"}
    needed |= {"withdraw"} if "consent" in grounds else set()
    needed |= {"object"} if grounds & {"legitimate-interest", "public-task"} else set()
    missing: dict[str, list[str]] = {}
    for name in policy.laws:
        given = law(name)
        for right, figures in given.rights.items():
            entry = declared.get(right)
            offered = entry is not None and (
                not entry.regions
                or any(words.covers(area, region) for region in given.regions for area in (*entry.regions,))
                or "elsewhere" in entry.regions
            )
            if right in needed and not offered and name != "coppa":
                missing.setdefault(right, []).append(f"{given.short} {figures.article}")
    if missing and "rights" not in policy.incomplete:
        first = next(iter(declared.values()), None)
        problems.finding(
            "rights-missing",
            f"the law gives rights that the policy leaves out: {', '.join(missing)}",
            first.span if first else Span(1, 1),
            help="add them to rights; an entry may be as short as {}",
            law="; ".join(article for articles in missing.values() for article in articles),
        )


def _outside(policy: Policy, problems: Problems) -> None:
    if not {"access", "erase"} & set(policy.section("rights")):
        return
    for store in policy.stores.values():
        party = policy.parties.get(store.party) if store.party else None
        holds = [
            data.name
            for data in policy.data.values()
            if any(store_of(table) == store.name for table in data.tables)
        ]
        if (
            store.sort == "outside"
            and holds
            and (
                party is None
                or not any({"email", "phone", "post"} & set(contact) for contact in party.contacts.values())
            )
        ):
            problems.finding(
                "unreachable-store",
                f"people have rights on `{holds[0]}` in `{store.name}`, and there is no way to carry them out",
                store.span,
                help="add contacts to its party: whom to write to",
                law=policy.cite("Art. 12(2), 28(3)(e)"),
            )


def _days(period: Period) -> float:
    lengths = {"hours": 1 / 24, "days": 1.0, "weeks": 7.0, "months": 30.44, "years": 365.25}
    return period.amount * lengths[period.unit]


OFFERED = {
    "access": "You can ask what we hold about you and how we use it, and get a copy",
    "export": "You can take your data with you in a structured, common, machine-readable format",
    "correct": "You can have what is wrong about you corrected",
    "erase": "You can have your data erased",
    "restrict": "You can have the use of your data restricted while a question about it is open",
    "object": "You can object to any use that rests on our legitimate interests",
    "withdraw": "You can withdraw a consent at any time, as easily as you gave it",
    "complain": "You can complain to us",
    "human-decision": "You can ask that no decision with legal or like effect on you is made by a machine alone; "
    "a person then decides",
    "no-retaliation": "Using your rights never costs you the service",
}
ASKED = ("access", "export", "correct", "erase", "restrict", "object", "human-decision")


def sentence(policy: Policy, promise: Right) -> str:
    """The promise as the policy page says it."""
    if promise.name == "pass-on":
        whom = joined(people_words(policy, kind) for kind in promise.of) or "their people"
        client = joined(who_words(policy, party) for party in promise.to) or "the client"
        passed = "If you are one of them, we pass your request on, and they answer it."
        return f"We hold data of {whom} for {client} only, as they instruct us. {passed}"
    text = OFFERED[promise.name]
    if promise.excepted:
        text += f", except {data_words(policy, promise.excepted)}"
    if promise.case:
        open_case = joined(a(words_of(name)) for name in promise.case)
        text = text.removesuffix(" while a question about it is open") + f" while {open_case} is open"
    if promise.regions:
        text += f", in {region_words(promise.regions)}"
    parts = [f"{text}."]
    if promise.through:
        parts.append(f"Do this {channels(promise.through, 'or')}.")
    if promise.always:
        uses = joined((f"“{words_of(name)}”" for name in promise.always), "or")
        parts.append(f"If you object to {uses}, we stop, whatever the reason.")
    others = [who_words(policy, who) for who in promise.by if "." in who or policy.is_staff(who)]
    if others:
        does = "answers" if promise.name == "complain" else "can ask for it too"
        parts.append(f"{capitalised(joined(dict.fromkeys(others), 'or'))} {does}.")
    if promise.confirmed_by:
        by = joined(people_words(policy, kind) for kind in promise.confirmed_by)
        parts.append(f"That it is you who asks is confirmed with you first, by {by}.")
    if promise.approved_by:
        by = joined(people_words(policy, kind) for kind in promise.approved_by)
        parts.append(f"It is carried out once {by} approved it.")
    if promise.offers is not None:
        parts.append("We offer you a copy first.")
    if promise.waits is not None:
        parts.append(f"It becomes final after {promise.waits}; until then you can change your mind.")
    parts.extend(_answered(policy, promise))
    if promise.tells:
        parts.append(f"We tell {joined(dict.fromkeys(who_words(policy, who) for who in promise.tells))}.")
    return " ".join(parts)


def _answered(policy: Policy, promise: Right) -> list[str]:
    """When the answer comes: as promised, else as each law says."""
    if promise.within is not None:
        return [
            "We do this at once." if promise.within.amount == 0 else f"We answer within {promise.within}."
        ]
    if promise.name not in ASKED:
        return []
    clocks = {
        region: str(given)
        for name in policy.laws
        for region in law(name).regions
        if (given := clock(name, promise.name))
    }
    clocks = {
        region: given
        for region, given in clocks.items()
        if not promise.regions or any(words.covers(area, region) for area in promise.regions)
    }
    if not clocks:
        return []
    if len(set(clocks.values())) == 1:
        return [f"We answer within {next(iter(clocks.values()))}."]
    first = next(iter(clocks.values()))
    rest = {region: given for region, given in clocks.items() if given != first}
    elsewhere = joined(f"{words.region_name(region)} within {given}" for region, given in rest.items())
    return [f"We answer within {first}, in {elsewhere}."]
