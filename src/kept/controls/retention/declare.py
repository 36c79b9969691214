"""How long data stays, and what becomes of it then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from kept.controls.purposes.declare import Purpose
from kept.policy.checks.clocks import check_clock
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import limit, period
from kept.policy.fact_readers import store_of
from kept.policy.facts import Data
from kept.policy.grammar import Clock, Forever, Limit, Period
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Word
from kept.policy.source import Name, Problems
from kept.policy.wording import clock_words, data_words, joined, listed, people_words


@dataclass(frozen=True, kw_only=True)
class Retention(Promise):
    """`{keeps: account, until: 24 months after user.ended, then: delete}`."""

    verbs: ClassVar = ("keeps",)

    keeps: tuple[Name, ...] = key(Many(Reference("data", "people")), required=True, default=())
    until: Limit = key(limit(), required=True)
    then: Name | None = key(
        Word(("delete", "anonymise", "destroy"), "what becomes of it: delete, anonymise or destroy")
    )
    at_least: Period | None = key(period())
    hold: tuple[Name, ...] = key(Many(Reference("purposes")), default=())


BRANCHES = (Retention,)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report data without a limit, limits that contradict each other, clocks that never start."""
    kept: dict[str, list[Retention]] = {name: [] for name in policy.data}
    for promise in policy.section("retention").values():
        if isinstance(promise, Retention):
            _entry(policy, promise, problems)
            for name, data in policy.data.items():
                if name in promise.keeps or any(
                    set(promise.keeps) & set(policy.chain(owner)) for owner in policy.owners(data)
                ):
                    kept[name].append(promise)
    for name, retentions in kept.items():
        data = policy.data[name]
        if not retentions:
            if not policy.is_clients(data) and "retention" not in policy.incomplete:
                problems.error(
                    "no-limit",
                    f"`{name}` is kept without a limit: no retention keeps it",
                    data.span,
                    help=f"add to retention: {{keeps: {name}, until: …, then: delete}}",
                    law=policy.cite("Art. 5(1)(e), 13(2)(a)"),
                )
        elif not any(_starts(policy, data, retention.until) for retention in retentions):
            problems.finding(
                "may-never-start",
                f"the clock of `{name}` may never start, and then it stays for good",
                retentions[0].at("until"),
                help="add a second retention whose clock always starts, such as 24 months after recorded",
                law=policy.cite("Art. 5(1)(e)"),
            )
        _pairs(name, retentions, problems)


def _entry(policy: Policy, promise: Retention, problems: Problems) -> None:
    place = promise.at("until")
    if isinstance(promise.until, Forever):
        if promise.at_least is None:
            problems.finding(
                "forever",
                f"`{promise.name}` is kept forever",
                place,
                help="say until when: 24 months after recorded",
                law=policy.cite("Art. 5(1)(e)"),
            )
        else:
            problems.finding(
                "no-upper-limit",
                f"`{promise.name}` is kept {promise.at_least} at least, and there is no upper limit",
                place,
                help="say until when, not only from when",
                law=policy.cite("Art. 5(1)(e)"),
            )
        if promise.then is not None:
            problems.error(
                "contradiction",
                f"`{promise.name}` is kept forever and then {promise.then}d",
                promise.then.span,
                help="leave `then` out, or say until when",
            )
    else:
        check_clock(policy, promise.until, place, problems)
        _whose_clock(policy, promise, promise.until, problems)
        if "then" not in promise.keys:
            problems.error(
                "no-then",
                f"`{promise.name}` does not say what becomes of it",
                promise.span,
                help="add then: delete, anonymise or destroy",
            )
        if promise.until.event.moment == "recorded":
            _recorded(policy, promise, problems)
        length = promise.until.period
        if promise.at_least is not None and (length is None or _days(promise.at_least) > _days(length)):
            problems.error(
                "contradiction",
                f"at least {promise.at_least} is longer than until {promise.until}",
                promise.at("at-least"),
                help="a minimum is no longer than the limit",
            )
    for name in promise.hold:
        purpose = policy.section("purposes").get(name)
        if not isinstance(purpose, Purpose):
            continue
        if not set(purpose.uses) & set(promise.keeps):
            problems.error(
                "not-used",
                f"`{promise.name}` is held for `{name}`, which uses none of it",
                name.span,
                help=f"`{name}` uses {', '.join(purpose.uses) or 'no data'}",
            )
        elif policy.european() and not set(purpose.ground.values()) & {
            "legal-duty",
            "legal-claims",
            "public-task",
        }:
            problems.finding(
                "weak-hold",
                f"`{name}` is no ground to keep what a person wants erased",
                name.span,
                help="a hold rests on a legal duty or on legal claims",
                law=policy.cite("Art. 17(3)(b), (e)"),
            )


def _whose_clock(policy: Policy, promise: Retention, clock: Clock, problems: Problems) -> None:
    """A clock must be of the people the data is about, or of a link they are an end of."""
    of = clock.event.of
    if of is None or {"people", "links", "data"} & policy.incomplete:
        return
    ends = [str(at.kind) for link in policy.links.values() if link.name == of for at in link.between.values()]
    for name in promise.keeps:
        owners = policy.owners(policy.data[name]) if name in policy.data else (str(name),)
        across = [
            str(at.kind)
            for link in policy.links.values()
            if any(policy.related(owner, at.kind) for owner in owners for at in link.between.values())
            for at in link.between.values()
        ]
        if owners and not any(
            policy.related(kind, owner)
            for kind in (ends or [of])
            for owner in (*owners, *(across if not ends else ()))
        ):
            problems.error(
                "foreign-clock",
                f"`{of}` has nothing to do with the people `{name}` is about",
                of.span if isinstance(of, Name) else promise.at("until"),
                help=f"count from an event of {joined(owners, 'or')}, or from recorded",
            )


def _recorded(policy: Policy, promise: Retention, problems: Problems) -> None:
    for name in promise.keeps:
        for table in policy.data[name].tables if name in policy.data else ():
            store = policy.stores.get(store_of(table))
            if store is not None and store.is_sql and policy.recorded(table) is None:
                problems.error(
                    "no-recorded",
                    f"`{promise.name}` counts from when a row was recorded, and no column of {table} says so",
                    name.span,
                    help=f"declare it: {{{table}: {{created_at: recorded}}}}",
                )


def _starts(policy: Policy, data: Data, limit: Limit) -> bool:
    """Whether a limit's clock is sure to run for every row of this data."""
    if isinstance(limit, Forever) or limit.event.moment == "recorded" or limit.event.of in policy.people:
        return True
    link = policy.links.get(Name(limit.event.of or "", data.span))
    return link is not None and all(owner.who.partition(".")[0] == link.name for owner in data.of)


def _pairs(name: str, retentions: list[Retention], problems: Problems) -> None:
    for index, one in enumerate(retentions):
        for other in retentions[:index]:
            if isinstance(one.until, Forever) or isinstance(other.until, Forever):
                continue
            if one.until == other.until and None not in (one.then, other.then) and one.then != other.then:
                problems.error(
                    "contradiction",
                    f"`{name}` is to {other.then} and to {one.then} at the same moment",
                    one.at("then"),
                    help=f"see `{other.id}` on line {other.span.line}",
                )
            elif one.until.event == other.until.event and one.until != other.until:
                longer = max(
                    one,
                    other,
                    key=lambda retention: (
                        _days(retention.until.period) if isinstance(retention.until, Clock) else 0
                    ),
                )
                if not longer.hold:
                    problems.finding(
                        "outlived",
                        f"`{name}` is gone before `{longer.name}` ends: the shorter limit wins",
                        longer.at("until"),
                        help="keep one of the two, or say what holds it: hold: a purpose",
                    )


def _days(period: Period | None) -> float:
    """A period's length, near enough to compare two."""
    lengths = {"hours": 1 / 24, "days": 1.0, "weeks": 7.0, "months": 30.44, "years": 365.25}
    return period.amount * lengths[period.unit] if period else 0.0


ENDS = {"delete": "delete {}", "anonymise": "make {} anonymous", "destroy": "destroy {}"}


def sentence(policy: Policy, promise: Retention) -> str:
    """The promise as the policy page says it."""
    kinds = [name for name in promise.keeps if name in policy.people]
    data = [name for name in promise.keeps if name in policy.data]
    what = joined(
        [
            *([data_words(policy, data)] if data else []),
            *(f"everything about {people_words(policy, kind)}" for kind in kinds),
        ]
    )
    if isinstance(promise.until, Forever):
        least = f" for {promise.at_least} at least, and" if promise.at_least else ""
        return f"We keep {what}{least} without an upper limit."
    end = ENDS[promise.then or "delete"]
    what += "," if ", " in what else ""
    clock = promise.until
    if clock.event.moment == "found" and clock.period is not None:
        text = f"We {end.format(what)} within {clock.period} of finding out."
    elif clock.event.moment == "recorded" and clock.period is not None:
        text = f"We {end.format(what)} {clock.period} after we recorded it."
    else:
        text = f"We {end.format(what)} {clock_words(policy, clock)}."
    if promise.at_least is not None:
        text += f" We keep it for {promise.at_least} at least."
    if promise.hold:
        needed = listed(promise.hold, "or")
        text += f" Until then it stays, even where you ask us to erase it, as far as “{needed}” needs it,"
        text += " and for nothing else."
    if promise.then == "destroy":
        text += " After that nothing of it can be read back."
    return text
