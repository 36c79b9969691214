"""The five sections of facts: parties, stores, people, links, data. Tables and columns stand here only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from kept.policy import words
from kept.policy.entry import Entry, key
from kept.policy.expression_readers import KindAtColumn, OwnerReader, agreement, test
from kept.policy.fact_readers import Columns, Contacts, References, Table
from kept.policy.grammar import Agreement, At, DeclaredReference, Owner, Sort, Test
from kept.policy.readers import Many, MapOf, Reference, Region, Text, Word
from kept.policy.source import Name


@dataclass(frozen=True, kw_only=True)
class Party(Entry):
    """A company or body, once: us, a processor, a controller, an authority …"""

    verbs: ClassVar = ("role",)

    role: Name = key(Word(words.ROLES, "a role of a party"), required=True)
    title: Name | None = key(Text("the party's name"), name="name")
    also: tuple[Name, ...] = key(Many(Text("another name of the party")), default=())
    contacts: Mapping[Name, Mapping[str, str]] = key(Contacts(), default={})
    serves: tuple[Name, ...] = key(Many(Region()), default=())
    sites: tuple[Name, ...] = key(Many(Text("a host name")), default=())
    authority: Name | None = key(Region())
    region: tuple[Name, ...] = key(Many(Region()), default=())
    safeguard: Name | None = key(Word(words.SAFEGUARDS, "a safeguard for transfers"))
    certified: Agreement | None = key(agreement())
    agreement: Agreement | None = key(agreement())
    hosts: tuple[Name, ...] = key(Many(Text("a host name")), default=())
    group: Name | None = key(Text("the group of companies it belongs to"))

    @property
    def label(self) -> str:
        return str(self.title or self.name.replace("-", " "))


@dataclass(frozen=True, kw_only=True)
class DeclaredStore(Entry):
    """A place that holds data, as the file declares it."""

    verbs: ClassVar = ("at", "kind")

    address: Name | None = key(Text("an address, or the $NAME of a setting that holds it"), name="at")
    kind: Name = key(Word(words.STORE_KINDS, "a kind of store"), default=None)
    region: Name | None = key(Region())
    party: Name | None = key(Reference("parties"))
    roles: Mapping[Name, tuple[Name, ...]] = key(
        MapOf(Many(Reference("purposes")), "a map from database roles to purposes"), default={}
    )
    impersonal: tuple[Name, ...] = key(Many(Text("a table without personal data")), default=())
    references: tuple[DeclaredReference, ...] = key(References(), default=())
    identities: Mapping[Name, Name] = key(
        MapOf(Text("OpenDSR's word for an identity"), "a map from identifiers to OpenDSR's identity types"),
        default={},
    )
    signed_by: Name | None = key(
        Text("a public key, or the $NAME of a setting that holds it"), name="signed-by"
    )
    answers: Name | None = key(Word(words.ANSWERS, "a way to answer"))
    paths: Mapping[Name, Name] = key(
        MapOf(Text("a path"), "a map from OpenDSR's endpoints to paths"), default={}
    )

    @property
    def is_sql(self) -> bool:
        return self.kind in (None, "sql")

    @property
    def sort(self) -> str:
        """The kind, `sql` where none is written."""
        return str(self.kind or "sql")


@dataclass(frozen=True, kw_only=True)
class PersonKind(Entry):
    """A sort of person: where they are found, or which of another kind they are."""

    verbs: ClassVar = ("in", "is")

    table: Name | None = key(Table(), name="in")
    key_columns: tuple[Name, ...] = key(Many(Text("a column")), name="key", default=())
    known_by: Mapping[Name, Name] = key(
        MapOf(Text("a column"), "a map from identifiers to columns"), default={}
    )
    born: Name | None = key(Text("a column with the birth date"))
    region: Name | None = key(Text("a column with the region"))
    began: Name | None = key(Text("a column with a time"))
    ended: Name | None = key(Text("a column with a time"))
    is_a: Name | None = key(Reference("people"), name="is")
    when: Test | None = key(test())
    controller: Name | None = key(Reference("parties"))
    kind: Name | None = key(Word(("person", "organisation"), "person or organisation"))

    @property
    def is_organisation(self) -> bool:
        return self.kind == "organisation"


@dataclass(frozen=True, kw_only=True)
class Link(Entry):
    """A tie between people; with a staff end it is a case."""

    verbs: ClassVar = ("in",)

    table: Name = key(Table(), name="in", required=True)
    between: Mapping[Name, At] = key(
        MapOf(KindAtColumn(), "a map from ends to `kind at column`"), required=True, default={}
    )
    when: Test | None = key(test())
    began: Name | None = key(Text("a column with a time"))
    ended: Name | None = key(Text("a column with a time"))
    erased: Mapping[Name, Name] = key(
        MapOf(
            Word(("remove", "anonymise"), "what happens to the row: remove or anonymise"),
            "a map from ends to remove or anonymise",
        ),
        default={},
    )


@dataclass(frozen=True, kw_only=True)
class Data(Entry):
    """A named sort of personal data: whose, and in which columns. The finest thing a promise names."""

    verbs: ClassVar = ("of",)

    of: tuple[Owner, ...] = key(Many(OwnerReader()), required=True, default=())
    tables: Mapping[Name, Mapping[Name, Sort]] = key(Columns(), name="in", required=True, default={})


FACTS: dict[str, type[Entry]] = {
    "parties": Party,
    "stores": DeclaredStore,
    "people": PersonKind,
    "links": Link,
    "data": Data,
}
