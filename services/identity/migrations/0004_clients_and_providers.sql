-- Applications that sign people in by this installation.
create table client (
  client_id text collate "C" primary key,
  name text not null,
  redirect_uris text[] not null,
  -- SHA-256; null for those that cannot keep a secret.
  secret_sha256 bytea,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null
);

-- Outside providers by which people can come in.
create table identity_provider (
  name text collate "C" primary key,
  display_name text not null,
  issuer text not null unique,
  client_id text not null,
  sealed bytea not null,
  created_at timestamptz not null default clock_timestamp()
);

-- Who somebody is at an outside provider: by issuer and subject, and by nothing else.
create table outside_identity (
  issuer text not null,
  subject text not null,
  account_id uuid not null references account on delete cascade,
  linked_at timestamptz not null default clock_timestamp(),
  primary key (issuer, subject)
);
create index outside_identity_of on outside_identity (account_id);

-- Who is on the way to an outside provider; whoever comes back with the state, and the cookie, is expected.
create table outside_visit (
  state_sha256 bytea primary key,
  provider text collate "C" not null references identity_provider on delete cascade,
  -- Nonce and code verifier, sealed.
  sealed bytea not null,
  -- The account that is being linked; null: somebody signs in.
  account_id uuid references account on delete cascade,
  next text not null,
  expires_at timestamptz not null
);
create index outside_visit_end on outside_visit (expires_at);
create index outside_visit_to on outside_visit (provider);
create index outside_visit_of on outside_visit (account_id);
