"""What is on record of looks: each in Kept's own table and on the ledger, durable before anything is read; and every
look that was refused, on the ledger."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Final
from urllib.parse import unquote

from sqlalchemy import Connection, Row, func, insert, select

from kept.company import Company
from kept.controls.choices.deciding import Decision, How
from kept.controls.purposes.cases.opening import KEPT, is_name
from kept.controls.purposes.cases.rows import PLAIN, named
from kept.controls.rights.people import Person
from kept.evidence.entry import Entry
from kept.policy.policy import STAFF
from kept.state.uses import looks

LEDGER: Final = "looks"  # of the note up to which look the ledger is known to be whole
PAGE: Final = 2000
BEHIND: Final = 1000  # looks whose transactions may have ended after those of later ones
_STAR: Final = "*"  # behind a column that was shown masked
_TOLD: Final = str.maketrans({"%": "%25", " ": "%20", "*": "%2A"})  # what a column's name may hold, too
_ENTRY: Final = b'"act":"look",'


@dataclass(frozen=True)
class Seen:
    """One look: for which purpose, by whom (a role, and the key of the member of staff), in which case, at which
    columns (`store.table.column`), and which of those were masked."""

    id: str
    purpose: str
    case: str | None
    role: str
    staff: str
    fields: tuple[str, ...]
    masked: tuple[str, ...]
    at: datetime


@dataclass(frozen=True)
class Tally:
    """How many looks there were for a purpose, and in how many of them no case was named."""

    looks: Mapping[str, int]
    without: Mapping[str, int]


def record(
    company: Company,
    purpose: str,
    case: str | None,
    role: str,
    staff: str,
    person: Person,
    fields: Mapping[str, How],
    along: Callable[[Connection, str], None] | None = None,
) -> str:
    """Put a look on record; its id. On return it is on disk, in the table and on the ledger.

    `along` writes in the same transaction, and gets the id.
    """
    id, who = uuid.uuid4().hex, str(person)
    known = company.pseudonyms.find([who])
    with company.state.write() as connection:
        pseudonym = company.pseudonyms.of([who], known, connection=connection)[who]
        values = {
            "id": id,
            "pseudonym": pseudonym,
            "purpose": purpose,
            "case": named(company, case) if case is not None else None,
            "role": role,
            "staff": staff,
            "fields": " ".join(_written(one) + _STAR * (how == "masked") for one, how in fields.items()),
            "at": company.clock().isoformat(),
        }
        row = connection.execute(insert(looks).values(values).returning(looks)).one()
        if along is not None:
            along(connection, id)
    company.ledger.append_many([_entry(row)])
    return id


def refuse(
    company: Company,
    decision: Decision,
    purpose: str,
    case: str | None,
    by: str | None,
    person: Person | None,
    look: str | None = None,
) -> None:
    """Put on the ledger that somebody was refused a look: what of their words can't be anybody's data.

    `look` is the look that was on record already, and of which nothing was shown.
    """
    policy = company.policy
    role, _, staff = (by or "").partition(":")
    name, _, number = (case or "").partition(":")
    is_one = name in policy.links or name == KEPT
    who = str(person) if person is not None else ""
    entry: Entry = {
        "act": "look-refused",
        "purpose": purpose if purpose in policy.section("purposes") else None,
        "rule": decision.rule or "choice",
        "unsure": decision.unsure,
        "case": (f"{name}:{number}" if PLAIN.fullmatch(number) else f"{name}:?") if is_one else None,
        "role": role if role == STAFF or role in policy.people else None,
        "staff": staff
        if policy.is_staff(role) and is_name(staff)
        else None,  # else it is a person's key, or a name
        "person": company.pseudonyms.find([who]).get(who) if who else None,
        **({"look": look} if look is not None else {}),
    }
    company.ledger.append_many([(None, entry)])


def of(company: Company, people: Sequence[Person]) -> dict[Person, list[Seen]]:
    """Every look at each of these people, oldest first; whoever nobody looked at is missing."""
    whos = {str(person): person for person in people}
    theirs = {pseudonym: whos[who] for who, pseudonym in company.pseudonyms.find(list(whos)).items()}
    found: dict[Person, list[Seen]] = {}
    pseudonyms = list(theirs)
    with company.state.read() as connection:
        for start in range(0, len(pseudonyms), PAGE):
            mine = looks.c.pseudonym.in_(pseudonyms[start : start + PAGE])
            for row in connection.execute(select(looks).where(mine).order_by(looks.c.number)):
                found.setdefault(theirs[row.pseudonym], []).append(_seen(row))
    return found


def whole_ledger(company: Company) -> int:
    """See that every look in the table is on the ledger, whatever a crash kept from it; how many were looked at."""
    upto, looked = int(company.state.notes(LEDGER).get("ledger", {}).get("upto", 0)), 0
    after = max(0, upto - BEHIND)
    while True:
        query = select(looks).where(looks.c.number > after).order_by(looks.c.number).limit(PAGE)
        with company.state.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return looked
        company.ledger.append_many([_entry(row) for row in rows])
        after, looked = rows[-1].number, looked + len(rows)
        if after > upto:
            company.state.note(LEDGER, "ledger", {"upto": after})


def in_the_table(company: Company) -> Tally:
    """The looks that Kept's own table has, by purpose."""
    grouped = select(looks.c.purpose, func.count(), func.count(looks.c.case)).group_by(looks.c.purpose)
    with company.state.read() as connection:
        rows = connection.execute(grouped).all()
    return Tally({name: all_ for name, all_, _ in rows}, {name: all_ - named for name, all_, named in rows})


class OnTheLedger:
    """The looks that the ledger has, by purpose: read once while a company is open, and then only what came since."""

    def __init__(self) -> None:
        self.upto = 0
        self.lock = Lock()
        self.looks: Counter[str] = Counter()
        self.without: Counter[str] = Counter()

    @classmethod
    def of(cls, company: Company) -> Tally:
        """As it is now."""
        found = company.memory.setdefault(cls, cls())
        with found.lock:  # two who measure at once would count an entry twice
            for body, _ in company.ledger.stored(found.upto, company.ledger.size):
                found.upto += 1
                if _ENTRY in body and (entry := json.loads(body))["act"] == "look":
                    found.looks[entry["purpose"]] += 1
                    found.without[entry["purpose"]] += entry["case"] is None
            return Tally(dict(found.looks), dict(found.without))


def _entry(row: Row[Any]) -> tuple[str, Entry]:
    seen = _seen(row)
    entry: Entry = {
        "act": "look",
        "look": seen.id,
        "person": row.pseudonym,
        "purpose": seen.purpose,
        "case": seen.case,
        "role": seen.role,
        "staff": seen.staff,
        "fields": list(seen.fields),
        "masked": list(seen.masked),
        "looked": row.at,
    }
    return f"look {seen.id}", entry


def _written(field: str) -> str:
    """A column as it stands in the table, among others: without a blank or a star of its own."""
    return field.translate(_TOLD)


def _seen(row: Row[Any]) -> Seen:
    fields = row.fields.split(" ") if row.fields else []
    return Seen(
        row.id,
        row.purpose,
        row.case,
        row.role,
        row.staff,
        tuple(unquote(one.removesuffix(_STAR)) for one in fields),
        tuple(unquote(one.removesuffix(_STAR)) for one in fields if one.endswith(_STAR)),
        datetime.fromisoformat(row.at),
    )
