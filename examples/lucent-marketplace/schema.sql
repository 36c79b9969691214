-- LUCENT's shop database. The same statements run on SQLite and PostgreSQL; times are UTC.
-- A column that is declared and not needed to keep a row whole may be empty: it is emptied when a row has to outlive
-- somebody's account.

CREATE TABLE categories (
  id    INTEGER PRIMARY KEY,
  title TEXT NOT NULL
);

CREATE TABLE migrations (
  version    TEXT PRIMARY KEY,
  applied_at TIMESTAMP NOT NULL
);

CREATE TABLE members (
  id                  INTEGER PRIMARY KEY,
  name                TEXT,
  email               TEXT UNIQUE,
  phone               TEXT,
  born_on             DATE,
  place               TEXT,
  country             TEXT,
  sells               BOOLEAN NOT NULL,
  paid_out            BOOLEAN NOT NULL,   -- a seller who has asked to be paid, and was identified
  joined_at           TIMESTAMP,
  identity_checked_at TIMESTAMP,
  closed_at           TIMESTAMP           -- when the account goes: it lies ahead while its waiting period runs
);

CREATE TABLE shops (
  member_id INTEGER PRIMARY KEY REFERENCES members (id),
  name      TEXT NOT NULL
);

CREATE TABLE billing (
  id                INTEGER PRIMARY KEY,
  member_id         INTEGER REFERENCES members (id),
  name              TEXT,
  phone             TEXT,
  present_address   TEXT,
  permanent_address TEXT,
  at                TIMESTAMP NOT NULL
);

CREATE TABLE addresses (
  id        INTEGER PRIMARY KEY,
  member_id INTEGER NOT NULL REFERENCES members (id),
  line      TEXT NOT NULL
);

CREATE TABLE payouts (
  id         INTEGER PRIMARY KEY,
  member_id  INTEGER NOT NULL REFERENCES members (id),
  legal_name TEXT NOT NULL,
  born_on    DATE NOT NULL,
  iban       TEXT NOT NULL,
  tax_no     TEXT NOT NULL,
  portrait   TEXT NOT NULL,               -- paths below the uploads
  proof      TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE listings (
  id          INTEGER PRIMARY KEY,
  member_id   INTEGER NOT NULL REFERENCES members (id),
  category_id INTEGER NOT NULL REFERENCES categories (id),
  body        TEXT NOT NULL,
  photo       TEXT,
  at          TIMESTAMP NOT NULL
);

CREATE TABLE comments (
  id         INTEGER PRIMARY KEY,
  member_id  INTEGER NOT NULL REFERENCES members (id),
  listing_id INTEGER REFERENCES listings (id),
  body       TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE pages (
  id        INTEGER PRIMARY KEY,
  member_id INTEGER NOT NULL REFERENCES members (id),
  body      TEXT NOT NULL,
  at        TIMESTAMP NOT NULL
);

CREATE TABLE favourites (
  id         INTEGER PRIMARY KEY,
  member_id  INTEGER NOT NULL REFERENCES members (id),
  listing_id INTEGER REFERENCES listings (id),
  at         TIMESTAMP NOT NULL
);

CREATE TABLE follows (
  id          INTEGER PRIMARY KEY,
  member_id   INTEGER NOT NULL REFERENCES members (id),
  followed_id INTEGER NOT NULL REFERENCES members (id),
  at          TIMESTAMP NOT NULL
);

CREATE TABLE blocks (
  member_id  INTEGER NOT NULL REFERENCES members (id),
  blocked_id INTEGER NOT NULL REFERENCES members (id),
  PRIMARY KEY (member_id, blocked_id)
);

CREATE TABLE reviews (
  id        INTEGER PRIMARY KEY,
  author_id INTEGER REFERENCES members (id),
  seller_id INTEGER NOT NULL REFERENCES members (id),
  body      TEXT,
  at        TIMESTAMP NOT NULL
);

-- A message belongs to who wrote it and to whoever got it.
CREATE TABLE messages (
  id           INTEGER PRIMARY KEY,
  sender_id    INTEGER REFERENCES members (id),
  recipient_id INTEGER REFERENCES members (id),
  body         TEXT,
  attachment   TEXT,
  at           TIMESTAMP NOT NULL
);

-- A sale belongs to its two parties. It is delivered to an address, and billed to somebody, who may be neither of them:
-- a present goes to a friend, a parent pays.
CREATE TABLE sales (
  id         INTEGER PRIMARY KEY,
  buyer_id   INTEGER REFERENCES members (id),
  seller_id  INTEGER REFERENCES members (id),
  address_id INTEGER REFERENCES addresses (id),
  billing_id INTEGER REFERENCES billing (id),
  item       TEXT,
  photo      TEXT,
  amount     INTEGER,                     -- cents
  paid       TEXT,                        -- waiting, paid, refunded
  agreed_at  TIMESTAMP NOT NULL,
  closed_at  TIMESTAMP
);

-- Who has a child's account in their hands, from when they allowed it until they no longer did or the child came of age.
CREATE TABLE guardians (
  id           INTEGER PRIMARY KEY,
  owner_id     INTEGER NOT NULL REFERENCES members (id),
  member_id    INTEGER NOT NULL REFERENCES members (id),
  permitted_at TIMESTAMP NOT NULL,
  ended_at     TIMESTAMP
);

-- Disputes, reports and investigations: each is a reason for one of the staff to look.
-- Staff sign in elsewhere: their numbers point at no table here.
CREATE TABLE disputes (
  id        INTEGER PRIMARY KEY,
  sale_id   INTEGER REFERENCES sales (id),
  buyer_id  INTEGER NOT NULL REFERENCES members (id),
  seller_id INTEGER NOT NULL REFERENCES members (id),
  staff_id  INTEGER NOT NULL,
  opened_at TIMESTAMP NOT NULL,
  closed_at TIMESTAMP
);

CREATE TABLE reports (
  id         INTEGER PRIMARY KEY,
  author_id  INTEGER NOT NULL REFERENCES members (id),
  listing_id INTEGER REFERENCES listings (id),
  staff_id   INTEGER NOT NULL,
  opened_at  TIMESTAMP NOT NULL,
  closed_at  TIMESTAMP
);

CREATE TABLE cases (
  id        INTEGER PRIMARY KEY,
  member_id INTEGER NOT NULL REFERENCES members (id),
  staff_id  INTEGER NOT NULL,
  opened_at TIMESTAMP NOT NULL,
  closed_at TIMESTAMP
);

CREATE TABLE case_notes (
  id      INTEGER PRIMARY KEY,
  case_id INTEGER NOT NULL REFERENCES cases (id),
  body    TEXT NOT NULL,
  at      TIMESTAMP NOT NULL
);

-- A browser, as it first came; whose it is once a member has signed in.
CREATE TABLE visits (
  visitor_id TEXT PRIMARY KEY,
  member_id  INTEGER REFERENCES members (id),
  country    TEXT,
  ip         TEXT,
  page       TEXT,
  utm_source TEXT,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE events (
  id         INTEGER PRIMARY KEY,
  visitor_id TEXT REFERENCES visits (visitor_id),   -- empty where the browser was forgotten
  page       TEXT NOT NULL,
  at         TIMESTAMP NOT NULL
);

CREATE TABLE positions (
  id        INTEGER PRIMARY KEY,
  member_id INTEGER NOT NULL REFERENCES members (id),
  lat       DOUBLE PRECISION NOT NULL,
  lon       DOUBLE PRECISION NOT NULL,
  at        TIMESTAMP NOT NULL
);

CREATE TABLE subscribers (
  id      INTEGER PRIMARY KEY,
  email   TEXT NOT NULL UNIQUE,
  at      TIMESTAMP NOT NULL,
  left_at TIMESTAMP
);

CREATE TABLE applicants (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  email      TEXT NOT NULL UNIQUE,
  cv         TEXT NOT NULL,
  at         TIMESTAMP NOT NULL,
  decided_at TIMESTAMP
);

CREATE TABLE suppliers (
  id    INTEGER PRIMARY KEY,
  email TEXT NOT NULL UNIQUE
);

CREATE TABLE deliveries (
  id          INTEGER PRIMARY KEY,
  supplier_id INTEGER NOT NULL REFERENCES suppliers (id),
  received_at TIMESTAMP NOT NULL,
  signed_by   TEXT NOT NULL
);

CREATE TABLE supplier_payments (
  id          INTEGER PRIMARY KEY,
  supplier_id INTEGER NOT NULL REFERENCES suppliers (id),
  amount      INTEGER NOT NULL,           -- cents
  at          TIMESTAMP NOT NULL
);

CREATE INDEX members_closed_at ON members (closed_at);
CREATE INDEX billing_member_id ON billing (member_id);
CREATE INDEX addresses_member_id ON addresses (member_id);
CREATE INDEX payouts_member_id ON payouts (member_id);
CREATE INDEX listings_member_id ON listings (member_id);
CREATE INDEX listings_category_id ON listings (category_id);
CREATE INDEX comments_member_id ON comments (member_id);
CREATE INDEX comments_listing_id ON comments (listing_id);
CREATE INDEX pages_member_id ON pages (member_id);
CREATE INDEX favourites_member_id ON favourites (member_id);
CREATE INDEX favourites_listing_id ON favourites (listing_id);
CREATE INDEX follows_member_id ON follows (member_id);
CREATE INDEX follows_followed_id ON follows (followed_id);
CREATE INDEX blocks_blocked_id ON blocks (blocked_id);
CREATE INDEX reviews_author_id ON reviews (author_id);
CREATE INDEX reviews_seller_id ON reviews (seller_id);
CREATE INDEX messages_sender_id ON messages (sender_id);
CREATE INDEX messages_recipient_id ON messages (recipient_id);
CREATE INDEX sales_buyer_id ON sales (buyer_id);
CREATE INDEX sales_seller_id ON sales (seller_id);
CREATE INDEX sales_address_id ON sales (address_id);
CREATE INDEX sales_billing_id ON sales (billing_id);
CREATE INDEX sales_closed_at ON sales (closed_at);
CREATE INDEX guardians_owner_id ON guardians (owner_id);
CREATE INDEX guardians_member_id ON guardians (member_id);
CREATE INDEX disputes_sale_id ON disputes (sale_id);
CREATE INDEX disputes_buyer_id ON disputes (buyer_id);
CREATE INDEX disputes_seller_id ON disputes (seller_id);
CREATE INDEX reports_author_id ON reports (author_id);
CREATE INDEX reports_listing_id ON reports (listing_id);
CREATE INDEX cases_member_id ON cases (member_id);
CREATE INDEX case_notes_case_id ON case_notes (case_id);
CREATE INDEX visits_member_id ON visits (member_id);
CREATE INDEX visits_at ON visits (at);
CREATE INDEX events_visitor_id ON events (visitor_id);
CREATE INDEX events_at ON events (at);
CREATE INDEX positions_member_id ON positions (member_id);
CREATE INDEX deliveries_supplier_id ON deliveries (supplier_id);
CREATE INDEX supplier_payments_supplier_id ON supplier_payments (supplier_id);
