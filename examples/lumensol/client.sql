-- What Lumensol's clients, who are landlords, hand over about their tenants. The same statements run on SQLite and PostgreSQL.

CREATE TABLE landlords (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL
);

CREATE TABLE tenants (
  id          INTEGER PRIMARY KEY,
  landlord_id INTEGER NOT NULL REFERENCES landlords (id),
  name        TEXT NOT NULL,
  email       TEXT,
  rent        INTEGER NOT NULL            -- pence a month
);

CREATE INDEX tenants_landlord_id ON tenants (landlord_id);
CREATE INDEX tenants_email ON tenants (email);
