"""A column type for SQLAlchemy that lets nothing into a sealed column but sealed values.

    token: Mapped[SealedText] = mapped_column(Sealed())

    row.token = sealer.seal("app.integrations.token", row.id, "the token itself")
    sealer.open("app.integrations.token", row.id, row.token.text, purpose="automation", person=customer)

It opens nothing by itself: a column knows neither the purpose nor the person, and reading a row is no reason to see a
secret. What is read shows nothing when it is printed or logged.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator

from kept.controls.security.sealing import form
from kept.errors import KeptError


class NotSealed(KeptError, DontWrapMixin):
    """Something that isn't sealed was to be written into, or stands in, a sealed column."""


class SealedText:
    """A sealed value as it stands in the database; `text` is what `Sealer.open` takes."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if form.Sealed.read(text) is None:
            raise NotSealed("a value of a sealed column isn't sealed", help="seal it: Sealer.seal(…)")
        self.text = text

    def __repr__(self) -> str:
        return "<SealedText>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedText) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class Sealed(TypeDecorator[SealedText]):
    """A text column of sealed values: takes SealedText, or what `Sealer.seal` gives; NotSealed for anything else."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        if value is None:
            return None
        return (value if isinstance(value, SealedText) else SealedText(str(value))).text

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> SealedText | None:
        return None if value is None else SealedText(str(value))
