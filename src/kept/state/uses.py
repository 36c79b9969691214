"""The tables of Kept's own database about uses: cases and looks, answers about groups, what left the house, decisions
that wait for a person, keys of sealed columns, guards.

As in `kept.state.tables`: what is personal is sealed, times are text in ISO 8601, UTC.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, String, Table, Text

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
    Column("id", String(40), nullable=False, unique=True),
    Column("pseudonym", String(64), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("case", String(240)),
    Column("role", String(200), nullable=False),
    Column("staff", String(200), nullable=False),
    Column("fields", Text, nullable=False),  # columns, separated by spaces; a star behind those shown masked
    Column("at", String(32), nullable=False),
    Index("looks_by_pseudonym", "pseudonym", "at"),
    Index("looks_by_role", "role", "at"),
    sqlite_autoincrement=True,
)

# Groups as they were counted, once for each stretch of time of a table: what every later answer is made of. No stretch
# is ever counted again in another way, so no two answers can be subtracted. Figures about groups, never about people.
group_cuts = Table(
    "group_cuts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("place", String(400), nullable=False),  # store.table
    Column("since", String(40), nullable=False),
    Column("until", String(40), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("data", String(200), nullable=False),
    Column("way", String(20), nullable=False),  # answer, noise, export
    Column("floor", Integer, nullable=False),
    Column(
        "body", LargeBinary, nullable=False
    ),  # JSON: what tells groups apart, their figures, how many were small
    Column("at", String(32), nullable=False),
    Index("group_cuts_by_place", "place", "since", unique=True),
    sqlite_autoincrement=True,
)

# What was answered about groups, to whom, from which of those, and what noise it cost.
answers_about_groups = Table(
    "group_answers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("recipient", String(200), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("question", String(64), nullable=False),  # SHA-256 of the question in canonical form
    Column("body", LargeBinary, nullable=False),  # JSON: the question, and the numbers of what it was made of
    Column("answer", LargeBinary),
    Column("epsilon", Float),
    Column("at", String(32), nullable=False),
    Index("group_answers_by_recipient", "recipient", "purpose"),
    sqlite_autoincrement=True,
)

# The register of disclosures: what left the house, for whom, on which ground. No pseudonym where nobody can be told.
# `call` is one for all rows of one disclosure; `digest`, a keyed sum of what it said, tells a repetition from another
# disclosure under the same key. `evidence` is sealed.
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
    Column("fields", Text, nullable=False),  # columns, separated by spaces
    Column("people", Integer, nullable=False, default=1),
    Column("evidence", LargeBinary),
    Column("by", String(200)),
    Column("way", String(20), nullable=False),  # call, http, mail, export, seen
    Column("policy", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("call", String(64)),
    Column("digest", String(64)),
    Index("disclosures_by_recipient", "recipient", "at"),
    Index("disclosures_by_pseudonym", "pseudonym"),
    Index("disclosures_by_call", "call", "pseudonym", unique=True),
    sqlite_autoincrement=True,
)

# What a person has to decide: proposed, decided by name, carried out, told. What is proposed, by whom, and what was
# decided are sealed, each for this id, until it is over; `decided_by` is a name of the staff's, or a pseudonym.
proposals = Table(
    "proposals",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("purpose", String(200), nullable=False),
    Column("pseudonym", String(64), nullable=False),
    Column("sealed", LargeBinary),
    Column("proposed", String(32), nullable=False),
    Column("state", String(20), nullable=False),
    Column("decided", String(32)),
    Column("decided_by", String(200)),
    Column("role", String(200)),
    Column("ruling", LargeBinary),
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

# What the columns that a purpose decides about held when they were last seen or decided: keyed hashes, no values.
# `proposal` is the one that is being carried out there, until it is known what the row then holds.
decided_values = Table(
    "decided_values",
    metadata,
    Column("purpose", String(200), primary_key=True),
    Column("row", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("proposal", String(40)),
    Index("decided_values_by_proposal", "proposal"),
)
