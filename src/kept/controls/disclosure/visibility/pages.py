"""A condition that is made once a second for everybody who looks: what differs from one to the next is their key alone.

To make one takes milliseconds, of a page that takes less; the clocks in it stand still for that second.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.disclosure.visibility.ties import LOOKING, TheirKey, key_of
from kept.controls.purposes.gate.persons import Condition
from kept.controls.rights.people import Person

MOST: Final = 500  # conditions remembered


@dataclass(frozen=True)
class Page:
    """A condition as text of one database, and its values; a `TheirKey` among them is that of whoever looks."""

    text: str
    values: dict[str, Any]

    def of(self, viewer: Person | None) -> Condition:
        """The condition for somebody."""
        made: Any = sa.text(self.text).bindparams(
            *(
                sa.bindparam(name, _bound(value, viewer), unique=True, type_=sa.types.NullType())
                for name, value in self.values.items()
            )
        )
        found: Condition = sa.type_coerce(made.self_group(), sa.Boolean)
        return found


def page_for(
    company: Company,
    store: str,
    asked: Hashable,
    viewer: Person | None,
    said: Sequence[object],
    make: Callable[[Person | None], Condition],
) -> Condition:
    """The condition that `make` makes for a viewer, from memory where it was asked in this second and nothing changed.

    `asked` says which one it is; `said` are other objects, though they may equal these, once people said something.
    """
    known: dict[Hashable, tuple[datetime, Sequence[object], Page]] = company.memory.setdefault(Page, {})
    kind = viewer.kind if viewer is not None else None
    name, now = (store, kind, asked), company.clock().replace(microsecond=0)
    found = known.get(name)
    if found is None or found[0] != now or any(a is not b for a, b in zip(found[1], said, strict=True)):
        if len(known) >= MOST:
            known.clear()
        anybody = Person(kind, (LOOKING,)) if kind is not None else None
        found = known[name] = (now, said, _page(company, store, make(anybody)))
    return found[2].of(viewer)


def _page(company: Company, store: str, condition: Condition) -> Page:
    dialect = company.stores[store].engine.dialect
    own = type(dialect)(paramstyle="named")  # type: ignore[call-arg]  # every dialect takes it
    done = (
        sa.select(sa.literal_column("1"))
        .where(condition)
        .compile(dialect=own, compile_kwargs={"render_postcompile": True})
    )
    values = dict(done.params)
    text = str(done).partition("WHERE ")[2]
    return Page(f"({text})", values)


def _bound(value: Any, viewer: Person | None) -> Any:
    if not isinstance(value, TheirKey):
        return value
    return key_of(value.column, viewer) if viewer is not None else None
