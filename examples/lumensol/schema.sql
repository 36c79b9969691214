-- Lumensol's own database of contacts. The same statements run on SQLite and PostgreSQL; times are UTC.

CREATE TABLE contacts (
  id       INTEGER PRIMARY KEY,
  name     TEXT,
  email    TEXT,                          -- a client's two representatives may share one
  phone    TEXT,
  business TEXT,
  ship_to  TEXT,
  bill_to  TEXT,
  username TEXT UNIQUE,
  country  TEXT NOT NULL,
  since    TIMESTAMP NOT NULL,
  left_at  TIMESTAMP
);

-- An order belongs to whom it is for and to whom it is billed, who may be somebody else.
CREATE TABLE orders (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER REFERENCES contacts (id),
  billed_id  INTEGER REFERENCES contacts (id),
  amount     INTEGER,                     -- pence
  invoice    TEXT,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE letters (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  body       TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE reviews (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  body       TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE social (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  handle     TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE surveys (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  answers    TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE public_facts (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  fact       TEXT NOT NULL,
  source_url TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE calls (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  audio      TEXT,                        -- a path below the recorded calls
  at         TIMESTAMP NOT NULL
);

CREATE TABLE chats (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  transcript TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE visits (
  visitor_id TEXT PRIMARY KEY,
  country    TEXT,
  city       TEXT,
  ip         TEXT,
  browser    TEXT,
  device_id  TEXT,
  page       TEXT,
  at         TIMESTAMP NOT NULL
);

-- Complaints and tickets: each is a reason for one of the staff to look at one contact.
-- Staff sign in elsewhere: their numbers point at no table here.
CREATE TABLE complaints (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  staff_id   INTEGER NOT NULL,
  opened_at  TIMESTAMP NOT NULL,
  closed_at  TIMESTAMP
);

CREATE TABLE tickets (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  staff_id   INTEGER NOT NULL,
  opened_at  TIMESTAMP NOT NULL,
  closed_at  TIMESTAMP
);

CREATE INDEX contacts_email ON contacts (email);
CREATE INDEX contacts_phone ON contacts (phone);
CREATE INDEX contacts_left_at ON contacts (left_at);
CREATE INDEX orders_contact_id ON orders (contact_id);
CREATE INDEX orders_billed_id ON orders (billed_id);
CREATE INDEX orders_at ON orders (at);
CREATE INDEX letters_contact_id ON letters (contact_id);
CREATE INDEX letters_at ON letters (at);
CREATE INDEX reviews_contact_id ON reviews (contact_id);
CREATE INDEX social_contact_id ON social (contact_id);
CREATE INDEX surveys_contact_id ON surveys (contact_id);
CREATE INDEX public_facts_contact_id ON public_facts (contact_id);
CREATE INDEX calls_contact_id ON calls (contact_id);
CREATE INDEX calls_at ON calls (at);
CREATE INDEX chats_contact_id ON chats (contact_id);
CREATE INDEX chats_at ON chats (at);
CREATE INDEX visits_at ON visits (at);
CREATE INDEX complaints_contact_id ON complaints (contact_id);
CREATE INDEX tickets_contact_id ON tickets (contact_id);
