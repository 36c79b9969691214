"""The first tables: acts, requests, notes, attestations, and who is behind a pseudonym."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "acts",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("by", sa.LargeBinary),
        sa.Column("began", sa.String(32), nullable=False),
        sa.Column("ended", sa.String(32)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("detail", sa.LargeBinary),
        sa.Column("problem", sa.String(2000)),
    )
    op.create_index("acts_by_kind", "acts", ["kind", "ended"])
    op.create_table(
        "requests",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("act", sa.String(40), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("verb", sa.String(20), nullable=False),
        sa.Column("pseudonym", sa.String(64), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("received", sa.String(32), nullable=False),
        sa.Column("due", sa.String(32), nullable=False),
        sa.Column("closed", sa.String(32)),
        sa.Column("outcome", sa.String),
    )
    op.create_index("requests_by_act", "requests", ["act"])
    op.create_index("requests_by_pseudonym", "requests", ["pseudonym"])
    op.create_index("requests_by_state", "requests", ["state", "due"])
    op.create_table(
        "notes",
        sa.Column("act", sa.String(40), primary_key=True),
        sa.Column("part", sa.String(200), primary_key=True),
        sa.Column("counts", sa.String, nullable=False),
    )
    op.create_table(
        "attestations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("promise", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("until", sa.String(32), nullable=False),
    )
    op.create_index("attestations_by_promise", "attestations", ["promise"])
    op.create_table(
        "persons",
        sa.Column("index", sa.String(64), primary_key=True),
        sa.Column("secret", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "erased",
        sa.Column("index", sa.String(64), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
