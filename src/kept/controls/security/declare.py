"""How data is kept safe: in transit, at rest, and where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final

from kept.controls.purposes.declare import Purpose
from kept.policy import words
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import Expression
from kept.policy.expressions import Malformed
from kept.policy.fact_readers import store_of
from kept.policy.facts import Data
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Region, Text
from kept.policy.source import Name, Problems, did_you_mean
from kept.policy.wording import (
    data_words,
    joined,
    listed,
    people_words,
    region_words,
    sentence_of,
    words_of,
)

OPEN: Final = ("recorded", "time", "source")
"""Sorts of column that stay open in sealed data: retention and the proofs of collection go by them."""


def _strength(text: str) -> int:
    if text not in ("1", "2", "3", "4"):
        raise Malformed(
            f'"{text}" is not a strength', help="a strength is 1 to 4, as zxcvbn counts", code="bad-number"
        )
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Encrypting(Promise):
    """`{encrypts: connections}`, or the stores that are encrypted at rest."""

    verbs: ClassVar = ("encrypts",)

    encrypts: tuple[Name, ...] = key(Many(Reference("stores", "connections")), required=True, default=())


@dataclass(frozen=True, kw_only=True)
class Hashing(Promise):
    """`{hashes: password, strength: 3}`."""

    verbs: ClassVar = ("hashes",)

    hashes: tuple[Name, ...] = key(Many(Reference("data")), required=True, default=())
    strength: int | None = key(Expression(_strength, "how strong a password must be, 1 to 4", "^[1-4]$"))


@dataclass(frozen=True, kw_only=True)
class Sealing(Promise):
    """`{seals: tokens, for: automation}`, or `{seals: account, for: support, searchable: email}`."""

    verbs: ClassVar = ("seals",)

    seals: tuple[Name, ...] = key(Many(Reference("data")), required=True, default=())
    purposes: tuple[Name, ...] = key(Many(Reference("purposes")), name="for", required=True, default=())
    searchable: tuple[Name, ...] = key(Many(Text("a column in which equal values may be found")), default=())


@dataclass(frozen=True, kw_only=True)
class Placing(Promise):
    """`{places: [account, usage], regions: eea}`."""

    verbs: ClassVar = ("places",)

    places: tuple[Name, ...] = key(Many(Reference("data")), required=True, default=())
    regions: tuple[Name, ...] = key(Many(Region()), required=True, default=())


@dataclass(frozen=True, kw_only=True)
class Attesting(Promise):
    """`{attests: every server stands behind a firewall, attest: officer every 12 months}`."""

    verbs: ClassVar = ("attests",)

    attests: Name = key(Text("what a named person confirms"), required=True)


BRANCHES = (Encrypting, Hashing, Sealing, Placing, Attesting)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report data placed where its tables are not, secrets left open, and confirmations by nobody."""
    covered: set[str] = set()
    for promise in policy.section("security").values():
        if isinstance(promise, Placing):
            _placed(policy, promise, problems)
        elif isinstance(promise, Hashing):
            covered.update(promise.hashes)
            for name in promise.hashes:
                if name in policy.data and not _sorts(policy.data[name]) & {"credential"}:
                    problems.error(
                        "not-a-credential",
                        f"`{name}` has no column of sort credential to hash",
                        name.span,
                        help="hash passwords; seal what must be read again",
                    )
        elif isinstance(promise, Sealing):
            covered.update(promise.seals)
            _searchable(policy, promise, problems)
            _findable(policy, promise, problems)
            for purpose in promise.purposes:
                use = policy.section("purposes").get(purpose)
                if isinstance(use, Purpose) and not set(promise.seals) & set(use.uses):
                    problems.error(
                        "not-used",
                        f"`{promise.name}` is sealed for `{purpose}`, which uses none of it",
                        purpose.span,
                        help=f"`{purpose}` uses {', '.join(use.uses) or 'no data'}",
                    )
        elif isinstance(promise, Attesting) and "attest" not in promise.keys:
            problems.error(
                "nobody-attests",
                f"nobody confirms `{promise.name}`",
                promise.span,
                help="add attest: officer every 12 months",
            )
    for data in policy.data.values():
        if data.name not in covered and "credential" in _sorts(data):
            problems.finding(
                "open-credentials",
                f"`{data.name}` holds credentials that are neither hashed nor sealed",
                data.span,
                help=f"add to security: {{hashes: {data.name}}} or {{seals: {data.name}, for: …}}",
                law=policy.cite("Art. 32(1)(a)"),
            )


def _searchable(policy: Policy, promise: Sealing, problems: Problems) -> None:
    """Every searchable column must be one of those that are sealed."""
    there = {
        str(column)
        for name in promise.seals
        if name in policy.data
        for columns in policy.data[name].tables.values()
        for column, sort in columns.items()
        if sort.type not in OPEN
    }
    for column in promise.searchable:
        if column not in there:
            problems.error(
                "not-sealed",
                f"`{promise.name}` seals no column `{column}`",
                column.span,
                help=did_you_mean(column, there),
            )


def _findable(policy: Policy, promise: Sealing, problems: Problems) -> None:
    """What people are found by, or what tells their region, age or time here, can't be sealed: Kept reads it."""
    read: dict[str, str] = {}
    for kind in policy.people.values():
        at = (*kind.key_columns, *kind.known_by.values(), kind.born, kind.region, kind.began, kind.ended)
        tested = [one.column for one in kind.when.all if not one.of_age] if kind.when is not None else []
        root = policy.root(str(kind.name))
        if root is not None and root.table is not None:
            read |= {f"{root.table}.{column}": str(kind.name) for column in (*at, *tested)}
    for link in policy.links.values():
        ends = (*(str(end.column) for end in link.between.values()), link.began, link.ended)
        tested = [one.column for one in link.when.all] if link.when is not None else []
        read |= {f"{link.table}.{column}": str(link.name) for column in (*ends, *tested)}
    for name in promise.seals:
        for table, columns_of_it in policy.data[name].tables.items() if name in policy.data else ():
            for one, sort in columns_of_it.items():
                whose = read.get(f"{table}.{one}")
                if whose is not None and sort.type not in OPEN:
                    problems.error(
                        "sealed-key",
                        f"`{name}` is sealed, and `{whose}` is found or told apart by its column `{one}`",
                        name.span,
                        help="declare that column as data of its own, and leave it open",
                    )


def _placed(policy: Policy, promise: Placing, problems: Problems) -> None:
    where = listed(map(words.region_name, promise.regions), "or")
    for name in promise.places:
        for table in policy.data[name].tables if name in policy.data else ():
            store = policy.stores.get(store_of(table))
            if store is None:
                continue
            party = policy.parties.get(store.party) if store.party else None
            regions = (store.region,) if store.region else party.region if party else ()
            strays = [
                region
                for region in regions
                if not any(words.covers(area, region) for area in promise.regions)
            ]
            if strays:
                problems.error(
                    "contradiction",
                    f"`{name}` stays in {where}, and `{store.name}` is in {words.region_name(strays[0])}",
                    name.span,
                    help=f"see `{store.name}` on line {store.span.line}",
                    law=policy.cite("Art. 44") if policy.european() else None,
                )
            elif not regions and store.sort != "browser":
                problems.finding(
                    "place-unknown",
                    f"`{name}` stays in {where}, and nobody says where `{store.name}` is",
                    name.span,
                    help=f"add region: to `{store.name}`",
                )


def _sorts(data: Data) -> set[str]:
    return {sort.type for columns in data.tables.values() for sort in columns.values()}


def sentence(policy: Policy, promise: Encrypting | Hashing | Sealing | Placing | Attesting) -> str:
    """The promise as the policy page says it."""
    if isinstance(promise, Encrypting):
        stores = [f"“{words_of(name)}”" for name in promise.encrypts if name != "connections"]
        parts = ["All connections are encrypted."] if "connections" in promise.encrypts else []
        if stores:
            parts.append(f"What is stored in {joined(stores)} is encrypted.")
        return " ".join(parts)
    if isinstance(promise, Hashing):
        weak = " Weak passwords are refused." if promise.strength else ""
        return f"Of {data_words(policy, promise.hashes)} we store only slow, salted hashes.{weak}"
    if isinstance(promise, Sealing):
        sealed = data_words(policy, promise.seals)
        equal = joined([f"“{words_of(name)}”" for name in promise.searchable])
        seen = f" Whether two values of {equal} are the same can be seen without unsealing." if equal else ""
        return f"We store {sealed} sealed; only “{listed(promise.purposes, 'or')}” can unseal this.{seen}"
    if isinstance(promise, Placing):
        return f"We keep {data_words(policy, promise.places)} in {region_words(promise.regions, 'or')} only."
    if promise.attest is None:
        return sentence_of(promise.attests)
    who = people_words(policy, promise.attest.kind)
    return f"{sentence_of(promise.attests)} This is confirmed every {promise.attest.period} by {who}."
