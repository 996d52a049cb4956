-- Secrets of an environment that services get as environment variables.
create table if not exists secret (
  environment text collate "C" not null,
  name text collate "C" not null,
  -- Versions count on, also after the secret was removed: what a revision names is never another value.
  next_version bigint not null default 1,
  -- Removed: no manifest can name it until it is set again.
  removed_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (environment, name)
);
-- Its values, each sealed by the installation's key under its environment, name and version.
create table if not exists secret_version (
  environment text collate "C" not null,
  name text collate "C" not null,
  version bigint not null check (version > 0),
  -- Null: destroyed.
  sealed bytea,
  -- "user:anna".
  set_by text not null,
  set_at timestamptz not null default now(),
  destroyed_at timestamptz,
  primary key (environment, name, version),
  foreign key (environment, name) references secret on delete cascade,
  check ((sealed is null) = (destroyed_at is not null))
);
-- The versions that a revision was deployed with: {"payment-key": 3}.
alter table revision add column if not exists secrets jsonb not null default '{}';
