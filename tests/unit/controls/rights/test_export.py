"""The published form of an export."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from kept.controls.registry import load
from kept.controls.rights.answers.archives import Archives, slots_of
from kept.controls.rights.answers.export import SCHEMA, frame, schema

ROOT = Path(__file__).parents[4]


def test_the_published_schema_is_the_one_in_the_package() -> None:
    assert (ROOT / "docs/export.schema.json").read_bytes() == schema()
    parsed = json.loads(schema())
    jsonschema.Draft202012Validator.check_schema(parsed)
    assert parsed["$id"] == parsed["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize(
    "company", ["lucent-commerce", "lucent-marketplace", "lumnar", "sitelucent", "lumensol"]
)
def test_every_export_of_the_examples_is_in_that_form(tmp_path: Path, company: str) -> None:
    policy = load(ROOT / "examples" / company / "policy.yaml")
    validator = jsonschema.Draft202012Validator(
        json.loads(schema()), format_checker=jsonschema.FormatChecker(formats=["date"])
    )
    for kind in policy.people:
        names = {
            str(table): {str(column): (str(name),) for column in columns}
            for name, data in policy.data.items()
            for table, columns in data.tables.items()
        }
        at = datetime(2026, 1, 31, tzinfo=UTC)
        made = frame(policy, str(kind), at, slots_of(names))
        with Archives(made, tmp_path, {("1",): "full", ("2",): "empty"}) as archives:
            for place, columns in names.items():
                archives.take(place, [(("1",), dict.fromkeys(columns, at))] * 2)
            archives.write()
        for request in ("full", "empty"):
            told = json.loads(unzipped(tmp_path / f"{request}.zip")["data.json"])
            validator.validate(told)
            assert datetime.fromisoformat(told["at"]) == at
            assert unzipped(tmp_path / f"{request}.zip")["export.schema.json"] == schema()


def test_a_form_that_is_not_the_published_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": "urn:kept:export:2"}, json.loads(schema()))


def unzipped(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
