"""What holds left of people who were erased: what still keeps it, and of whom it is to go because they are over.

A hold that somebody set on a person knows whom it is about (`placed`). A hold of the policy doesn't: whoever was erased
leaves a frame, their own row emptied and what lies between it and the rows that are kept, and is looked for here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Final

from kept.company import Company
from kept.controls.retention.holds import holds, not_past
from kept.controls.rights.erasing.erased import CHUNK, MARGIN, Erased, erased
from kept.controls.rights.erasing.scope import by_held, erasure
from kept.controls.rights.people import Person
from kept.stores.erasing.losing import losing

LOOK: Final = "look at frames"
"""Under which Kept's state notes the last look at frames: the day, the policy, and how many it left to staff."""


@dataclass(frozen=True)
class Kept:
    """Erased people by what stands of them: nothing but what holds `still` keep; what holds kept that are `over`;
    `besides`, something that no hold of today's policy ever kept.
    """

    still: frozenset[Person]
    over: frozenset[Person]
    besides: frozenset[Person]


def kept_by_holds(company: Company, people: Sequence[Person]) -> Kept:
    """Why something stands of erased people, decided as another erasure of them would; a few statements for many."""
    going: set[Person] = set()
    besides: set[Person] = set()
    for data, group in by_held(company, people).items() if people else ():
        for kind in dict.fromkeys(person.kind for person in group):
            meant = erasure(company, kind, data)
            store = company.stores[meant.walk.store]
            found = losing(store, meant, [person.key for person in group if person.kind == kind])
            running = replace(meant, holds=not_past(meant.holds))
            going |= {Person(kind, tuple(map(str, key))) for key in found}
            besides |= {Person(kind, tuple(map(str, key))) for key in losing(store, running, found)}
    return Kept(frozenset(people) - going, frozenset(going - besides), frozenset(besides))


@dataclass(frozen=True)
class Freed:
    """Of which erased people something is to go that holds of the policy kept, or that came to their frame since.

    Of the `doubtful` nothing shows that the frame is theirs: it may be the row of somebody new behind their key. That
    they began before they were erased would show it, an erasure's token in their row, or held rows from before.
    """

    people: tuple[Person, ...]
    doubtful: tuple[Person, ...]


def freed(company: Company) -> Iterator[Freed]:
    """Look through the frames of erased people, where the policy has holds that end; a part at a time.

    Every frame is hashed, and decided on with 5000 others at once; nobody else is looked at, but where a hold keeps
    what people are known by, or they are known by nothing: there everybody is hashed.
    """
    if not company.pseudonyms.any_erased():
        return
    for kind in company.root_kinds():
        walk = company.map.walk(kind)
        ending = [
            hold
            for hold in holds(company.policy, company.map, kind, company.clock())
            if hold.cutoff is not None
        ]
        if walk is None and company.silent():
            company.walk(kind)  # raises, so that nobody takes them for looked at
        if walk is None or not ending:
            continue
        known_by = set(map(str, company.policy.people[kind].known_by.values()))
        named = any(hold.table == walk.root.table and known_by & set(hold.columns) for hold in ending)
        # all of them first, so that no snapshot of a store is held while it is asked about each part
        found = [one for _, part in erased(company, walk, nameless=not named) for one in part]
        for start in range(0, len(found), CHUNK):
            part = _freed(company, found[start : start + CHUNK])
            if part.people or part.doubtful:
                yield part


def _freed(company: Company, there: Sequence[Erased]) -> Freed:
    frames = [one for one in there if one.gone.frame]
    # who is known still, and surely them, has what they are known by under a hold, or came back with a backup
    others = [one for one in there if not one.gone.frame and one.gone.surely and one.proven]
    kept = kept_by_holds(company, [one.person for one in (*frames, *others)])
    going = [one for one in frames if one.person not in kept.still]
    since = _with_rows_from_before(
        company, [one for one in going if not one.proven and one.person in kept.over]
    )
    return Freed(
        (
            *(one.person for one in going if one.proven or one.person in since),
            *(one.person for one in others if one.person in kept.over),
        ),
        tuple(one.person for one in going if not one.proven and one.person not in since),
    )


def _with_rows_from_before(company: Company, frames: Sequence[Erased]) -> set[Person]:
    """Whose held rows, over by now, are older than their erasure, so that nobody new has come to their key.

    Nothing stands of these people but what holds kept, so whatever would go under holds that are over for rows from
    before alone is such a row, or hangs on one. Asked once for each day on which some of them were erased.
    """
    days: dict[date, list[Person]] = {}
    for one in frames:
        days.setdefault((one.gone.at - MARGIN).date(), []).append(one.person)
    found: set[Person] = set()
    for day, people in days.items():
        before = datetime.combine(day, time(), UTC)
        for data, group in by_held(company, people).items():
            kind = group[0].kind
            meant = erasure(company, kind, data)
            older = replace(meant, holds=not_past(meant.holds, before))
            keys = losing(company.stores[meant.walk.store], older, [person.key for person in group])
            found |= {Person(kind, tuple(map(str, key))) for key in keys}
    return found


def in_doubt(company: Company) -> int:
    """How many frames the last look left to staff (`kept replay` names them)."""
    return int(company.state.notes(LOOK).get("frames", {}).get("doubtful", 0))
