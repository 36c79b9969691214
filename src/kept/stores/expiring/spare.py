"""Whether a row leads to somebody who is to be left alone: an IN over their keys, as one bound value or array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from kept.stores.clauses import Clauses
from kept.stores.expiring.due import Spared, Step


def leads_to(say: Clauses, table: str, called: str, spared: Spared, number: int) -> sa.ColumnElement[bool]:
    """That a row of `table`, `called` so in the statement, leads to one of the people; never NULL.

    `number` tells several of these in one statement apart.
    """
    shapes = [say.tables[spared.root].columns[column] for column in spared.key]
    name = f"spared_{number}"
    given = {
        key.replace("given", name): value
        for key, value in say.given(shapes, list(enumerate(spared.keys))).items()
    }
    values = ", ".join(f"j.v{i}" for i in range(len(shapes)))
    keys = f"SELECT {values} FROM {say.unpacked(shapes).replace(':given', f':{name}')}"
    ways = [
        _way(say, path, called, spared, keys, f"kept_spared_{number}_{i}")
        for i, path in enumerate(spared.paths)
    ]
    made: Any = sa.text(f"COALESCE({' OR '.join(ways)}, FALSE)").bindparams(
        *(sa.bindparam(key, value, type_=sa.types.NullType()) for key, value in given.items())
    )
    condition: sa.ColumnElement[bool] = sa.type_coerce(made.self_group(), sa.Boolean)
    return condition


def _way(say: Clauses, path: Sequence[Step], called: str, spared: Spared, keys: str, name: str) -> str:
    """That a row leads along one path to one of the people."""
    person = spared.key
    if path and not path[-1].back and _holds_key(say, path[-1], spared):
        reference = path[-1].reference
        columns = dict(zip(reference.to_columns, reference.columns, strict=True))
        path, person = path[:-1], tuple(columns[column] for column in person)
    at = f"{name}_{len(path) - 1}" if path else called
    own = [say.column(at, column) for column in person]
    left = own[0] if len(own) == 1 else f"({', '.join(own)})"
    made = f"{left} IN ({keys})"
    for level in range(len(path) - 1, -1, -1):
        step, here = path[level], f"{name}_{level}"
        before = f"{name}_{level - 1}" if level else called
        child, parent = (here, before) if step.back else (before, here)
        to = step.reference.table if step.back else step.reference.to
        refers = say.refers(step.reference, child, parent)
        made = f"EXISTS (SELECT 1 FROM {say.name(to)} {here} WHERE {refers} AND {made})"
    return made


def _holds_key(say: Clauses, step: Step, spared: Spared) -> bool:
    """Whether the columns that refer to a person hold their key as it is."""
    reference = step.reference
    if reference.to != spared.root or set(reference.to_columns) != set(spared.key):
        return False
    own, root = say.tables[reference.table].columns, say.tables[reference.to].columns
    pairs = zip(reference.columns, reference.to_columns, strict=True)
    return (
        not reference.path and reference.when is None and all(own[a].sort == root[b].sort for a, b in pairs)
    )
