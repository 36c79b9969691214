"""What a purpose that `sets` an end means in the tables: whose end, decided by whom, or upon what.

A purpose with a condition that nothing here sees to is refused, never carried out without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.people import BY_HAND, Person
from kept.controls.rights.places import BY as EMAIL
from kept.errors import KeptError, TerminalError, TransientError
from kept.laws.period import Period
from kept.policy.facts import Link, PersonKind
from kept.policy.policy import STAFF, Policy
from kept.stores.ending import By, Ending, Tie, Upon
from kept.stores.schema import Reference

UNSEEN: Final = ("choice", "case", "during", "unless", "regions", "groups")
"""Conditions that nothing here sees to."""

SEEN_NEEDS: Final = ("reason",)


@dataclass(frozen=True)
class Ends:
    """Whose end a purpose sets: of people of the root kind `kind`, who stand in a SQL `store`."""

    purpose: Purpose
    of: str
    kind: str
    store: str
    ending: Ending

    @property
    def tells(self) -> bool:
        """Whether the person is written to."""
        return bool(self.purpose.tells)


def same_end(policy: Policy, found: Ends, purpose: str) -> bool:
    """Whether the purpose of that name may have set ends in the same column; of one the file has no more, it may."""
    known = {str(one.name): one for one in purposes(policy)}.get(purpose)
    of = _whose(policy, str(known.sets[0])) if known is not None else None
    if of is None:
        return True
    root = policy.root(of)
    return (
        root is not None
        and str(root.name) == found.kind
        and str(policy.moment(of, "ended")) == found.ending.column
    )


def sets_end(policy: Policy, purpose: object) -> bool:
    """Whether a purpose sets the end of people, as `sets: user.ended` does."""
    return isinstance(purpose, Purpose) and any(_whose(policy, str(name)) for name in purpose.sets)


def purposes(policy: Policy) -> list[Purpose]:
    """The purposes that set the end of people, in the order of the file."""
    found = policy.section("purposes").values()
    return [one for one in found if isinstance(one, Purpose) and sets_end(policy, one)]


def _whose(policy: Policy, name: str) -> str | None:
    of, _, moment = name.rpartition(".")
    return of if moment == "ended" and of in policy.people else None


def purpose_named(policy: Policy, name: str) -> Purpose:
    """The purpose of that name; KeptError for one that ends nobody."""
    known = {str(one.name): one for one in purposes(policy)}
    if name not in known:
        raise KeptError(
            f"`{name}` is no purpose that sets an end",
            help="known: " + (", ".join(known) or "none; one says `sets: KIND.ended`"),
            where="PURPOSE",
        )
    return known[name]


def ends(company: Company, purpose: Purpose) -> Ends:
    """Whose end a purpose sets; KeptError where that can't be told, or where it asks what nothing here sees to."""
    policy = company.policy
    if len(purpose.sets) != 1:
        raise KeptError(f"`{purpose.name}` sets more than an end", help="make it a purpose for each")
    of = str(_whose(policy, str(purpose.sets[0])))
    unseen = [word for word in UNSEEN if word in purpose.keys]
    unseen += [f"needs: {need}" for need in purpose.needs if need not in SEEN_NEEDS]
    if unseen:
        raise KeptError(
            f"`{purpose.name}` asks for {', '.join(unseen)}, which this version of Kept doesn't see to"
        )
    others = [str(who) for who in purpose.tells if not _is(policy, str(who), of)]
    if others:
        raise KeptError(
            f"`{purpose.name}` tells {', '.join(others)}; this version of Kept tells the person alone"
        )
    root, column = policy.root(of), policy.moment(of, "ended")
    if root is None or root.table is None or column is None:
        raise KeptError(f"no column is declared for `{of}.ended`", help=f"declare `ended:` for `{of}`")
    store, _, table = str(root.table).partition(".")
    _answers(company, store)
    began = policy.moment(of, "began")
    address = root.known_by.get(EMAIL)  # type: ignore[call-overload]  # a Name equals its text
    ending = Ending(
        table,
        tuple(map(str, root.key_columns)),
        str(column),
        address=str(address) if address is not None else None,
        like=str(began or policy.recorded(str(root.table)) or "") or None,
        only=tuple(test for kind in policy.chain(of) if (test := policy.people[kind].when) is not None),
        born=str(root.born) if root.born is not None else None,
    )
    return Ends(purpose, of, str(root.name), store, ending)


def _is(policy: Policy, who: str, of: str) -> bool:
    return who in policy.people and policy.related(who, of)


def _answers(company: Company, store: str) -> None:
    """The store is a database, and answers."""
    if not company.policy.stores[store].is_sql:
        sort = company.policy.stores[store].sort
        by_hand = ", where only a member of staff can" if sort in BY_HAND else ""
        raise TerminalError(f"an end in a store of kind `{sort}` can't be set by Kept{by_hand}", where=store)
    if store not in company.schemas:
        raise TransientError(company.unreachable.get(store, "the store does not answer"), where=store)


# Who decides.


def decided_by(company: Company, found: Ends, role: str, by: Person | None) -> Ends:
    """The same for one decision by somebody in a role of the purpose's `by`; KeptError where they may not decide.

    `by` is the person who decides, for a role at the end of a link: only people tied to them are meant then.
    """
    policy, purpose = company.policy, found.purpose
    allowed = [str(who) for who in purpose.by]
    if not allowed and purpose.upon is not None:
        raise KeptError(
            f"`{purpose.name}` is nobody's decision: it happens {_upon(purpose)}",
            help=f"kept end {purpose.name}",
            where="WHO",
        )
    if role not in allowed and (allowed or not policy.is_staff(role)):
        known = ", ".join(allowed) or ", ".join([STAFF, *filter(policy.is_staff, policy.people)])
        raise KeptError(f"`{role}` may not decide on `{purpose.name}`", help=f"known: {known}", where="--as")
    if policy.is_staff(role):
        return found
    if _is(policy, role, found.of):
        tests = tuple(test for kind in policy.chain(role) if (test := policy.people[kind].when) is not None)
        return replace(
            found, ending=replace(found.ending, only=tuple(dict.fromkeys((*found.ending.only, *tests))))
        )
    link, _, end = role.partition(".")
    kind = policy.kind_of(role)
    if not end or kind is None or policy.is_staff(kind):
        raise KeptError(
            f"this version of Kept can't see whether `{role}` may decide about somebody", where="--as"
        )
    if by is None or not policy.related(by.kind, kind):
        raise KeptError(
            f"a `{role}` is somebody in the database", help=f"name them: --by {kind}:KEY", where="--by"
        )
    own = policy.moment(kind, "ended")
    ties = tuple(_ties(company, found, policy.links[link], str(end)))
    if not ties:
        raise KeptError(
            f"`{link}` ties nobody of `{found.of}` to a `{end}` within one database", where="--as"
        )
    made = By(ties, by.key[0], str(own) if own is not None else None)
    return replace(found, ending=replace(found.ending, by=made))


def _upon(purpose: Purpose) -> str:
    return f"upon {purpose.upon}"


# Upon what.


def come(company: Company, found: Ends, now: datetime) -> Ends:
    """The same for everybody whose end comes by itself at a time; KeptError where nobody can tell who that is."""
    policy, clock = company.policy, found.purpose.upon
    if clock is None or clock.event.of is None or clock.event.moment not in ("began", "ended"):
        raise KeptError(
            f"`{found.purpose.name}` doesn't come by itself",
            help=f"name who it is about: kept end {found.purpose.name} WHO --as ROLE",
            where="WHO",
        )
    of = str(clock.event.of)
    if of not in policy.people:
        raise KeptError(f"`{found.purpose.name}` comes upon `{clock.event}`, which is no kind of person's")
    column = policy.moment(of, clock.event.moment)
    ties: list[Tie] = []
    for link in policy.links.values():
        between = {str(end): str(at.kind) for end, at in link.between.items()}
        for end in [end for end, kind in between.items() if policy.related(kind, of)]:
            seen = list(_ties(company, found, link, end))
            tied = [one for one, kind in between.items() if one != end and policy.related(kind, found.of)]
            if tied and not seen:
                raise KeptError(
                    f"`{link.name}` ties a `{found.of}` to a `{of}` where `{found.store}` can't see it, so nobody can"
                    f" say whom it keeps from ending upon `{clock.event}`"
                )
            ties += seen
    if column is None or not ties:
        raise KeptError(f"nothing in `{found.store}` ties a `{found.of}` to `{clock.event}`")
    period = clock.period or Period(0, "hours")
    upon = Upon(tuple(dict.fromkeys(ties)), str(column), period.cutoff(now, policy.timezone))
    return replace(found, ending=replace(found.ending, upon=upon))


def _ties(company: Company, found: Ends, link: Link, end: str) -> Iterator[Tie]:
    """The ways in which a link ties the people meant to somebody at another end of it, within their store."""
    policy, between = company.policy, {str(name): at for name, at in link.between.items()}
    other = policy.root(str(between[end].kind))
    person = policy.root(found.of)
    store, _, table = str(link.table).partition(".")
    tables: Mapping[str, object] = company.schemas[found.store].tables
    if store != found.store or table not in tables or person is None or other is None:
        return
    for name, at in between.items():
        if name != end and policy.related(str(at.kind), found.of):
            to_person = _leading(found.store, table, str(at.column), person)
            to_other = _leading(found.store, table, str(between[end].column), other)
            if to_person is not None and to_other is not None and to_other.to in tables:
                yield Tie(to_person, to_other, link.when, str(link.ended) if link.ended is not None else None)


def _leading(store: str, table: str, column: str, root: PersonKind) -> Reference | None:
    home, _, to = str(root.table).partition(".")
    if root.table is None or home != store or len(root.key_columns) != 1:
        return None
    return Reference(table, (column,), to, (str(root.key_columns[0]),), "file")
