"""A policy as a value: facts, promises, and the questions everybody asks of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from kept.laws.law import law
from kept.policy.entry import Entry, Promise
from kept.policy.facts import Data, DeclaredStore, Link, Party, PersonKind
from kept.policy.source import Source

STAFF = "staff"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One company's policy file, read. Names are those of the file; tables are `store.table`."""

    source: Source
    name: str
    version: date
    laws: tuple[str, ...]
    published: str | None
    timezone: ZoneInfo
    parties: Mapping[str, Party]
    stores: Mapping[str, DeclaredStore]
    people: Mapping[str, PersonKind]
    links: Mapping[str, Link]
    data: Mapping[str, Data]
    promises: Mapping[str, Mapping[str, Promise]]
    incomplete: frozenset[str] = frozenset()  # sections with an entry that could not be read

    def section(self, name: str) -> Mapping[str, Promise]:
        """The promises of one section, by name; empty where the file has none."""
        return self.promises.get(name, {})

    def every_promise(self) -> Iterator[Promise]:
        """Every promise, in the order of the sections and of the file."""
        for section in self.promises.values():
            yield from section.values()

    def entries(self) -> Iterator[Entry]:
        """Every entry of the file, facts first."""
        for facts in (self.parties, self.stores, self.people, self.links, self.data):
            yield from facts.values()
        yield from self.every_promise()

    def us(self) -> tuple[Party, ...]:
        """The controllers the policy speaks for."""
        return tuple(party for party in self.parties.values() if party.role == "us")

    def root(self, kind: str) -> PersonKind | None:
        """The kind whose table a kind's people stand in (`minor` is `member`); None for staff."""
        seen: set[str] = set()
        while kind not in seen and kind != STAFF:
            seen.add(kind)
            person = self.people.get(kind)
            if person is None:
                return None
            if person.is_a is None:
                return person
            kind = str(person.is_a)
        return None

    def is_staff(self, kind: str) -> bool:
        """Whether a kind is `staff` or a role of theirs."""
        seen: set[str] = set()
        while kind != STAFF and kind in self.people and kind not in seen:
            seen.add(kind)
            kind = str(self.people[kind].is_a or "")
        return kind == STAFF

    def is_case(self, link: Link) -> bool:
        """A link with a staff end is a case: a reason to look at one person."""
        return any(self.is_staff(str(end.kind)) for end in link.between.values())

    def chain(self, kind: str) -> tuple[str, ...]:
        """A kind and what it is, up to its root: `minor`, `member`."""
        chain: list[str] = []
        while kind in self.people and kind not in chain:
            chain.append(kind)
            kind = str(self.people[kind].is_a or "")
        return (*chain, STAFF) if kind == STAFF else tuple(chain)

    def owners(self, data: Data) -> tuple[str, ...]:
        """The kinds of person that data is about, ends of links by their kind."""
        kinds = (self.kind_of(owner.who) for owner in data.of)
        return tuple(dict.fromkeys(kind for kind in kinds if kind is not None))

    def related(self, one: str, other: str) -> bool:
        """Whether two kinds stand in the same table: `minor` and `seller` are both members."""
        return bool(self.chain(one)) and self.chain(one)[-1:] == self.chain(other)[-1:]

    def is_clients(self, data: Data) -> bool:
        """Whether data is a client's, held on their instructions: every owner's kind has a `controller`."""
        owners = [
            self.people[kind]
            for owner in self.owners(data)
            for kind in self.chain(owner)
            if kind in self.people
        ]
        return bool(owners) and any(owner.controller for owner in owners)

    def moment(self, of: str, moment: str) -> str | None:
        """The column behind `user.ended` or `sale.began`; None where none is declared."""
        entries: list[PersonKind | Link] = [
            self.people[kind] for kind in self.chain(of) if kind in self.people
        ]
        if of in self.links:
            entries = [self.links[of]]
        return next(
            (column for entry in entries if (column := getattr(entry, moment, None)) is not None), None
        )

    def recorded(self, table: str) -> str | None:
        """The column that holds the own time of a table's rows: of sort `recorded` in any data."""
        for data in self.data.values():
            for name, columns in data.tables.items():
                for column, sort in columns.items():
                    if name == table and sort.type == "recorded":
                        return column
        return None

    def european(self) -> tuple[str, ...]:
        """Which of the GDPR and the UK GDPR the policy is under."""
        return tuple(law for law in ("gdpr", "uk-gdpr") if law in self.laws)

    def cite(self, article: str) -> str | None:
        """`GDPR Art. 6(1)` or `UK GDPR Art. 6(1)`, whichever the policy is under; None under neither."""
        under = self.european()
        return f"{law(under[0]).short} {article}" if under else None

    def kind_of(self, who: str) -> str | None:
        """The person kind that a WHO names: a kind itself, or the kind at a link's end (`sale.buyer`)."""
        if who == STAFF or who in self.people:
            return who
        link, _, end = who.partition(".")
        if link in self.links and end in self.links[link].between:
            return str(self.links[link].between[end].kind)  # type: ignore[index]  # a Name is found by any equal str
        return None
