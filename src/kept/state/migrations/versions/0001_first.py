"""The first tables, and who is behind a pseudonym. Until the first release they are simply what the code says."""

from __future__ import annotations

from alembic import op

from kept.evidence import pseudonyms
from kept.state import tables
from kept.state import uses as uses  # its tables are among those

revision = "0001"
down_revision = None


def upgrade() -> None:
    for metadata in (tables.metadata, pseudonyms.metadata):
        metadata.create_all(op.get_bind())
