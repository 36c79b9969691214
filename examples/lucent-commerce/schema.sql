-- Lucent Commerce's app database. The same statements run on SQLite and PostgreSQL; times are UTC.

CREATE TABLE plans (
  id    INTEGER PRIMARY KEY,
  title TEXT NOT NULL,
  price INTEGER NOT NULL                  -- cents a month
);

CREATE TABLE migrations (
  version    TEXT PRIMARY KEY,
  applied_at TIMESTAMP NOT NULL
);

CREATE TABLE customers (
  id         INTEGER PRIMARY KEY,
  name       TEXT,
  email      TEXT UNIQUE,                 -- empty once only a bill is left of a customer
  phone      TEXT,                        -- two people of one shop may share its telephone
  born_on    DATE,
  plan_id    INTEGER REFERENCES plans (id),
  created_at TIMESTAMP NOT NULL,
  closed_at  TIMESTAMP
);

CREATE TABLE logins (
  customer_id INTEGER PRIMARY KEY REFERENCES customers (id),
  hash        TEXT NOT NULL
);

-- A bill belongs to whom it is for and to whoever pays it, who may be somebody else.
CREATE TABLE billing (
  id          INTEGER PRIMARY KEY,
  customer_id INTEGER REFERENCES customers (id),
  payer_id    INTEGER REFERENCES customers (id),
  address     TEXT,
  company     TEXT,
  paid_at     TIMESTAMP NOT NULL
);

-- A browser, as it first came; whose it is once its owner has signed in.
CREATE TABLE visits (
  visitor_id  TEXT PRIMARY KEY,
  customer_id INTEGER REFERENCES customers (id),
  ip          TEXT,
  browser     TEXT,
  device      TEXT,
  page        TEXT,
  at          TIMESTAMP NOT NULL
);

CREATE TABLE events (
  id         INTEGER PRIMARY KEY,
  visitor_id TEXT REFERENCES visits (visitor_id),   -- empty where the browser was forgotten
  name       TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE social_profiles (
  customer_id INTEGER PRIMARY KEY REFERENCES customers (id),
  handle      TEXT NOT NULL,
  fetched_at  TIMESTAMP NOT NULL
);

CREATE INDEX customers_plan_id ON customers (plan_id);
CREATE INDEX customers_phone ON customers (phone);
CREATE INDEX customers_closed_at ON customers (closed_at);
CREATE INDEX billing_customer_id ON billing (customer_id);
CREATE INDEX billing_payer_id ON billing (payer_id);
CREATE INDEX billing_paid_at ON billing (paid_at);
CREATE INDEX visits_customer_id ON visits (customer_id);
CREATE INDEX visits_at ON visits (at);
CREATE INDEX events_visitor_id ON events (visitor_id);
CREATE INDEX events_at ON events (at);
