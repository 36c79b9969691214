"""Which data a person may take along (GDPR Art. 20): what they gave us, for a use on consent or a contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kept.controls.collection.declare import Collecting
from kept.controls.purposes.declare import Purpose
from kept.policy.facts import Data
from kept.policy.policy import Policy
from kept.policy.wording import joined, who_words
from kept.stores.walk import Stop, Walk

GROUNDS = {
    "legitimate-interest": "our legitimate interests",
    "legal-duty": "a legal duty",
    "legal-claims": "legal claims",
    "vital-interest": "somebody's vital interests",
    "public-task": "a task in the public interest",
}


@dataclass(frozen=True)
class Portable:
    """The data that people of a kind may take along, and why they can't take the rest: a sentence for each."""

    data: tuple[str, ...]
    left: Mapping[str, str]


def portable(policy: Policy, kind: str) -> Portable:
    """What Art. 20(1) covers of the data about people of a kind.

    Data is provided by a person where a collection takes it from them, as their kind, as an end of a link or from
    their device: what was observed of them counts as provided, what was made out of it doesn't (Article 29 Working
    Party, WP 242 rev.01, section II). One use on consent or on a contract, in any region, is enough.
    """
    taken, left = [], {}
    for name, data in policy.data.items():
        if not any(policy.related(owner, kind) for owner in policy.owners(data)):
            continue
        why = _why_not(policy, kind, data)
        if why is None:
            taken.append(str(name))
        else:
            left[str(name)] = why
    return Portable(tuple(taken), left)


def _why_not(policy: Policy, kind: str, data: Data) -> str | None:
    if policy.is_clients(data):
        parties = dict.fromkeys(
            str(person.controller)
            for owner in policy.owners(data)
            for name in policy.chain(owner)
            if (person := policy.people.get(name)) is not None and person.controller
        )
        whom = joined(who_words(policy, party) for party in parties)
        return f"We hold it for {whom} only, who decide about it."
    sources = _sources(policy, data)
    if not any(_gives(policy, kind, data, source) for source in sources):
        if not sources:
            return "The policy does not say that it comes from you."
        whom = joined((who_words(policy, source) for source in sources), "or")
        return f"It comes from {whom}, not from you."
    grounds = dict.fromkeys(
        str(ground)
        for purpose in policy.section("purposes").values()
        if isinstance(purpose, Purpose) and data.name in purpose.uses
        for ground in purpose.ground.values()
    )
    if {"consent", "contract"} & set(grounds):
        return None
    if not grounds:
        return "Nothing that we do with it rests on your consent or on a contract with you."
    rests = joined(GROUNDS[ground] for ground in grounds)
    return f"What we do with it rests on {rests}, not on your consent or on a contract with you."


def _sources(policy: Policy, data: Data) -> list[str]:
    return list(
        dict.fromkeys(
            str(source)
            for promise in policy.section("collection").values()
            if isinstance(promise, Collecting) and data.name in (*promise.takes, *promise.optional)
            for source in promise.sources
        )
    )


def _gives(policy: Policy, kind: str, data: Data, source: str) -> bool:
    """Whether data from this source comes from the people of a kind that it is about.

    What one end of a link gives is not given by the other ends: a seller's rating comes from its author.
    """
    if source == "device":
        return True
    given_by = policy.kind_of(source)
    if given_by is None or not policy.related(given_by, kind):
        return False
    link, dot, _ = source.partition(".")
    owners = [str(owner.who) for owner in data.of]
    mine = [who for who in owners if policy.related(policy.kind_of(who) or "", kind)]
    return not dot or source in mine or any(not who.startswith(f"{link}.") for who in mine)


def exported(policy: Policy, walk: Walk) -> Walk:
    """The walk with the columns that people of its kind may take along, and no others.

    Of rows that belong to several people a walk has the person's own columns only, as Art. 20(4) asks; here those
    that another end of the link gave are left out as well.
    """
    goes = set(portable(policy, walk.kind).data)
    stops = []
    for number, stop in enumerate(walk.stops[: walk.own]):
        end = _end(policy, walk, number)
        columns = {
            column: kept
            for column, names in stop.columns.items()
            if (
                kept := tuple(
                    name for name in names if name in goes and _by_this_end(policy, policy.data[name], end)
                )
            )
        }
        stops.append(replace(stop, columns=columns))
    return replace(walk, stops=(*stops, *walk.stops[walk.own :]))


def _end(policy: Policy, walk: Walk, number: int) -> str | None:
    """The end of a link (`sale.buyer`) by which rows of a stop are a person's, if it is by one."""
    stop: Stop = walk.stops[number]
    if len(stop.hops) != 1 or stop.hops[0].forward:
        return None
    [hop] = stop.hops
    for name, link in policy.links.items():
        if link.table != f"{walk.store}.{stop.table}":
            continue
        for end, at in link.between.items():
            if hop.reference.columns == (str(at.column),):
                return f"{name}.{end}"
    return _end(policy, walk, hop.parent)


def _by_this_end(policy: Policy, data: Data, end: str | None) -> bool:
    if end is None:
        return True
    sources = _sources(policy, data)
    link = end.partition(".")[0]
    return end in sources or any(not source.startswith(f"{link}.") for source in sources)
