"""The keys every entry may have: its clause, its own sentence, its reason, and who attests it."""

from __future__ import annotations

from typing import Any

from ruamel.yaml.nodes import MappingNode, Node

from kept.policy.entry import Key
from kept.policy.expression_readers import EveryReader
from kept.policy.readers import Many, MapOf, Reader, Reading, Text
from kept.policy.source import Name


class Languages(Reader[dict[Name, Name]]):
    """A sentence, or one per language: `{en: …, fr: …}`."""

    def read(self, node: Node, reading: Reading) -> dict[Name, Name] | None:
        if isinstance(node, MappingNode):
            return MapOf(Text("a sentence"), "a map from languages to sentences").read(node, reading)
        text = reading.scalar(node, "a sentence")
        return None if text is None else {Name("en", text.span): text}

    def schema(self) -> dict[str, Any]:
        text = {"type": "string"}
        what = "its own words: a sentence of a promise, what a fact is called; or one for each language"
        return {"anyOf": [text, {"type": "object", "additionalProperties": text}], "description": what}


EVERYWHERE: tuple[Key, ...] = (
    Key("clause", "clause", Many(Text("the clause of the published text")), False),
    Key("says", "says", Languages(), False),
    Key("why", "why", Text("why it is so"), False),
    Key("attest", "attest", EveryReader(), False),
)
