"""To whom somebody's data really went, in the answer to what is held about them (GDPR Art. 15(1)(c)): the recipients by
name, not by sort (CJEU C-154/21), what each was given, when, for what, on which ground and under which safeguard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kept.company import Company
from kept.controls.disclosure import register
from kept.controls.rights.people import Person
from kept.laws.law import safeguard
from kept.policy.wording import words_of
from kept.stores.walk import Key

DATA = "whom it was given to"
PLACE = "kept.disclosures"
COLUMNS = ("at", "recipient", "role", "for", "ground", "safeguard", "columns")
NAMES: dict[str, tuple[str, ...]] = dict.fromkeys(COLUMNS, (DATA,))


def rows(company: Company, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
    """Every disclosure of these people's data, oldest first; what was written down as evidence isn't told."""
    people = {str(Person(kind, tuple(map(str, key)))): key for key in keys}
    whose = {pseudonym: people[who] for who, pseudonym in company.pseudonyms.find(list(people)).items()}
    found = register.rows(company, of=list(whose)) if whose else ()
    return [(whose[row.pseudonym], _row(company, row)) for row in found if row.pseudonym is not None]


def _row(company: Company, row: register.Row) -> dict[str, object]:
    party = company.policy.parties.get(row.recipient)
    label, role = (party.label, str(party.role)) if party is not None else (row.recipient, None)
    under = safeguard(row.safeguard).name if row.safeguard else None
    told = (row.at.isoformat(), label, role, words_of(row.purpose), words_of(row.ground), under)
    return dict(zip(COLUMNS, (*told, " ".join(row.fields)), strict=True))
