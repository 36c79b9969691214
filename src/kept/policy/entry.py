"""What an entry of a policy file is: a frozen dataclass whose fields say how they are read.

A section of the file lists one class per verb. A class's fields, each made with `key()`, are at once the model, the
reader and the JSON Schema of that entry; nothing about a key is said twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from kept.policy.grammar import Every
from kept.policy.source import Name, Span

if TYPE_CHECKING:
    from kept.policy.readers import Reader


def key(reader: Reader[Any], *, name: str | None = None, required: bool = False, default: Any = None) -> Any:
    """A field of an entry that the file writes as a key (`name` where Python's own word is taken)."""
    metadata = {"reader": reader, "name": name, "required": required}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Key:
    """One key an entry may have: its word in the file, the attribute that holds it, and how it is read."""

    word: str
    attribute: str
    reader: Reader[Any]
    required: bool


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of any section. `id` is `section.name`; `keys` tells where each key of it was written."""

    verbs: ClassVar[tuple[str, ...]] = ()

    section: str
    name: Name
    span: Span
    keys: Mapping[str, Span]
    clause: tuple[Name, ...] = ()
    says: Mapping[str, str] = dataclasses.field(default_factory=dict)
    why: str | None = None
    attest: Every | None = None

    @property
    def id(self) -> str:
        return f"{self.section}.{self.name}"

    def at(self, word: str) -> Span:
        """Where a key was written, or the entry where it was not."""
        return self.keys.get(word, self.span)

    @classmethod
    def own_keys(cls) -> Iterator[Key]:
        """The keys of this sort of entry, without those that every entry has."""
        for field in dataclasses.fields(cls):
            if "reader" in field.metadata:
                word = field.metadata["name"] or field.name.replace("_", "-")
                yield Key(word, field.name, field.metadata["reader"], field.metadata["required"])


class Promise(Entry):
    """An entry of one of the eight sections of promises."""
