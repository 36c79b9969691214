"""Seals what the policy promises to seal, and opens it for the purposes the policy names and for nothing else.

    sealer = Sealer.of(company)
    row.token = sealer.seal("app.integrations.token", row.id, "the token itself")
    token = sealer.open("app.integrations.token", row.id, row.token, purpose="automation", person=customer)

A value is bound to its column and to the key of its row, so that key is needed for both; a composite key is a tuple.
Whoever opens says whose row it is: the gate decides about that person, and nobody else looks whether it is theirs.
"""

from __future__ import annotations

from typing import Final

from kept.company import Company
from kept.controls.purposes.cases.opening import is_name
from kept.controls.purposes.cases.rows import named
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.enforce import Gate
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.controls.security.sealing.columns import SealedColumn, sealed_columns
from kept.controls.security.sealing.form import Sealed, StoreKey, place_of
from kept.controls.security.sealing.keys import StoreKeys
from kept.controls.security.sealing.openings import Openings
from kept.errors import KeptError
from kept.policy.source import did_you_mean
from kept.stores.clauses import written

MASKED: Final = "•••"


class Sealer:
    """Seals and opens for one company, for any number of threads."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.columns = sealed_columns(company.policy)
        self.openings = Openings(company)
        self._keys: dict[str, StoreKeys] = {}

    @classmethod
    def of(cls, company: Company) -> Sealer:
        """The sealer of a company, one for as long as it is open."""
        sealer = company.memory.get(cls)
        if sealer is None:
            sealer = company.memory.setdefault(cls, cls(company))
        return sealer  # type: ignore[no-any-return]  # what stands under its class

    def keys(self, store: str) -> StoreKeys:
        """The keys of a store's sealed columns."""
        found = self._keys.get(store)
        return found if found is not None else self._keys.setdefault(store, StoreKeys(self.company, store))

    def seal(self, field: str, key: object, value: str) -> str:
        """Seal a value for `store.table.column` of the row with this key.

        KeptError for a column the policy doesn't seal, and for an empty text, which has nothing to seal.
        """
        column = self._column(field)
        if not value:
            raise KeptError("an empty value can't be sealed", help="leave the column empty", where=field)
        return self._sealed(self.keys(column.store).newest(), column, key, value)

    def open(
        self,
        field: str,
        key: object,
        text: str,
        *,
        purpose: str,
        person: Person | None = None,
        by: str | None = None,
        case: str | None = None,
    ) -> str:
        """Open a sealed value for a purpose; on the ledger before it is handed out.

        Refused (`kept.controls.refused`) where the gate doesn't allow the purpose now, or it may see the value masked
        only. KeptError where the value isn't a sealed one, was altered or moved, or its key was destroyed.
        """
        column = self._column(field)
        entry = self._refuse(column, purpose, person, by, case)
        plain = self.opened(column, key, text)
        if by is not None and self.company.policy.is_staff(by.partition(":")[0]):
            # where it needs no case nobody has looked whether it is one, and what was typed may be anybody's name
            reason = named(self.company, case) if case is not None and entry.case else None
            self.openings.by_staff(field, purpose, by, reason, person)
        else:
            self.openings.by_machine(field, purpose)
        return plain

    def shown(self, field: str, key: object, text: str, **use: object) -> str:
        """The value for a screen: as `open` gives it, or `•••` where that is refused."""
        try:
            return self.open(field, key, text, **use)  # type: ignore[arg-type]  # the words of `open`
        except Refused:
            return MASKED

    def search(self, field: str, value: str) -> list[str]:
        """What a searchable column may hold for a value: one text for each key that is in use, for `IN (…)`."""
        column = self._column(field)
        if not column.searched:
            raise KeptError(
                "this column can't be searched: two equal values are sealed differently",
                help=f"add `searchable: {column.column}` to the promise that seals it",
                where=field,
            )
        return [self._sealed(key, column, (), value) for key in self.keys(column.store).living()]

    def opened(self, column: SealedColumn, key: object, text: str) -> str:
        """What a value holds, for Kept's own work: nobody is asked, so nothing of it may leave."""
        sealed = Sealed.read(text)
        if sealed is None or sealed.searched != column.searched:
            raise KeptError("a value of this column isn't sealed as it should be", where=column.field)
        return self._opened(column, key, sealed)

    def resealed(self, column: SealedColumn, key: object, text: str) -> str:
        """A value sealed with the newest key: opened first, where it is sealed already, in whichever way."""
        sealed = Sealed.read(text)
        plain = text if sealed is None else self._opened(column, key, sealed)
        return self._sealed(self.keys(column.store).newest(), column, key, plain)

    def _opened(self, column: SealedColumn, key: object, sealed: Sealed) -> str:
        place = _place(column, key, searched=sealed.searched)
        plain = self.keys(column.store).of(sealed.generation).open(sealed, place)
        if plain is None:
            raise KeptError(
                "a sealed value can't be opened: it was altered, or moved from another row, column or store",
                where=column.field,
            )
        return plain

    def _sealed(self, key: StoreKey, column: SealedColumn, row: object, value: str) -> str:
        return key.seal(value, _place(column, row, searched=column.searched), searched=column.searched)

    def _column(self, field: str) -> SealedColumn:
        found = self.columns.get(field)
        if found is None:
            help = (
                did_you_mean(field, self.columns) if self.columns else "add {seals: …, for: …} to `security`"
            )
            raise KeptError("the policy doesn't seal this column", help=help, where=field)
        return found

    def _refuse(
        self, column: SealedColumn, purpose: str, person: Person | None, by: str | None, case: str | None
    ) -> Purpose:
        """The purpose, if the gate lets it see the column as it is; else raise Refused."""
        gate = Gate.of(self.company)
        entry = gate.uses.purposes.get(purpose)
        used = {str(name) for name in entry.uses} if entry is not None else set()
        names = tuple(name for name in column.data if name in used) or column.data[:1]
        decision = gate.decide(purpose, names, person=person, by=by, case=case)
        if not decision.allowed:
            raise Refused(decision.rule or "choice", decision.reason, clause=decision.clause)
        if entry is None or purpose not in column.purposes or decision.fields.get(column.field) != "as is":
            why = f"`{column.field}` is sealed, and not for `{purpose}`"
            raise Refused("sealed", why, clause=decision.clause)
        role, _, key = (by or "").partition(":")
        if by is not None and self.company.policy.is_staff(role):
            if not (entry.by or entry.case):
                why = f"`{column.field}` is opened for `{purpose}` by no member of staff"
                raise Refused("sealed", why, clause=decision.clause)
            if not is_name(key):
                why = "a member of staff opens it by role and key, such as `engineer:4`"
                raise Refused("by", why, clause=decision.clause)
        return entry


def _place(column: SealedColumn, key: object, *, searched: bool) -> bytes:
    if searched:
        return place_of(column.field)
    parts = key if isinstance(key, tuple) else (key,)
    if not parts or any(part is None for part in parts):
        raise KeptError("a value is sealed for a row, and this one has no key yet", where=column.field)
    return place_of(column.field, tuple(written(part) for part in parts))
