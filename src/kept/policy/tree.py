"""The tree of a policy file: YAML without what YAML allows and the language does not."""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import Node

from kept.policy.readers import Reading
from kept.policy.source import Source, Span

LENGTH = 1_000_000  # characters; the five policies that shaped the language have 15,000 at most
DEPTH = 20  # maps and lists in each other; the language needs 6


def compose(source: Source, reading: Reading) -> Node | None:
    """The tree of a file; None when a problem was reported that leaves no tree."""
    problems = reading.problems
    if len(source.text) > LENGTH:
        problems.error(
            "too-long",
            f"the file has more than {LENGTH} characters",
            Span(1, 1),
            help="a policy is a few hundred lines",
        )
        return None
    yaml = YAML(typ="rt", pure=True)
    try:
        documents = depth = 0
        for event in yaml.parse(source.text):
            documents += isinstance(event, DocumentStartEvent)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            _refuse(event, documents, reading)
            if depth > DEPTH:
                place = Span(event.start_mark.line + 1, event.start_mark.column + 1)
                problems.error(
                    "too-deep", "brackets stand in brackets too often", place, help="close some of them"
                )
                return None
        if problems.found:
            return None
        root: Node | None = yaml.compose(source.text)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        place = Span(mark.line + 1, mark.column + 1) if mark is not None else Span(1, 1)
        what = wrong.problem or wrong.context
        problems.error(
            "not-yaml", f"this is not YAML: {what}", place, help="check brackets, commas and quotes"
        )
        return None
    except (YAMLError, ValueError) as wrong:
        what = type(wrong).__name__
        problems.error(
            "not-yaml", f"this is not YAML: {what}", Span(1, 1), help="check brackets, commas and quotes"
        )
        return None
    if root is None:
        problems.error("empty", "the file is empty", Span(1, 1), help="start with kept: 1")
    return root


def _refuse(event: Event, documents: int, reading: Reading) -> None:
    """Report what YAML allows and a policy may not have: a reader should never have to look elsewhere."""
    place = Span(event.start_mark.line + 1, event.start_mark.column + 1)
    problems = reading.problems
    if isinstance(event, DocumentStartEvent) and documents > 1:
        problems.error("several-documents", "a policy is one document", place, help="leave `---` out")
    if isinstance(event, AliasEvent):
        problems.error("alias", "aliases are not part of the language", place, help="write it out")
    elif isinstance(event, NodeEvent) and event.anchor is not None:
        problems.error("anchor", "anchors are not part of the language", place, help="write it out")
    if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
        problems.error(
            "tag",
            "tags are not part of the language",
            place,
            help="every value is read as text; leave the tag out",
        )
    if isinstance(event, ScalarEvent) and event.value == "<<" and event.style is None:
        problems.error("merge-key", "merge keys are not part of the language", place, help="write it out")
