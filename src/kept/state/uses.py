"""The tables of Kept's own database about uses: cases and looks, answers about groups, what left the house, decisions
that wait for a person, keys of sealed columns, guards.

As in `kept.state.tables`: what is personal is sealed, times are text in ISO 8601, UTC.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, String, Table

from kept.state.tables import metadata

# A reason of one member of staff's to look at one person, that Kept keeps itself: opened here, or tied to a row of the
# company's (`ticket`). `who` is sealed, and goes when the case is over.
cases = Table(
    "cases",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("link", String(200), nullable=False),
    Column("pseudonym", String(64), nullable=False),
    Column("who", LargeBinary),
    Column("role", String(200), nullable=False),
    Column("staff", String(200), nullable=False),
    Column("ticket", String(200)),
    Column("words", LargeBinary),
    Column("opened", String(32), nullable=False),
    Column("opened_by", String(200), nullable=False),
    Column("until", String(32), nullable=False),
    Column("closed", String(32)),
    Column("closed_by", String(200)),
    Index("cases_by_pseudonym", "pseudonym"),
    Index("cases_by_end", "closed", "until"),
)

# Every look at one person by somebody on the staff; what the ledger holds too, to be asked by person.
looks = Table(
    "looks",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("pseudonym", String(64), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("case", String(240)),
    Column("role", String(200), nullable=False),
    Column("staff", String(200), nullable=False),
    Column("fields", String(4000), nullable=False),  # columns, separated by spaces
    Column("at", String(32), nullable=False),
    Index("looks_by_pseudonym", "pseudonym", "at"),
    Index("looks_by_role", "role", "at"),
    sqlite_autoincrement=True,
)

# What was answered about groups, so that the next answer can't be subtracted from it; and what noise each cost.
answers_about_groups = Table(
    "group_answers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("recipient", String(200), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("question", String(64), nullable=False),  # SHA-256 of the question in canonical form
    Column("body", LargeBinary, nullable=False),  # the question, as canonical JSON; no personal value
    Column("answer", LargeBinary),
    Column("epsilon", Float),
    Column("at", String(32), nullable=False),
    Index("group_answers_by_recipient", "recipient", "purpose"),
    sqlite_autoincrement=True,
)

# The register of disclosures: what left the house, for whom, on which ground. No pseudonym where nobody can be told.
disclosures = Table(
    "disclosures",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("disclosure", String(200), nullable=False),
    Column("recipient", String(200), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("ground", String(40), nullable=False),
    Column("safeguard", String(60)),
    Column("pseudonym", String(64)),
    Column("fields", String(4000), nullable=False),
    Column("people", Integer, nullable=False, default=1),
    Column("evidence", LargeBinary),
    Column("by", String(200)),
    Column("way", String(20), nullable=False),  # call, http, mail, export, seen
    Column("policy", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Index("disclosures_by_recipient", "recipient", "at"),
    Index("disclosures_by_pseudonym", "pseudonym"),
    sqlite_autoincrement=True,
)

# What a person has to decide: proposed, decided by name, carried out, told. What is proposed is sealed until then.
proposals = Table(
    "proposals",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("purpose", String(200), nullable=False),
    Column("sets", String(200), nullable=False),
    Column("pseudonym", String(64), nullable=False),
    Column("sealed", LargeBinary),
    Column("proposed", String(32), nullable=False),
    Column("proposed_by", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("decided", String(32)),
    Column("decided_by", String(200)),
    Column("role", String(200)),
    Column("words", LargeBinary),  # the reason, sealed
    Column("act", String(40)),
    Column("told", String(32)),
    Column("problem", String(2000)),
    Index("proposals_by_state", "state", "proposed"),
    Index("proposals_by_pseudonym", "pseudonym"),
)

# The keys of sealed columns, one a store and generation, each wrapped by the company's own.
store_keys = Table(
    "store_keys",
    metadata,
    Column("store", String(200), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("since", String(32), nullable=False),
    Column("retired", String(32)),
)

# The guards that stand in the company's databases: the last plan that was applied to each.
guards = Table(
    "guards",
    metadata,
    Column("store", String(200), primary_key=True),
    Column("policy", String(64), nullable=False),
    Column("plan", String(64), nullable=False),  # SHA-256 of its statements
    Column("body", LargeBinary, nullable=False),
    Column("applied", String(32), nullable=False),
    Column("by", String(200), nullable=False),
    Column("seen", String(32)),  # when what people chose was last carried over
)
