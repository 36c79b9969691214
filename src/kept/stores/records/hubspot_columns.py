"""What a column of the policy file is in HubSpot: a property, or what HubSpot keeps beside the properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kept.stores.records.store import Row

PEOPLE: Final = "contacts"

# Columns that are no property of HubSpot's: where a record carries them, or which property is meant.
RECORD: Final = {"id": "id", "created_at": "createdAt", "updated_at": "updatedAt"}
OWNER: Final = "contact_id"
_SAME: Final[Mapping[str, str]] = {"owner_id": "hubspot_owner_id", "closed_at": "closedate"}
_NAME: Final = ("firstname", "lastname")  # a contact's `name`: HubSpot shows both as one


def added(table: str, properties: frozenset[str]) -> frozenset[str]:
    """The columns a table has besides HubSpot's own properties."""
    same = {ours for ours, theirs in _SAME.items() if theirs in properties}
    return frozenset(same | set(RECORD) | ({"name"} if table == PEOPLE else {OWNER}))


def meant(table: str, column: str) -> Sequence[str]:
    """The properties that a column is made of; none where it is no property."""
    if column in RECORD or (column == OWNER and table != PEOPLE):
        return ()
    if column == "name" and table == PEOPLE:
        return _NAME
    return (_SAME.get(column, column),)


def row_of(table: str, record: Mapping[str, Any], columns: Sequence[str], owner: str) -> Row:
    """The columns asked for, of a record that HubSpot sent."""
    row: dict[str, object] = {}
    for column in columns:
        if column in RECORD:
            row[column] = record.get(RECORD[column])
        elif column == OWNER and table != PEOPLE:
            row[column] = owner
        elif column == "name" and table == PEOPLE:
            parts = [str(value_of(record, part) or "") for part in _NAME]
            row[column] = " ".join(part for part in parts if part) or None
        else:
            row[column] = value_of(record, _SAME.get(column, column))
    return row


def value_of(record: Mapping[str, Any], name: str) -> Any:
    """A property of a record; None where it has none."""
    return (record.get("properties") or {}).get(name)
