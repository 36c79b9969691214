"""Carrying out portability (GDPR Art. 20): a zip with JSON by a published schema, and a CSV for each table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.resources import files
from typing import ClassVar

from kept.controls.rights.answers.access import Access
from kept.controls.rights.answers.answer import contacts, page, title
from kept.controls.rights.answers.archives import Around, Frame
from kept.controls.rights.answers.forms import Slot, as_json
from kept.controls.rights.answers.portable import exported, portable
from kept.controls.rights.places import Columns
from kept.policy.policy import Policy
from kept.stores.walk import Key, Walk

SCHEMA = "urn:kept:export:1"
"""The version of the form of `data.json`; a form that an older reader could misread gets another number."""
SCHEMA_FILE = "export.schema.json"

PARTLY = "Of rows that are about somebody else too, only what is about you and came from you is here."


class Export(Access):
    """The act `export`: the steps of an access, over what the person may take along."""

    verb: ClassVar = "export"

    def way(self, walk: Walk) -> Walk:
        return exported(self.company.policy, walk)

    def columns(self, kind: str) -> dict[str, Columns]:
        taken = set(portable(self.company.policy, kind).data)
        return {
            store: {
                table: {
                    column: kept
                    for column, names in columns.items()
                    if (kept := tuple(n for n in names if n in taken))
                }
                for table, columns in tables.items()
            }
            for store, tables in super().columns(kind).items()
        }

    def chosen(self, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
        return []  # an answer to access tells it; it is of no use to another company

    def looked(self, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
        return []  # the same

    def passed_on(self, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
        return []  # the same

    def frame(self, kind: str, slots: Mapping[str, tuple[Slot, ...]]) -> Frame:
        return frame(self.company.policy, kind, self.company.clock(), slots)


def schema() -> bytes:
    """The JSON Schema of `data.json`, as it stands in each zip and in `docs/`."""
    return files("kept.controls.rights.answers").joinpath(SCHEMA_FILE).read_bytes()


def frame(policy: Policy, kind: str, at: datetime, slots: Mapping[str, tuple[Slot, ...]]) -> Frame:
    """What stands in every export of people of a kind whose rows are in these slots; `at` is UTC."""
    scope = portable(policy, kind)
    names = tuple(dict.fromkeys(slot.data for group in slots.values() for slot in group))
    left = [{"data": data, "why": why} for data, why in scope.left.items()]
    named = {
        "schema": SCHEMA,
        "policy": policy.name,
        "version": policy.version,
        "at": at,
        "contacts": contacts(policy),
        "left_out": left,
        "note": PARTLY,
    }
    head = b"".join(as_json(key) + b": " + as_json(value) + b",\n" for key, value in named.items())
    return Frame(
        at,
        slots,
        page=page(
            "export.html",
            names,
            policy=policy.name,
            version=policy.version,
            at=at,
            titles=[title(name) for name in names],
            left=[(title(data), why) for data, why in scope.left.items()],
            note=PARTLY,
            contacts=contacts(policy),
        ),
        json=Around(
            b"{\n" + head + b'"data": {\n',
            {name: (_opening(policy, name, slots), b"\n}}") for name in names},
            b"\n}",
        ),
        always=frozenset(names),
        page_has_rows=False,
        besides={SCHEMA_FILE: schema()},
    )


def _opening(policy: Policy, name: str, slots: Mapping[str, tuple[Slot, ...]]) -> bytes:
    """The title of some data and what each of its columns is, by the words of the policy file."""
    sorts = {
        str(place): {str(column): sort.type for column, sort in columns.items()}
        for place, columns in policy.data[name].tables.items()
    }
    fields = {
        slot.place: {column: sorts[slot.place][column] for column in slot.columns}
        for group in slots.values()
        for slot in group
        if slot.data == name
    }
    about = as_json({"title": title(name), "fields": fields}).removesuffix(b"}")
    return as_json(name) + b": " + about + b', "rows": {\n'
