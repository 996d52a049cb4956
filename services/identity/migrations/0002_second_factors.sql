-- Second factors, and when and how somebody has shown who they are.
alter table session add column authenticated_at timestamptz not null default clock_timestamp();
alter table oidc_artifact
  -- Of a grant that outlives its browser session: how and when its owner had shown who they are.
  add column methods text[] not null default '{}',
  add column authenticated_at timestamptz;

create table totp (
  account_id uuid primary key references account on delete cascade,
  sealed bytea not null,
  created_at timestamptz not null default clock_timestamp(),
  -- The time step of the last code that was taken: none is good twice.
  last_step bigint not null default 0
);

create table recovery_code (
  account_id uuid not null references account on delete cascade,
  sha256 bytea not null,
  primary key (account_id, sha256)
);

create table passkey (
  credential_id text collate "C" primary key,
  account_id uuid not null references account on delete cascade,
  name text not null,
  public_key bytea not null,
  counter bigint not null,
  transports text[] not null,
  created_at timestamptz not null default clock_timestamp(),
  last_used_at timestamptz
);
create index passkey_of on passkey (account_id);

-- What a browser has begun and must end in time: a sign-in that still needs its second factor, a factor that is being added.
create table ceremony (
  token_sha256 bytea primary key,
  purpose text not null check (purpose in ('sign-in', 'totp', 'passkey')),
  account_id uuid not null references account on delete cascade,
  challenge text not null,
  -- How they had shown who they are when it was begun, as in session.methods.
  first_method text not null default 'pwd',
  -- A secret that is not the account's yet.
  sealed bytea,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);
create index ceremony_of on ceremony (account_id);
create index ceremony_end on ceremony (expires_at);
