"""The register of disclosures: what left the house, for whom, about whom, on which ground and under which safeguard.

A row is written before anything leaves; the ledger gets the same, so that a row taken out of the register is missed
(`compared`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from kept.company import Company
from kept.controls.refused import Refused
from kept.state.database import insert
from kept.state.uses import disclosures

PART: Final = 500  # rows of one statement: 16 values each, below what SQLite binds
_SEAL: Final = "evidence of a disclosure"
ACT: Final = "disclosed"
UNDER_WAY: Final = timedelta(minutes=1)  # between a row and its entry, while somebody is writing both


@dataclass(frozen=True)
class Entry:
    """One row to be: about one person (by pseudonym), or about a group of `people` of whom nobody is named."""

    disclosure: str
    recipient: str
    purpose: str
    ground: str
    fields: tuple[str, ...]
    way: str
    call: str
    pseudonym: str | None = None
    people: int = 1
    safeguard: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    by: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Row:
    """One row as it stands. `evidence` is None where there is none; it opens only with the company's keys."""

    number: int
    disclosure: str
    recipient: str
    purpose: str
    ground: str
    safeguard: str | None
    pseudonym: str | None
    fields: tuple[str, ...]
    people: int
    evidence: Mapping[str, str] | None
    by: str | None
    way: str
    policy: str
    at: datetime

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "disclosure": self.disclosure,
            "recipient": self.recipient,
            "purpose": self.purpose,
            "ground": self.ground,
            "safeguard": self.safeguard,
            "person": self.pseudonym,
            "fields": list(self.fields),
            "people": self.people,
            "evidence": dict(self.evidence) if self.evidence is not None else None,
            "by": self.by,
            "way": self.way,
            "policy": self.policy,
            "at": self.at.isoformat(timespec="seconds"),
        }


def enter(
    company: Company, entries: Sequence[Entry], along: Callable[[Connection], None] | None = None
) -> bool:
    """Write rows, durably, and note each on the ledger; whether they stood there already.

    The same call again (its id, with the same people and the same `digest`) is one disclosure; another under the id of
    one that was is Refused as `replayed`. The statements are as many for one as for PART entries. `along` writes in
    the same transaction.
    """
    at, policy = company.clock().astimezone(UTC).isoformat(), company.policy.source.digest
    sealed: dict[str, bytes] = {}
    rows: list[dict[str, Any]] = []
    for entry in entries:
        text = json.dumps(dict(entry.evidence), sort_keys=True, ensure_ascii=False) if entry.evidence else ""
        if text and text not in sealed:
            sealed[text] = company.keys.seal(_SEAL, text.encode("utf-8", "surrogatepass"))
        rows.append(
            {
                "disclosure": entry.disclosure,
                "recipient": entry.recipient,
                "purpose": entry.purpose,
                "ground": entry.ground,
                "safeguard": entry.safeguard,
                "pseudonym": entry.pseudonym,
                "fields": " ".join(entry.fields),
                "people": entry.people,
                "evidence": sealed.get(text),
                "by": entry.by,
                "way": entry.way,
                "policy": policy,
                "at": at,
                "call": entry.call,
                "digest": entry.digest,
            }
        )
    calls = list(dict.fromkeys(entry.call for entry in entries))
    mine = {(entry.call, entry.pseudonym, entry.digest) for entry in entries}
    stand = select(disclosures.c.call, disclosures.c.pseudonym, disclosures.c.digest)
    stand = stand.where(disclosures.c.call.in_(calls))
    added = 0
    with company.state.write() as connection:
        before = {
            (row.call, row.pseudonym) for row in connection.execute(stand)
        }  # a group's has no pseudonym to clash
        new = [row for row in rows if (row["call"], row["pseudonym"]) not in before]
        for start in range(0, len(new), PART):
            adding = insert(connection, disclosures).values(new[start : start + PART])
            wrote = adding.on_conflict_do_nothing().returning(disclosures.c.number)
            added += len(connection.execute(wrote).all())
        after = {tuple(row) for row in connection.execute(stand)}
        # Either all of it was new and stands alone, or all of it stood there: whoever wrote it, and however lately.
        if not mine <= after or added not in (0, len(rows)) or (added and len(after) > len(rows)):
            raise Refused(
                "replayed",
                "another disclosure was made under this key",
                help="a key names one disclosure: repeat that one as it was, or take a new key",
            )
        if along is not None:
            along(connection)
    noted = [
        (key_of(entry.call, entry.pseudonym), {**told(row), "evidence": sorted(entry.evidence)})
        for row, entry in zip(rows, entries, strict=True)
    ]
    company.ledger.append_many(noted)
    _catch_up(company)
    return not added


class _CaughtUp:
    """That this process has looked for rows that the ledger lacks."""


def _catch_up(company: Company) -> None:
    """Once a process: put rows on the ledger that it lacks, for Kept was killed after it wrote them; marked as `late`,
    for whoever put a row in behind its back would have it so too."""
    if _CaughtUp in company.memory:
        return
    written = (company.clock() - UNDER_WAY).astimezone(UTC).isoformat()
    newest = (
        select(disclosures)
        .where(disclosures.c.at < written)
        .order_by(disclosures.c.number.desc())
        .limit(PART)
    )
    before = None
    while True:
        page = newest if before is None else newest.where(disclosures.c.number < before)
        with company.state.read() as connection:
            rows = {key_of(row["call"], row["pseudonym"]): row for row in connection.execute(page).mappings()}
        known = company.ledger.keyed(list(rows))
        late = {key: row for key, row in rows.items() if key not in known}
        if not late:
            break
        company.ledger.append_many([(key, {**told(row), "late": True}) for key, row in late.items()])
        before = min(row["number"] for row in late.values())
    company.memory[_CaughtUp] = True


def key_of(call: str | None, pseudonym: str | None) -> str:
    """The ledger's key of a row's entry."""
    return f"{ACT} {call} {pseudonym or ''}"


def told(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What the ledger says of a row, but for the sorts of evidence there were."""
    same = ("disclosure", "recipient", "purpose", "ground", "safeguard", "people", "by", "way", "policy")
    return {
        "act": ACT,
        "person": row["pseudonym"],
        "fields": row["fields"].split(),
        **{word: row[word] for word in same},
    }


def rows(
    company: Company,
    *,
    to: str | None = None,
    of: Iterable[str] | None = None,
    since: datetime | None = None,
    disclosure: str | None = None,
    evidence: bool = False,
) -> Iterator[Row]:
    """The register, oldest first: to one recipient, of some pseudonyms, from a time on, by one disclosure.

    What was given as evidence is opened only where it is asked for.
    """
    wanted = select(disclosures).order_by(disclosures.c.number)
    if to is not None:
        wanted = wanted.where(disclosures.c.recipient == to)
    if of is not None:
        wanted = wanted.where(disclosures.c.pseudonym.in_(list(of)))
    if since is not None:
        wanted = wanted.where(disclosures.c.at >= since.astimezone(UTC).isoformat())
    if disclosure is not None:
        wanted = wanted.where(disclosures.c.disclosure == disclosure)
    last = 0
    while True:
        with company.state.read() as connection:
            found = connection.execute(wanted.where(disclosures.c.number > last).limit(PART)).all()
        for row in found:
            opened = row.evidence if evidence else None
            yield Row(
                row.number,
                row.disclosure,
                row.recipient,
                row.purpose,
                row.ground,
                row.safeguard,
                row.pseudonym,
                tuple(row.fields.split()),
                row.people,
                json.loads(company.keys.unseal(_SEAL, opened)) if opened is not None else None,
                row.by,
                row.way,
                row.policy,
                datetime.fromisoformat(row.at),
            )
        if len(found) < PART:
            return
        last = found[-1].number


def is_recipient(company: Company, name: str) -> bool:
    """Whether a name is one to whom the policy gives anything, or to whom something was given."""
    declared = (to for one in company.policy.section("disclosure").values() for to in getattr(one, "to", ()))
    if name in company.policy.parties or name in map(str, declared):
        return True
    with company.state.read() as connection:
        given = select(disclosures.c.number).where(disclosures.c.recipient == name).limit(1)
        return connection.execute(given).first() is not None


def sorts(company: Company) -> list[tuple[int, Mapping[str, Any]]]:
    """What stands in the register, each different row once with how many are like it: for measuring all of it."""
    columns = [
        disclosures.c[name]
        for name in ("disclosure", "recipient", "purpose", "ground", "safeguard", "fields", "way", "policy")
    ]
    named = disclosures.c.pseudonym.is_not(None)
    times = func.min(disclosures.c.at).label("first"), func.max(disclosures.c.at).label("last")
    query = select(func.count().label("rows"), *times, named.label("named"), *columns).group_by(
        named, *columns
    )
    with company.state.read() as connection:
        return [(row.rows, dict(row._mapping)) for row in connection.execute(query)]


def forget(company: Company, pseudonyms: Sequence[str]) -> None:
    """Somebody is erased: what was written down as evidence about them goes, by what a repetition would be known, and
    letters with data of theirs that weren't sent yet.

    That something was given, to whom and on which ground stays, about nobody in particular any more. Call it before
    their pseudonyms are destroyed.
    """
    mine = disclosures.c.pseudonym.in_(pseudonyms)
    mailed = select(disclosures.c.call).where(mine, disclosures.c.way == "mail").distinct()
    with company.state.write() as connection:
        for call in connection.scalars(mailed).all():
            company.outbox.forget(letter_of(str(call)), connection)
        connection.execute(update(disclosures).where(mine).values(evidence=None, digest=None))


def letter_of(call: str) -> str:
    """The id of the letter by which a disclosure leaves."""
    return call[:40]
