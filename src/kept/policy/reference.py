"""The keys of every section as Markdown tables, made from the readers; `docs/policies.md` carries them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kept.policy import words
from kept.policy.conditions import Conditional
from kept.policy.entry import Entry, Key, Promise
from kept.policy.everywhere import EVERYWHERE
from kept.policy.facts import FACTS
from kept.policy.read import HEADER, REQUIRED
from kept.policy.readers import JSON

CONDITIONS = tuple(Conditional.own_keys())


def reference(sections: Sequence[tuple[str, tuple[type[Promise], ...]]]) -> str:
    """One table for the header, one for each sort of entry, one for the keys every entry may have."""
    header = [Key(word, word, reader, word in REQUIRED) for word, reader in HEADER.items()]
    parts = ["### Header", _table(header)]
    for name, kind in FACTS.items():
        parts += [f"### `{name}`", _summary(kind), _table(kind.own_keys())]
    for name, kinds in sections:
        parts.append(f"### `{name}`")
        for kind in kinds:
            conditions = {key.word for key in CONDITIONS} if issubclass(kind, Conditional) else set()
            parts += [_summary(kind), _table(key for key in kind.own_keys() if key.word not in conditions)]
    parts += [
        "### Conditions, in `collection`, `purposes` and `disclosure`",
        _summary(Conditional),
        _table(CONDITIONS),
    ]
    parts += ["### Keys of every entry", _table(EVERYWHERE)]
    sorts = [f"`{sort}`{'' if personal else ' ·'}" for sort, personal in words.TYPES.items()]
    parts += [
        "### Sorts of data",
        "Those with a dot do not point at one person by themselves: `anonymise` leaves them. "
        + ", ".join(sorts),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(kind: type[Entry]) -> str:
    return (kind.__doc__ or "").split("\n")[0]


def _table(keys: Iterable[Key]) -> str:
    rows = ["| key | what it holds | |", "| --- | --- | --- |"]
    rows += [
        f"| `{key.word}` | {_described(key.reader.schema())} | {'required' if key.required else ''} |"
        for key in keys
    ]
    return "\n".join(rows)


def _described(schema: JSON) -> str:
    """A schema in words."""
    if "enum" in schema:
        words = " ".join(f"`{word}`" for word in schema["enum"] if isinstance(word, str))
        return (
            f"{schema.get('description', 'one')}: {words}"
            if len(schema["enum"]) < 16
            else schema.get("description", "")
        )
    if "anyOf" in schema and "description" in schema:
        return str(schema["description"])
    if "anyOf" in schema:
        options = schema["anyOf"]
        arrays = [option for option in options if option.get("type") == "array"]
        if arrays:
            return f"one or a list: {_described(arrays[0]['items'])}"
        by_region = [option for option in options if option.get("required") == ["elsewhere"]]
        if by_region:
            return f"{_described(options[0])}; or one for each region"
        return ", or ".join(filter(None, (_described(option) for option in options)))
    text = str(schema.get("description", "")).replace("|", "\\|")
    if schema.get("type") == "object" and not text:
        return "a map"
    return text or str(schema.get("type", ""))
