"""The answer to a request for access: a zip with a page to read, JSON for machines, a CSV for each table.

For each kind of data it says what GDPR Art. 15(1) asks: what is held, why, from where, for how long, who gets it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

from ahocorasick_rs import BytesAhoCorasick
from jinja2 import Environment, PackageLoader

from kept.controls.collection.declare import Collecting
from kept.controls.disclosure.declare import Disclosure
from kept.controls.purposes.declare import Purpose
from kept.controls.retention.declare import Retention
from kept.policy.conditions import Conditional
from kept.policy.entry import Promise
from kept.policy.policy import Policy

Row = Mapping[str, object]
Sentence = Callable[[Promise], str]


@dataclass(frozen=True)
class Explanation:
    """What a person is told about one kind of data, as sentences of the policy page."""

    why: tuple[str, ...]
    source: tuple[str, ...]
    until: tuple[str, ...]
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Held:
    """One kind of data held about one person: rows by `store.table`, each row by column."""

    data: str
    explanation: Explanation
    tables: Mapping[str, Sequence[Row]]

    @property
    def rows(self) -> int:
        return sum(len(rows) for rows in self.tables.values())

    @property
    def is_fact(self) -> bool:
        """Whether it is what the record itself says (its times, its ties) rather than data the policy speaks of."""
        return not (self.explanation.until or self.explanation.source)

    @property
    def title(self) -> str:
        """`Account`, `Tie: works for`."""
        return self.data.replace("tie ", "tie: ").replace("-", " ").capitalize()


@dataclass(frozen=True)
class Answer:
    """Everything held about one person."""

    policy: str
    version: date
    at: datetime
    contacts: tuple[Mapping[str, str], ...]
    held: tuple[Held, ...]


def explain(policy: Policy, data: str, sentence: Sentence) -> Explanation:
    """Which promises of the policy speak of a kind of data, or of a tie (`tie LINK`)."""
    why, source, until, recipients = [], [], [], []
    for promise in policy.every_promise():
        ties = (*promise.case, promise.during) if isinstance(promise, Conditional) else ()
        used = isinstance(promise, Purpose) and data in promise.uses
        if used or data in {f"tie {link}" for link in ties}:
            why.append(sentence(promise))
        elif isinstance(promise, Collecting) and data in (*promise.takes, *promise.optional):
            source.append(sentence(promise))
        elif isinstance(promise, Retention) and data in promise.keeps:
            until.append(sentence(promise))
        elif isinstance(promise, Disclosure) and data in promise.gives:
            recipients.append(sentence(promise))
    return Explanation(tuple(why), tuple(source), tuple(until), tuple(recipients))


def contacts(policy: Policy) -> tuple[Mapping[str, str], ...]:
    """How to reach the controllers."""
    return tuple(
        {"controller": party.label, **detail} for party in policy.us() for detail in party.contacts.values()
    )


_PAGES = Environment(
    loader=PackageLoader("kept.controls.rights"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def write(answer: Answer, path: Path) -> None:
    """Write the zip, readable by its owner only; it stands there whole or not at all."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(
                "index.html", _PAGES.get_template("answer.html").render(answer=answer, shown=shown)
            )
            archive.writestr("data.json", json.dumps(_as_json(answer), ensure_ascii=False, indent=1))
            for held in answer.held:
                for table, rows in held.tables.items():
                    archive.writestr(f"{held.data.replace(' ', '-')}/{table}.csv", _as_csv(rows))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def holds(path: Path, values: Sequence[str]) -> bool:
    """Whether an answer has any of these values in it, as text or as JSON writes it; a part of one holds nothing.

    Its files are packed, so that a search of the zip itself would find nothing.
    """
    forms = {
        form.encode() for value in values for form in (value, json.dumps(value, ensure_ascii=False)[1:-1])
    }
    if not forms:
        return False
    finder = BytesAhoCorasick(sorted(forms))
    with zipfile.ZipFile(path) as archive:
        return any(finder.find_matches_as_indexes(archive.read(name)) for name in archive.namelist())


def shown(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)


def _as_json(answer: Answer) -> dict[str, object]:
    return {
        "policy": answer.policy,
        "version": answer.version.isoformat(),
        "at": answer.at.isoformat(),
        "contacts": answer.contacts,
        "data": {
            held.data: {
                **asdict(held.explanation),
                "held": {table: [_plain(row) for row in rows] for table, rows in held.tables.items()},
            }
            for held in answer.held
        },
    }


def _plain(row: Row) -> dict[str, object]:
    return {
        column: value if isinstance(value, str | int | float | bool | None) else shown(value)
        for column, value in row.items()
    }


def _as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.writer(text)
        writer.writerow(rows[0])
        writer.writerows([_harmless(shown(value)) for value in row.values()] for row in rows)
    return text.getvalue()


def _harmless(text: str) -> str:
    """A cell that a spreadsheet won't run as a formula (OWASP, CSV injection)."""
    return (
        "'" + text
        if text[:1] in "=+-@\t\r" and not text.lstrip("+-").replace(".", "", 1).isdecimal()
        else text
    )
