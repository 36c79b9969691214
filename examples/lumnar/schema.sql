-- Lumnar's app database. The same statements run on SQLite and PostgreSQL; times are UTC.

CREATE TABLE customers (
  id        INTEGER PRIMARY KEY,
  name      TEXT,
  email     TEXT UNIQUE,                  -- empty once only an invoice is left of a customer
  country   TEXT,
  closed_at TIMESTAMP
);

-- What an automation signs in with elsewhere; the token is sealed before it comes here.
CREATE TABLE integrations (
  id          INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  token       TEXT NOT NULL,
  endpoint    TEXT NOT NULL
);

CREATE TABLE chatters (
  id    INTEGER PRIMARY KEY,
  email TEXT NOT NULL UNIQUE
);

-- A live chat: a customer's visitors write, the customer reads and answers.
CREATE TABLE conversations (
  id          INTEGER PRIMARY KEY,
  customer_id INTEGER REFERENCES customers (id),      -- empty once that customer was erased
  chatter_id  INTEGER NOT NULL REFERENCES chatters (id),
  started_at  TIMESTAMP NOT NULL,
  closed_at   TIMESTAMP
);

CREATE TABLE messages (
  id              INTEGER PRIMARY KEY,
  conversation_id INTEGER REFERENCES conversations (id),
  body            TEXT NOT NULL,
  attachment      TEXT,                   -- a path below the uploads
  at              TIMESTAMP NOT NULL
);

CREATE TABLE sessions (
  visitor_id TEXT PRIMARY KEY,
  ip         TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE page_views (
  id         INTEGER PRIMARY KEY,
  visitor_id TEXT NOT NULL REFERENCES sessions (visitor_id),
  page       TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE invoices (
  id              INTEGER PRIMARY KEY,
  customer_id     INTEGER REFERENCES customers (id),
  billing_address TEXT,
  amount          INTEGER,                -- cents
  paid_at         TIMESTAMP NOT NULL
);

-- Looks into what may be misuse. Staff sign in elsewhere: their numbers point at no table here.
CREATE TABLE investigations (
  id          INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  staff_id    INTEGER NOT NULL,
  opened_at   TIMESTAMP NOT NULL,
  closed_at   TIMESTAMP
);

CREATE INDEX customers_closed_at ON customers (closed_at);
CREATE INDEX integrations_customer_id ON integrations (customer_id);
CREATE INDEX conversations_customer_id ON conversations (customer_id);
CREATE INDEX conversations_chatter_id ON conversations (chatter_id);
CREATE INDEX messages_conversation_id ON messages (conversation_id);
CREATE INDEX sessions_at ON sessions (at);
CREATE INDEX page_views_visitor_id ON page_views (visitor_id);
CREATE INDEX page_views_at ON page_views (at);
CREATE INDEX invoices_customer_id ON invoices (customer_id);
CREATE INDEX invoices_paid_at ON invoices (paid_at);
CREATE INDEX investigations_customer_id ON investigations (customer_id);
