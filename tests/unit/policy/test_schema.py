"""The JSON Schema for editors, and the tables of keys in the guide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from kept.controls.registry import SECTIONS
from kept.policy.schema import schema
from tests.fixtures.policies.write_generated import BAD, GUIDE, ROOT, SCHEMA, guide, schema_text

VALIDATOR = Draft202012Validator(schema(SECTIONS))


def as_an_editor_reads(path: Path) -> Any:
    """YAML as JSON: dates stay text, numbers are numbers."""
    yaml = YAML(typ="safe", pure=True)
    known = yaml.constructor.yaml_constructors  # of the class: everybody's
    yaml.constructor.yaml_constructors = known | {"tag:yaml.org,2002:timestamp": lambda _, node: node.value}
    return yaml.load(path.read_text("utf-8"))


def test_the_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text("utf-8") == schema_text()


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema(SECTIONS))


def test_the_tables_of_keys_are_up_to_date() -> None:
    text = GUIDE.read_text("utf-8")
    assert guide(text) == text


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "examples").glob("*/policy*.yaml")),
    ids=lambda path: path.parent.name + "/" + path.name,
)
def test_an_example_is_valid(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(as_an_editor_reads(path))] == []


TYPICAL = """
    unknown-section unknown-key forgotten-quotes missing-key no-verb mistyped-verb unknown-right unknown-word
    bad-period bad-event bad-limit bad-test bad-end bad-every bad-agreement bad-number unknown-sort bad-name
    region-in-capitals no-elsewhere not-a-map two-grounds missing-header unknown-law empty-list
    unknown-language-version
"""


@pytest.mark.parametrize("name", TYPICAL.split())
def test_a_typical_mistake_is_not_valid(name: str) -> None:
    assert not VALIDATOR.is_valid(as_an_editor_reads(ROOT / BAD / f"{name}.yaml"))
