"""The tables of Kept's own database. What is personal in them is sealed, and gone when done."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()

# One act asked for: a batch of requests of one verb, or a sweep. `detail` is sealed and goes when the act is closed.
acts = Table(
    "acts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("by", LargeBinary),
    Column("began", String(32), nullable=False),
    Column("ended", String(32)),
    Column("attempts", Integer, nullable=False, default=0),
    Column("detail", LargeBinary),
    Column("problem", String(2000)),
    Index("acts_by_kind", "kind", "ended"),
)

# One person's request: the person at `position` in the act's sealed detail; the pseudonym stays.
requests = Table(
    "requests",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("act", String(40), nullable=False),
    Column("position", Integer, nullable=False),
    Column("verb", String(20), nullable=False),
    Column("pseudonym", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("received", String(32), nullable=False),
    Column("due", String(32), nullable=False),
    Column("closed", String(32)),
    Column("outcome", String),
    Index("requests_by_act", "act"),
    Index("requests_by_pseudonym", "pseudonym"),
    Index("requests_by_state", "state", "due"),
)

# What one step of an act did to a store, noted inside the store's transaction before it commits.
notes = Table(
    "notes",
    metadata,
    Column("act", String(40), primary_key=True),
    Column("part", String(200), primary_key=True),
    Column("counts", String, nullable=False),
)

# Who confirmed a promise no machine can see, and until when.
attestations = Table(
    "attestations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("promise", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("at", String(32), nullable=False),
    Column("until", String(32), nullable=False),
    Index("attestations_by_promise", "promise"),
)
