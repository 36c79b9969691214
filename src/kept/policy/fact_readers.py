"""Readers of what facts alone hold: tables and columns, references between them, contacts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ruamel.yaml.nodes import MappingNode, Node

from kept.policy import words
from kept.policy.expression_readers import test
from kept.policy.grammar import DeclaredReference, Sort, Test
from kept.policy.readers import JSON, NAME, MapOf, Reader, Reading
from kept.policy.source import Name, Span, did_you_mean


class SortReader(Reader[Sort]):
    """A sort of data from the list, or `file in STORE`."""

    def read(self, node: Node, reading: Reading) -> Sort | None:
        text = reading.scalar(node, "a sort of data")
        if text is None:
            return None
        if text.startswith("file in "):
            store = text.removeprefix("file in ").strip()
            return Sort("file", Name(store, Span(text.span.line, text.span.column + 8, len(store))))
        if text not in words.TYPES:
            reading.problems.error(
                "unknown-sort",
                f'"{text}" is not a sort of data',
                text.span,
                help=did_you_mean(text, words.TYPES),
            )
            return None
        return Sort(text)

    def schema(self) -> JSON:
        return {
            "anyOf": [{"enum": list(words.TYPES)}, {"type": "string", "pattern": "^file in [a-z][a-z0-9-]*$"}]
        }

    def references(self, value: Sort) -> Iterator[tuple[Name, tuple[str, ...]]]:
        if value.store is not None:
            yield value.store, ("stores",)


class Table(Reader[Name]):
    """`store.table`: a table of a declared store."""

    def read(self, node: Node, reading: Reading) -> Name | None:
        name = reading.scalar(node, "a table such as `app.users`")
        return name if name is not None and check_table(name, reading) else None

    def schema(self) -> JSON:
        return {"type": "string", "pattern": r"^[a-z][a-z0-9-]*\..+$", "description": "store.table"}

    def references(self, value: Name) -> Iterator[tuple[Name, tuple[str, ...]]]:
        yield store_of(value), ("stores",)


def check_table(name: Name, reading: Reading) -> bool:
    store, dot, table = name.partition(".")
    if not dot or not NAME.fullmatch(store) or not table:
        reading.problems.error(
            "not-a-table", f'"{name}" is not a table', name.span, help="write store.table, such as app.users"
        )
        return False
    return True


def store_of(table: Name) -> Name:
    """The store of `store.table`, with its place in the file."""
    store = table.partition(".")[0]
    return Name(store, Span(table.span.line, table.span.column, len(store)))


class Columns(Reader[dict[Name, dict[Name, Sort]]]):
    """`{app.users: {email: email}, …}`: tables, their columns, and the sort of data in each."""

    def __init__(self) -> None:
        self.inner = MapOf(SortReader(), "a map from columns to sorts of data")

    def read(self, node: Node, reading: Reading) -> dict[Name, dict[Name, Sort]] | None:
        result = {}
        for table, child in reading.pairs(node, "a map from tables to their columns"):
            columns = self.inner.read(child, reading)
            if check_table(table, reading) and columns is not None:
                result[table] = columns
        return result or None

    def schema(self) -> JSON:
        what = "tables, their columns, and the sort of data in each"
        inner = self.inner.schema()
        return {"type": "object", "additionalProperties": inner, "minProperties": 1, "description": what}

    def references(self, value: dict[Name, dict[Name, Sort]]) -> Iterator[tuple[Name, tuple[str, ...]]]:
        for table, columns in value.items():
            yield store_of(table), ("stores",)
            yield from self.inner.references(columns)


def _side(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    """`app.items.[a, b]` or `app.events.payload->user` as table, columns, path."""
    composite = re.fullmatch(r"([a-z][a-z0-9-]*\..+)\.\[([^\]]+)\]", text)
    if composite:
        return composite[1], tuple(part.strip() for part in composite[2].split(",")), ()
    table, dot, column = text.rpartition(".")
    if not dot or "." not in table or not column:
        return None
    name, *path = (part.strip() for part in column.split("->"))
    return table, (name,), tuple(path)


class References(Reader[tuple[DeclaredReference, ...]]):
    """`{app.visits.email: app.users.email}`; a value may be `{to: …, when: TEST}`."""

    HELP = (
        "write app.items.order_id: app.orders.id, with column->path inside JSON, "
        'or "app.items.[a, b]" for a composite key'
    )

    def read(self, node: Node, reading: Reading) -> tuple[DeclaredReference, ...] | None:
        result = []
        for name, child in reading.pairs(node, "a map from columns to the columns they refer to"):
            when: Test | None = None
            target: Name | None
            if isinstance(child, MappingNode):
                pairs = reading.pairs(child, "{to: …, when: …}")
                parts = {str(word): node for word, node in pairs}
                for word, _ in pairs:
                    if word not in ("to", "when"):
                        reading.problems.error(
                            "unknown-key", f'"{word}" is not a key here', word.span, help="known: to, when"
                        )
                target = reading.scalar(parts["to"], "a column") if "to" in parts else None
                if "when" in parts:
                    when = test().read(parts["when"], reading)
            else:
                target = reading.scalar(child, "a column such as app.users.id")
            left, right = _side(name), _side(target) if target is not None else None
            if left is None or right is None or target is None or right[2] or len(left[1]) != len(right[1]):
                reading.problems.error(
                    "bad-reference", f'"{name}" does not say what it refers to', name.span, help=self.HELP
                )
                continue
            result.append(
                DeclaredReference(
                    Name(left[0], name.span), left[1], Name(right[0], target.span), right[1], left[2], when
                )
            )
        return tuple(result) or None

    def schema(self) -> JSON:
        target = {"type": "string"}
        conditional = {"type": "object", "properties": {"to": target, "when": target}, "required": ["to"]}
        what = "keys the database does not declare: `app.visits.email: app.users.email`"
        return {
            "type": "object",
            "additionalProperties": {"anyOf": [target, conditional]},
            "description": what,
        }

    def references(self, value: tuple[DeclaredReference, ...]) -> Iterator[tuple[Name, tuple[str, ...]]]:
        for reference in value:
            yield store_of(reference.table), ("stores",)
            yield store_of(reference.to), ("stores",)


CONTACT_KEYS = ("name", "title", "email", "phone", "post")


class Contacts(Reader[dict[Name, Mapping[str, str]]]):
    """`{privacy: {email: …}, officer: {name: …, title: …}}`."""

    def read(self, node: Node, reading: Reading) -> dict[Name, Mapping[str, str]] | None:
        result: dict[Name, Mapping[str, str]] = {}
        for name, child in reading.pairs(node, "a map of contacts"):
            contact = {}
            for word, value in reading.pairs(child, "a map of a contact's details"):
                if word not in CONTACT_KEYS:
                    reading.problems.error(
                        "unknown-key",
                        f'"{word}" is not a detail of a contact',
                        word.span,
                        help=did_you_mean(word, CONTACT_KEYS),
                    )
                    continue
                text = reading.scalar(value, "some text")
                if text is not None:
                    contact[str(word)] = str(text)
            result[name] = contact
        return result or None

    def schema(self) -> JSON:
        properties = {word: {"type": "string"} for word in CONTACT_KEYS}
        contact = {"type": "object", "properties": properties, "additionalProperties": False}
        what = f"contacts by name, each with any of: {', '.join(CONTACT_KEYS)}"
        return {"type": "object", "additionalProperties": contact, "description": what}
