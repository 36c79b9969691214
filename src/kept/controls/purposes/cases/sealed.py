"""What a look shows of sealed columns: opened for the purposes that may open them, and `sealed` for any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kept.company import Company
from kept.controls.choices.deciding import How
from kept.controls.security.sealing.columns import sealed_columns
from kept.controls.security.sealing.form import Sealed
from kept.controls.security.sealing.sealer import Sealer
from kept.errors import KeptError, StoreError

MASK: Final = "masked"  # what stands in place of a value that nobody may read as it is
SEALED: Final = "sealed"  # the same of one that is sealed, and stays so


def shut(company: Company, purpose: str, fields: Mapping[str, How]) -> dict[str, How]:
    """The columns that a purpose may see, those it may not open as masked: also where other data shares the column."""
    columns = sealed_columns(company.policy)
    return {
        field: "masked" if field in columns and purpose not in columns[field].purposes else how
        for field, how in fields.items()
    }


class Shown:
    """How the values of a look are shown, by what its plan says of each column (`fields`, as `shut` gives them).

    The look is on record before, with these columns; so what is opened here needs no entry of its own.
    """

    def __init__(self, company: Company, fields: Mapping[str, How]) -> None:
        self._fields, self._sealer = fields, Sealer.of(company)

    def opens(self, field: str) -> bool:
        """Whether values of a column are opened, for which the key of their row is needed."""
        return field in self._sealer.columns and self._fields.get(field) == "as is"

    def value(self, field: str, value: object, row: Mapping[str, object], key: Sequence[str]) -> object:
        """A value of a row as it is shown; `key` are the columns of the row's key, none where it has none.

        StoreError where the keys can't be read. What was altered or moved, or whose key is destroyed, stays sealed.
        """
        column = self._sealer.columns.get(field)
        if self._fields[field] != "as is":
            return MASK if column is None else SEALED
        if column is None or not isinstance(value, str) or Sealed.read(value) is None:
            return value  # nothing, or not sealed yet
        try:
            return self._sealer.opened(column, tuple(row[part] for part in key), value)
        except StoreError:
            raise
        except KeptError:
            return SEALED
