"""Looks up every name a policy uses; a dangling one is told with the nearest that exists."""

from __future__ import annotations

from collections.abc import Mapping

from kept.policy import words
from kept.policy.entry import Entry
from kept.policy.policy import STAFF, Policy
from kept.policy.readers import Reading
from kept.policy.source import Name, Problems, did_you_mean

WORDS = ("public", "device", "anyone", "connections")


def resolve(policy: Policy, reading: Reading) -> None:
    """Report every name that isn't declared, and every name declared twice where it must be unique."""
    known = _known(policy)
    for section, names in reading.broken.items():
        known[section] |= set(names)  # named in the file, though it could not be read
    _unique(policy, reading.problems)
    for name, sorts in reading.references:
        _look_up(name, sorts, known, reading.problems)


def _known(policy: Policy) -> dict[str, set[str]]:
    known: dict[str, set[str]] = {
        "parties": set(policy.parties),
        "stores": set(policy.stores),
        "people": set(policy.people),
        "links": set(policy.links),
        "data": set(policy.data),
        **{section: set(promises) for section, promises in policy.promises.items()},
    }
    known["people"] |= {STAFF}
    known["ends"] = {f"{link.name}.{end}" for link in policy.links.values() for end in link.between}
    known["contacts"] = {
        f"{party.name}.{contact}" for party in policy.parties.values() for contact in party.contacts
    }
    known["moments"] = {f"{kind}.{moment}" for kind in policy.people for moment in ("began", "ended")}
    for word in WORDS:
        known[word] = {word}
    return known


def _look_up(name: Name, sorts: tuple[str, ...], known: Mapping[str, set[str]], problems: Problems) -> None:
    candidates = set().union(*(known[sort] for sort in sorts))
    if name in candidates:
        return
    wanted = " or ".join(dict.fromkeys(words.CALLED.get(sort, f"`{sort}`") for sort in sorts))
    elsewhere = next(
        (words.CALLED[sort] for sort, names in known.items() if name in names and sort in words.CALLED), None
    )
    if elsewhere is not None:
        problems.error(
            "wrong-sort",
            f'"{name}" is {elsewhere}, not {wanted}',
            name.span,
            help=did_you_mean(name, candidates, limit=6),
        )
    else:
        problems.error(
            "unknown-name",
            f'"{name}" is not declared; it should name {wanted}',
            name.span,
            help=did_you_mean(name, candidates, limit=6),
        )


def _unique(policy: Policy, problems: Problems) -> None:
    """One name is one thing: across people, links and parties, and across people and data."""
    for groups in ((policy.people, policy.links, policy.parties), (policy.people, policy.data)):
        seen: dict[str, Entry] = {}
        for group in groups:
            for entry in group.values():
                first = seen.setdefault(entry.name, entry)
                if first is not entry:
                    problems.error(
                        "name-twice",
                        f'"{entry.name}" is already the name of {words.CALLED[first.section]} (line {first.span.line})',
                        entry.span,
                        help="give one of the two another name",
                    )
    if STAFF in policy.people:
        problems.error(
            "name-twice",
            f'"{STAFF}" is built in',
            policy.people[STAFF].span,
            help="declare a role: {is: staff}",
        )
