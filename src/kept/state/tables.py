"""The tables of Kept's own database. What is personal in them is sealed, and gone when done.

Times are text in ISO 8601, UTC, so that they compare as they are.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, text

metadata = MetaData()

_MANY = BigInteger().with_variant(
    Integer, "sqlite"
)  # more than 2,147,483,647, which SQLite's own integers hold anyway

# One act: what is carried out in one go, for a batch of requests of one verb, or a sweep. `detail` is sealed and goes
# when the act is closed. `worker` is whoever is at it.
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
    Column("retry", String(32)),  # when what failed for a while is tried again
    Column("detail", LargeBinary),
    Column("problem", String(2000)),
    Index("acts_by_kind", "kind", "ended"),
)

# One person's request, from the day it comes in to the day it is closed. `subject` (who, and what they ask) is sealed
# and goes when the request is closed; the pseudonym stays. `awaits` says what has to happen before it goes on.
requests = Table(
    "requests",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("act", String(40)),
    Column("position", Integer, nullable=False, default=0),
    Column("verb", String(20), nullable=False),
    Column("pseudonym", String(64), nullable=False),
    Column("subject", LargeBinary),
    Column("channel", String(20), nullable=False, default="desk"),
    Column("law", String(20)),
    Column("region", String(20)),
    Column("state", String(20), nullable=False),
    Column("awaits", String(20)),
    Column("until", String(32)),  # when what is awaited ends by itself
    Column("received", String(32), nullable=False),
    Column("identified", String(32)),
    Column("extended", String(32)),
    Column("due", String(32)),  # empty while the clock hasn't started, or stands still
    Column("warned", String(32)),  # when staff was last told that it is due soon
    Column("closed", String(32)),
    Column("outcome", String),
    Index("requests_by_act", "act"),
    Index("requests_by_pseudonym", "pseudonym"),
    Index("requests_by_state", "state", "due"),
)

# What happened to a request, in order: what its person reads, and what its clock is worked out from. Sealed words are
# those that staff wrote.
events = Table(
    "events",
    metadata,
    Column("request", String(40), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("what", String(20), nullable=False),
    Column("who", String(200)),  # a member of staff, a party; never the person
    Column("words", LargeBinary),
)

# Whom a request was told to (GDPR Art. 19): a party, how, and whether it has answered.
told = Table(
    "told",
    metadata,
    Column("request", String(40), primary_key=True),
    Column("party", String(200), primary_key=True),
    Column("how", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("at", String(32), nullable=False),
)

# What a member of staff has to do by hand for an act, where no program reaches.
tasks = Table(
    "tasks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("act", String(40), nullable=False),
    Column("place", String(200), nullable=False),
    Column("sealed", LargeBinary),
    Column("due", String(32), nullable=False),
    Column("done", String(32)),
    Column("who", String(200)),
    Index("tasks_by_act", "act"),
)

# What people said about the use of their data (restrict, object, withdraw, human-decision), until they say otherwise.
instructions = Table(
    "instructions",
    metadata,
    Column("pseudonym", String(64), primary_key=True),
    Column("verb", String(20), primary_key=True),
    Column("scope", String(200), primary_key=True),  # a purpose, a choice, or * for every use
    Column("who", LargeBinary),  # sealed; goes when the instruction ends
    Column("since", String(32), nullable=False),
    Column("ended", String(32)),
    Column("request", String(40), nullable=False),
    Index("instructions_by_scope", "scope", "ended"),
)

# What has to stay although its person's data goes: by whom, for what, until when. `who` is sealed and goes at the end.
holds = Table(
    "holds",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("pseudonym", String(64), nullable=False),
    Column("who", LargeBinary),
    Column("data", String(2000), nullable=False),  # names of data, separated by spaces; empty: all of it
    Column("purpose", String(200), nullable=False),
    Column("words", LargeBinary),
    Column("set_by", String(200), nullable=False),
    Column("since", String(32), nullable=False),
    Column("until", String(32), nullable=False),
    Column("ended", String(32)),
    Index("holds_by_pseudonym", "pseudonym"),
    Index("holds_by_end", "ended", "until"),
)

# Rows that wait out a period in which a person may come back, under a key of their own.
rooms = Table(
    "rooms",
    metadata,
    Column("request", String(40), primary_key=True),
    Column("store", String(200), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
room_keys = Table(
    "room_keys",
    metadata,
    Column("request", String(40), primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

# Letters to be sent; what is sealed goes when it is sent.
letters = Table(
    "letters",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("request", String(40)),
    Column("what", String(40), nullable=False),
    Column("sealed", LargeBinary),
    Column("state", String(20), nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("next_at", String(32)),
    Column("sent_at", String(32)),
    Column("problem", String(2000)),
    Index("letters_by_state", "state", "next_at"),
    Index("letters_by_request", "request"),
)

# Links that were sent out, and when one that works once was used.
links = Table(
    "links",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("request", String(40), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("expires", String(32), nullable=False),
    Column("used", String(32)),
    Index("links_by_request", "request"),
)

# Messages taken from a mailbox, so that none is taken twice.
messages = Table(
    "messages",
    metadata,
    Column("id", String(64), primary_key=True),  # keyed hash of mailbox and Message-ID
    Column("at", String(32), nullable=False),
    Column("request", String(40)),
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

# Whom a choice is about: a person of the company's, or an anonymous visitor by a random id. `person` is the index of
# `Keys.index`; it and `who`, which is sealed, go when the person is erased, and the number then stands for nobody.
subjects = Table(
    "subjects",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("person", LargeBinary, unique=True),
    Column("kind", String(200), nullable=False),
    Column("who", LargeBinary),
    Column("pseudonym", String(64), nullable=False),
    sqlite_autoincrement=True,  # the number of somebody erased is never given to somebody else
)

# What was shown to somebody who was asked, as canonical JSON by its SHA-256; what a choice was about, by the same.
notices = Table(
    "notices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("since", String(32), nullable=False),
)
meanings = Table(
    "meanings",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("since", String(32), nullable=False),
)

# Each change of a choice of somebody's, never altered. `at` is when they chose, `received` when we learned of it;
# `took` says whether it counted then (an explicit answer isn't overwritten by a signal, nor a newer by an older one).
choice_events = Table(
    "choice_events",
    metadata,
    Column("number", _MANY, primary_key=True),
    Column("record", String(32), nullable=False),
    Column("subject", Integer, nullable=False),
    Column("choice", String(200), nullable=False),
    Column("scope", String(200), nullable=False, default=""),
    Column("answer", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("took", Integer, nullable=False),
    Column("at", String(32), nullable=False),
    Column("received", String(32), nullable=False),
    Column("way", String(20), nullable=False),
    Column("by", String(200)),
    Column("notice", String(64)),
    Column("meaning", String(64), nullable=False),
    Column("region", String(20)),
    Column("until", String(32)),  # when a yes lapses
    Index("choice_events_by_record", "record", "choice", "scope", unique=True),
    Index("choice_events_by_subject", "subject", "choice", "scope", "number"),
    Index(
        "choice_events_by_end",
        "until",
        sqlite_where=text("until IS NOT NULL"),
        postgresql_where=text("until IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# Who stands how, for questions about everybody: bitmaps of subjects' numbers, in chunks of 65,536. `meaning` is what a
# yes was given for, and `no` for a refusal.
choice_marks = Table(
    "choice_marks",
    metadata,
    Column("choice", String(200), primary_key=True),
    Column("scope", String(200), primary_key=True),
    Column("meaning", String(64), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("bits", LargeBinary, nullable=False),
)

# The processes that ask about choices: up to which event each has read, and the longest it took to learn of one.
choice_readers = Table(
    "choice_readers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("since", String(32), nullable=False),
    Column("seen", String(32), nullable=False),
    Column("position", _MANY, nullable=False),
    Column("asked", Integer, nullable=False, default=0),
    Column("events", Integer, nullable=False, default=0),
    Column("longest", Integer, nullable=False, default=0),  # milliseconds
)

# What was verified of somebody (their e-mail address, who they are), how, and until when it counts; never the document.
verifications = Table(
    "verifications",
    metadata,
    Column("subject", Integer, primary_key=True),
    Column("what", String(40), primary_key=True),
    Column(
        "of", LargeBinary, primary_key=True
    ),  # keyed hash of the value verified, empty where there is none
    Column("at", String(32), nullable=False),
    Column("until", String(32)),
    Column("by", String(200), nullable=False),
)

# Messages that were let through by the gate on their way out: what the board measures against the choices of then.
sends = Table(
    "sends",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("subject", Integer, nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("channel", String(20), nullable=False),
    Column("at", String(32), nullable=False),
    Column("event", _MANY),  # the answer it stood on; empty where none was needed
    Index("sends_by_purpose", "purpose", "at"),
    Index("sends_by_subject", "subject"),
    sqlite_autoincrement=True,
)

# What a real browser saw on a site of the company's.
scans = Table(
    "scans",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("store", String(200), nullable=False),
    Column("at", String(32), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("found", LargeBinary, nullable=False),  # JSON: names of cookies, hosts, counts; nobody's data
    Index("scans_by_store", "store", "at"),
)
