"""The JSON Schema (2020-12) of a policy file, for editors; made from the same readers that read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kept.policy.conditions import Conditional
from kept.policy.entry import Entry, Key, Promise
from kept.policy.everywhere import EVERYWHERE
from kept.policy.facts import FACTS
from kept.policy.read import HEADER, REQUIRED
from kept.policy.readers import JSON

NAME = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


SHARED = (*EVERYWHERE, *Conditional.own_keys())


def schema(sections: Sequence[tuple[str, tuple[type[Promise], ...]]]) -> JSON:
    """The schema of a whole file; `sections` are the promises' sections and what stands in each.

    It knows shapes, words and small expressions. Names that dangle and what the law says are `kept check`'s.
    """
    properties: JSON = {word: reader.schema() for word, reader in HEADER.items()}
    for name, kind in FACTS.items():
        properties[name] = _section((kind,))
    for name, kinds in sections:
        properties[name] = _section(kinds)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {key.word: key.reader.schema() for key in SHARED},
        "title": "A policy that Kept can keep",
        "type": "object",
        "properties": properties,
        "required": list(REQUIRED),
        "additionalProperties": False,
    }


def _section(kinds: tuple[type[Entry], ...]) -> JSON:
    entries = [_entry(kind) for kind in kinds]
    entry = entries[0] if len(entries) == 1 else {"anyOf": entries}
    names: Any = getattr(kinds[0], "entry_names", None)
    section: JSON = {"type": ["object", "null"]}
    if names:
        return {**section, "properties": dict.fromkeys(names, entry), "additionalProperties": False}
    return {**section, "propertyNames": {"pattern": NAME}, "additionalProperties": entry}


def _entry(kind: type[Entry]) -> JSON:
    own = list(kind.own_keys())
    keys: list[Key] = [*own, *EVERYWHERE]
    entry: JSON = {
        "title": kind.__name__,
        "description": (kind.__doc__ or "").split("\n")[0],
        "type": "object" if kind.verbs else ["object", "null"],
        "properties": {key.word: _shared(key) for key in keys},
        "required": [key.word for key in own if key.required],
        "additionalProperties": False,
    }
    optional = [verb for verb in kind.verbs if verb not in entry["required"]]
    if len(optional) == len(kind.verbs) and optional:
        entry["anyOf"] = [{"required": [verb]} for verb in optional]
    return entry


def _shared(key: Key) -> JSON:
    """A key's schema; those that many entries have stand once."""
    mine = key.reader.schema()
    shared = any(other.word == key.word and other.reader.schema() == mine for other in SHARED)
    return {"$ref": f"#/$defs/{key.word}"} if shared else mine
