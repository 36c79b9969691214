-- SiteLucent's app database. The same statements run on SQLite and PostgreSQL; times are UTC.

CREATE TABLE companies (
  id           TEXT PRIMARY KEY,          -- what stands before the dot in their people's e-mail addresses
  cancelled_at TIMESTAMP
);

CREATE TABLE users (
  id             INTEGER PRIMARY KEY,
  first_name     TEXT NOT NULL,
  last_name      TEXT NOT NULL,
  email          TEXT NOT NULL UNIQUE,
  source         TEXT,                    -- who entered it: user, or administers.admin
  created_at     TIMESTAMP NOT NULL,
  deactivated_at TIMESTAMP
);

CREATE TABLE memberships (
  user_id    INTEGER NOT NULL REFERENCES users (id),
  company_id TEXT NOT NULL REFERENCES companies (id),
  role       TEXT NOT NULL CHECK (role IN ('member', 'admin')),
  PRIMARY KEY (user_id, company_id)
);

-- One row per user and administrator of the same company.
CREATE VIEW administered AS
  SELECT member.user_id AS user_id, admin.user_id AS admin_id
  FROM memberships AS member
  JOIN memberships AS admin ON admin.company_id = member.company_id
  WHERE admin.role = 'admin' AND admin.user_id <> member.user_id;

CREATE TABLE usage_events (
  id      INTEGER PRIMARY KEY,
  user_id INTEGER NOT NULL REFERENCES users (id),
  page    TEXT NOT NULL,
  source  TEXT NOT NULL DEFAULT 'user',   -- the app notes only what its user did
  at      TIMESTAMP NOT NULL
);

-- System errors, requests for support and first set-ups: each is a reason for one of the staff to look at one user.
-- Staff sign in elsewhere: their numbers point at no table here.
CREATE TABLE errors (
  id          INTEGER PRIMARY KEY,
  user_id     INTEGER NOT NULL REFERENCES users (id),
  engineer_id INTEGER NOT NULL,
  opened_at   TIMESTAMP NOT NULL,
  closed_at   TIMESTAMP
);

CREATE TABLE tickets (
  id        INTEGER PRIMARY KEY,
  user_id   INTEGER NOT NULL REFERENCES users (id),
  agent_id  INTEGER NOT NULL,
  opened_at TIMESTAMP NOT NULL,
  closed_at TIMESTAMP
);

CREATE TABLE set_ups (
  id        INTEGER PRIMARY KEY,
  user_id   INTEGER NOT NULL REFERENCES users (id),
  admin_id  INTEGER NOT NULL,
  opened_at TIMESTAMP NOT NULL,
  closed_at TIMESTAMP
);

-- Nothing about people.
CREATE TABLE plans (
  id    INTEGER PRIMARY KEY,
  title TEXT NOT NULL,
  seats INTEGER NOT NULL
);

CREATE TABLE migrations (
  version    TEXT PRIMARY KEY,
  applied_at TIMESTAMP NOT NULL
);

CREATE INDEX users_deactivated_at ON users (deactivated_at);
CREATE INDEX memberships_company_id ON memberships (company_id);
CREATE INDEX usage_events_user_id ON usage_events (user_id);
CREATE INDEX usage_events_at ON usage_events (at);
CREATE INDEX errors_user_id ON errors (user_id);
CREATE INDEX errors_engineer_id ON errors (engineer_id);
CREATE INDEX tickets_user_id ON tickets (user_id);
CREATE INDEX tickets_agent_id ON tickets (agent_id);
CREATE INDEX set_ups_user_id ON set_ups (user_id);
CREATE INDEX set_ups_admin_id ON set_ups (admin_id);
