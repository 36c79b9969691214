"""Reads a policy file: YAML, then entries by their verbs, then names. Every mistake of the file in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from kept.laws.law import LAWS
from kept.policy.entry import Entry, Key, Promise
from kept.policy.everywhere import EVERYWHERE
from kept.policy.expression_readers import DateReader
from kept.policy.facts import FACTS, Data, DeclaredStore, Link, Party, PersonKind
from kept.policy.names import resolve
from kept.policy.policy import Policy
from kept.policy.readers import NAME, Many, Reader, Reading, Text, Word
from kept.policy.source import Name, Problems, Source, Span, did_you_mean, nearest
from kept.policy.tree import compose

Sections = Mapping[str, tuple[type[Promise], ...]]

E = TypeVar("E", bound=Entry)


HEADER: Mapping[str, Reader[Any]] = {
    "kept": Word(("1",), "a version of the policy language"),
    "policy": Text("what the policy is called"),
    "version": DateReader("the version's date, such as 2026-03-01"),
    "laws": Many(Word(LAWS, "a law Kept knows")),
    "published": Text("where the page is published"),
    "timezone": Text("a time zone such as Europe/Brussels"),
}
REQUIRED = ("kept", "policy", "version", "laws")


def read(
    source: Source, sections: Sequence[tuple[str, tuple[type[Promise], ...]]]
) -> tuple[Policy | None, Problems]:
    """The policy in a source, None where errors leave nothing to build on; and every problem found."""
    reading = Reading(source)
    root = compose(source, reading)
    if root is None:
        return None, reading.problems
    kinds: dict[str, tuple[type[Entry], ...]] = {name: (kind,) for name, kind in FACTS.items()}
    kinds.update(sections)
    header: dict[str, Any] = {}
    entries: dict[str, dict[str, Entry]] = {name: {} for name in kinds}
    top = reading.pairs(root, "a policy: a map of a header and sections")
    sections_at: dict[int, str] = {}
    for word, node in top:
        if word in HEADER:
            value = HEADER[word].read(node, reading)
            if value is not None:
                header[str(word)] = value
        elif word in kinds:
            sections_at[word.span.line] = str(word)
            _section(str(word), node, kinds[word], entries[word], reading)
        else:
            known = [*HEADER, *kinds]
            near = nearest(word, kinds)
            if near is not None and near not in {name for name, _ in top}:
                sections_at[word.span.line] = near
                _section(near, node, kinds[near], entries[near], reading)  # read on as what was meant
            reading.problems.error(
                "unknown-section",
                f'"{word}" is not a section of a policy',
                word.span,
                help=did_you_mean(word, known, limit=20),
            )
    for needed in REQUIRED:
        if needed not in {name for name, _ in top}:
            reading.problems.error(
                "missing-header",
                f"`{needed}` is missing",
                Span(1, 1),
                help="start the file with kept: 1, policy, version and laws",
            )
    zone = _zone(header.get("timezone"), reading)
    policy = Policy(
        source=source,
        name=str(header.get("policy", "")),
        version=header.get("version", date.min),
        laws=tuple(str(law) for law in header.get("laws", ())),
        published=header.get("published"),
        timezone=zone,
        parties=_only(Party, entries["parties"]),
        stores=_only(DeclaredStore, entries["stores"]),
        people=_only(PersonKind, entries["people"]),
        links=_only(Link, entries["links"]),
        data=_only(Data, entries["data"]),
        promises={name: _only(Promise, entries[name]) for name, _ in sections},
    )
    resolve(policy, reading)
    wrong = {_section_of(problem.span.line, sections_at) for problem in reading.problems.errors}
    return replace(policy, incomplete=frozenset(section for section in wrong if section)), reading.problems


def _section_of(line: int, sections_at: Mapping[int, str]) -> str | None:
    """Which section a line stands in."""
    begun = [start for start in sections_at if start <= line]
    return sections_at[max(begun)] if begun else None


def _only(kind: type[E], entries: Mapping[str, Entry]) -> dict[str, E]:
    return {name: entry for name, entry in entries.items() if isinstance(entry, kind)}


def _zone(name: Name | None, reading: Reading) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        assert name is not None
        reading.problems.error(
            "unknown-timezone",
            f'"{name}" is not a time zone',
            name.span,
            help="write one such as Europe/Brussels",
        )
        return ZoneInfo("UTC")


def _section(
    section: str, node: Node, kinds: tuple[type[Entry], ...], into: dict[str, Entry], reading: Reading
) -> None:
    if isinstance(node, ScalarNode) and node.value == "":
        return  # a section with nothing in it yet
    for name, child in reading.pairs(node, "a map of entries"):
        if not NAME.fullmatch(name):
            reading.problems.error(
                "bad-name",
                f'"{name}" is not a name',
                name.span,
                help="names are small letters and digits, with hyphens between words",
            )
            continue
        names: tuple[str, ...] | None = getattr(kinds[0], "entry_names", None)
        if names is not None and name not in names:
            reading.problems.error(
                "unknown-word",
                f'"{name}" is not a right',
                name.span,
                help=did_you_mean(name, names, limit=12),
            )
            continue
        entry = _entry(section, name, child, kinds, reading)
        if entry is not None:
            into[name] = entry
        else:
            reading.broken.setdefault(section, []).append(name)


def _entry(
    section: str, name: Name, node: Node, kinds: tuple[type[Entry], ...], reading: Reading
) -> Entry | None:
    if not kinds[0].verbs and node.value in ("", []):
        pairs: list[tuple[Name, Node]] = []
    else:
        if not isinstance(node, MappingNode):
            reading.problems.error(
                "not-a-map",
                f"`{name}` must be a map",
                reading.span(node),
                help=f"write {name}: {{{_example(kinds)}}}",
            )
            return None
        pairs = reading.pairs(node, "a map")
    kind = _branch(section, name, pairs, kinds, reading)
    if kind is None:
        return None
    keys = {key.word: key for key in (*kind.own_keys(), *EVERYWHERE)}
    values: dict[str, Any] = {}
    complete = True
    for word, child in pairs:
        known = keys.get(word)
        if known is None:
            _unknown_key(word, child, keys, section, reading)
            continue
        value = known.reader.read(child, reading)
        if value is not None:
            values[known.attribute] = value
            reading.references.extend(known.reader.references(value))
        elif known.required:
            complete = False
    for known in keys.values():
        if known.required and known.word not in {word for word, _ in pairs}:
            reading.problems.error(
                "missing-key", f"`{name}` lacks `{known.word}`", name.span, help=f"{_what(known)}"
            )
            complete = False
    if not complete:
        return None
    places = {str(word): reading.span(child) for word, child in pairs}
    return kind(section=section, name=name, span=name.span, keys=places, **values)


def _branch(
    section: str, name: Name, pairs: list[tuple[Name, Node]], kinds: tuple[type[Entry], ...], reading: Reading
) -> type[Entry] | None:
    """The sort of entry its verb makes it; two verbs or none is a problem of its own."""
    written = {str(word) for word, _ in pairs}
    matching = [kind for kind in kinds if not kind.verbs or written & set(kind.verbs)]
    if len(matching) == 1:
        return matching[0]
    verbs = [verb for kind in kinds for verb in kind.verbs]
    if matching:
        both = sorted(written & set(verbs))
        reading.problems.error(
            "two-verbs",
            f"`{name}` has two verbs: {' and '.join(both)}",
            name.span,
            help="make it two entries",
        )
        return None
    close = next((word for word, _ in pairs if did_you_mean(word, verbs).startswith("did")), None)
    if close is not None:
        reading.problems.error(
            "unknown-key", f'"{close}" is not a key of {section}', close.span, help=did_you_mean(close, verbs)
        )
        return None
    listed = ", ".join(f"`{verb}`" for verb in verbs)
    reading.problems.error(
        "no-verb",
        f"`{name}` does not say what it promises" if section not in FACTS else f"`{name}` says too little",
        name.span,
        help=f"an entry of {section} has {'one of ' if len(verbs) > 1 else ''}{listed}",
    )
    return None


def _unknown_key(word: Name, child: Node, keys: Iterable[str], section: str, reading: Reading) -> None:
    empty = isinstance(child, ScalarNode) and child.value == "" and child.style is None
    if empty:
        help = f'did you forget quotes? A comma inside a text ends it: write "… , {word}" in quotes'
    else:
        help = did_you_mean(word, keys, limit=4)
    reading.problems.error("unknown-key", f'"{word}" is not a key of {section}', word.span, help=help)


def _what(known: Key) -> str:
    text = known.reader.schema().get("description")
    return f"add `{known.word}`" + (f": {text}" if text else "")


def _example(kinds: tuple[type[Entry], ...]) -> str:
    return f"{kinds[0].verbs[0]}: …" if kinds[0].verbs else "…"
