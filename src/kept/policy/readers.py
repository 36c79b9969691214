"""How each sort of value in a policy file is read, and what its JSON Schema is.

A reader turns a node of the file into a value, or reports a problem and answers None; reading never stops at the
first mistake. `references` tells which names a value holds, so that a second pass can look them all up.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from kept.policy import words
from kept.policy.source import Name, Problems, Source, Span, did_you_mean

T = TypeVar("T")

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
JSON = dict[str, Any]


class Reading:
    """One file being read: its source, and the problems found so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems = Problems()
        self.references: list[tuple[Name, tuple[str, ...]]] = []  # every name used, and what it may name
        self.broken: dict[str, list[Name]] = {}  # entries that could not be read, by section

    def span(self, node: Node) -> Span:
        start, end = node.start_mark, node.end_mark
        same_line = end.line == start.line and isinstance(node, ScalarNode)
        length = max(1, end.column - start.column) if same_line else 1
        return Span(start.line + 1, start.column + 1, length)

    def part(self, node: Node, offset: int = 0, length: int | None = None) -> Span:
        """The place of a stretch of a scalar's text, inside its quotes; the scalar where it has several lines."""
        span = self.span(node)
        if node.start_mark.line != node.end_mark.line or not isinstance(node, ScalarNode):
            return span
        quote = 1 if node.style in ("'", '"') else 0
        inside = span.length - 2 * quote
        offset = max(0, min(offset, inside - 1))
        length = inside - offset if length is None else min(length, inside - offset)
        return Span(span.line, span.column + quote + offset, max(1, length))

    def name(self, node: ScalarNode) -> Name:
        return Name(str(node.value).strip(), self.part(node))

    def scalar(self, node: Node, expected: str) -> Name | None:
        """The text of a scalar; a list, a map or nothing at all is a problem."""
        if not isinstance(node, ScalarNode):
            self.problems.error(
                "not-text",
                f"expected {expected}, found a list or a map",
                self.span(node),
                help="write one value, without brackets",
            )
            return None
        if node.value == "" and node.style is None:
            self.problems.error(
                "empty",
                f"expected {expected}, found nothing",
                self.span(node),
                help="write it, or leave the key out",
            )
            return None
        return self.name(node)

    def items(self, node: Node) -> Sequence[Node]:
        """The items of a list; one may stand where a list may."""
        return node.value if isinstance(node, SequenceNode) else [node]

    def pairs(self, node: Node, expected: str) -> list[tuple[Name, Node]]:
        """The keys and values of a map, each key once."""
        if not isinstance(node, MappingNode):
            self.problems.error(
                "not-a-map", f"expected {expected}", self.span(node), help="write {key: value, …}"
            )
            return []
        pairs: list[tuple[Name, Node]] = []
        seen: dict[str, Span] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.problems.error(
                    "not-text", "a key must be one word", self.span(key), help="write {key: value, …}"
                )
                continue
            name = self.name(key)
            if name in seen:
                self.problems.error(
                    "duplicate-key",
                    f'"{name}" stands here twice; the first is on line {seen[name].line}',
                    name.span,
                    help="keep one of the two",
                )
                continue
            seen[name] = name.span
            pairs.append((name, value))
        if not node.value:
            self.problems.error(
                "empty", f"expected {expected}, found an empty one", self.span(node), help="leave the key out"
            )
        return pairs


class Reader(ABC, Generic[T]):
    """Reads one sort of value."""

    @abstractmethod
    def read(self, node: Node, reading: Reading) -> T | None:
        """The value, or None when a problem was reported."""

    @abstractmethod
    def schema(self) -> JSON:
        """JSON Schema (2020-12) of what may be written."""

    def references(self, value: T) -> Iterator[tuple[Name, tuple[str, ...]]]:
        """The names in a value, each with the sorts of thing it may name."""
        return iter(())


class Text(Reader[Name]):
    """Any text."""

    def __init__(self, what: str = "some text") -> None:
        self.what = what

    def read(self, node: Node, reading: Reading) -> Name | None:
        return reading.scalar(node, self.what)

    def schema(self) -> JSON:
        return {"type": ["string", "number"], "minLength": 1, "description": self.what}


class Word(Reader[Name]):
    """One word of a closed list."""

    def __init__(self, known: Sequence[str], what: str) -> None:
        self.known = tuple(known)
        self.what = what

    def read(self, node: Node, reading: Reading) -> Name | None:
        word = reading.scalar(node, f"{self.what}")
        if word is not None and word not in self.known:
            reading.problems.error(
                "unknown-word",
                f'"{word}" is not {self.what}',
                word.span,
                help=did_you_mean(word, self.known, limit=16),
            )
            return None
        return word

    def schema(self) -> JSON:
        numbers = [int(word) for word in self.known if word.isdecimal()]  # an editor reads `1` as a number
        return {"enum": [*self.known, *numbers], "description": self.what}


class Region(Reader[Name]):
    """`eea`, `uk`, `us-ca`, `elsewhere`, or a country by its ISO 3166 code in small letters."""

    def read(self, node: Node, reading: Reading) -> Name | None:
        region = reading.scalar(node, "a region")
        if region is not None and region not in words.regions():
            near = region.lower() if region.lower() in words.regions() else None
            reading.problems.error(
                "unknown-region",
                f'"{region}" is not a region',
                region.span,
                help=f'did you mean "{near}"?'
                if near
                else "a region is eea, uk, elsewhere, or an ISO 3166 code in small letters such as us-ca",
            )
            return None
        return region

    def schema(self) -> JSON:
        pattern = "^(elsewhere|eea|uk|[a-z]{2}(-[a-z0-9]{1,3})?)$"
        return {
            "type": "string",
            "pattern": pattern,
            "description": "a region such as `eea`, `uk` or `us-ca`",
        }


class Reference(Reader[Name]):
    """A name declared elsewhere in the file; `sorts` are what it may name."""

    def __init__(self, *sorts: str) -> None:
        self.sorts = sorts

    def read(self, node: Node, reading: Reading) -> Name | None:
        return reading.scalar(node, "a name")

    def schema(self) -> JSON:
        called = " or ".join(words.CALLED.get(sort, f"`{sort}`") for sort in self.sorts)
        return {"type": "string", "description": f"the name of {called}"}

    def references(self, value: Name) -> Iterator[tuple[Name, tuple[str, ...]]]:
        yield value, self.sorts


class Many(Reader[tuple[T, ...]]):
    """A list, or one item without the brackets."""

    def __init__(self, item: Reader[T]) -> None:
        self.item = item

    def read(self, node: Node, reading: Reading) -> tuple[T, ...] | None:
        values: list[T] = []
        seen: set[str] = set()
        for part in reading.items(node):
            value = self.item.read(part, reading)
            if value is None:
                continue
            if str(value) in seen:
                reading.problems.error(
                    "twice", f'"{value}" is listed twice', reading.span(part), help="leave one out"
                )
            seen.add(str(value))
            values.append(value)
        if not values and isinstance(node, SequenceNode) and not node.value:
            reading.problems.error(
                "empty", "an empty list says nothing", reading.span(node), help="leave the key out"
            )
        return tuple(values) or None

    def schema(self) -> JSON:
        item = self.item.schema()
        return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}

    def references(self, value: tuple[T, ...]) -> Iterator[tuple[Name, tuple[str, ...]]]:
        for part in value:
            yield from self.item.references(part)


class MapOf(Reader[dict[Name, T]]):
    """A map from free keys to values of one sort."""

    def __init__(self, inner: Reader[T], what: str, *, sorts: tuple[str, ...] = ()) -> None:
        self.inner = inner
        self.what = what
        self.sorts = sorts

    def read(self, node: Node, reading: Reading) -> dict[Name, T] | None:
        result = {}
        for name, child in reading.pairs(node, self.what):
            value = self.inner.read(child, reading)
            if value is not None:
                result[name] = value
        return result or None

    def schema(self) -> JSON:
        return {"type": "object", "additionalProperties": self.inner.schema(), "description": self.what}

    def references(self, value: dict[Name, T]) -> Iterator[tuple[Name, tuple[str, ...]]]:
        for name, inner in value.items():
            if self.sorts:
                yield name, self.sorts
            yield from self.inner.references(inner)


class Regional(Reader[dict[str, T]]):
    """One value for everybody, or a map by region with an `elsewhere`; read as a map either way."""

    def __init__(self, inner: Reader[T]) -> None:
        self.inner = inner

    def read(self, node: Node, reading: Reading) -> dict[str, T] | None:
        if not isinstance(node, MappingNode):
            value = self.inner.read(node, reading)
            return None if value is None else {"elsewhere": value}
        result: dict[str, T] = {}
        for region, child in reading.pairs(node, "a map by region"):
            if region not in words.regions():
                reading.problems.error(
                    "unknown-region",
                    f'"{region}" is not a region',
                    region.span,
                    help="a region is eea, uk, elsewhere, or an ISO 3166 code in small letters such as us-ca",
                )
                continue
            value = self.inner.read(child, reading)
            if value is not None:
                result[region] = value
        if "elsewhere" not in result:
            reading.problems.error(
                "no-elsewhere",
                "a map by region needs an `elsewhere`",
                reading.span(node),
                help="say what holds for everybody the other regions leave out",
            )
            if result:
                result["elsewhere"] = next(iter(result.values()))  # told; later passes need one
        return result or None

    def schema(self) -> JSON:
        inner = self.inner.schema()
        by_region = {"type": "object", "additionalProperties": inner, "required": ["elsewhere"]}
        return {"anyOf": [inner, by_region]}

    def references(self, value: dict[str, T]) -> Iterator[tuple[Name, tuple[str, ...]]]:
        for inner in value.values():
            yield from self.inner.references(inner)
