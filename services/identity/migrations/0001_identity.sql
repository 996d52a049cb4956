-- People and programs. What they may do is nobody's column: roles are bound to them.
create table account (
  account_id uuid primary key,
  kind text not null check (kind in ('user', 'service')),
  login text collate "C" not null unique,
  display_name text not null default '',
  email text not null default '',
  preferences jsonb not null default '{}',
  active boolean not null default true,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null,
  last_sign_in_at timestamptz,
  -- SHA-256 of a service account's client secret.
  client_secret_sha256 bytea
);

create table password (
  account_id uuid primary key references account on delete cascade,
  hash text not null,
  changed_at timestamptz not null default clock_timestamp()
);

create table password_history (
  account_id uuid not null references account on delete cascade,
  hash text not null,
  replaced_at timestamptz not null default clock_timestamp()
);
create index password_history_of on password_history (account_id, replaced_at desc);

create table role (
  name text collate "C" primary key,
  description text not null default '',
  permissions text[] not null,
  built_in boolean not null default false
);

create table role_binding (
  account_id uuid not null references account on delete cascade,
  role text collate "C" not null references role on delete cascade,
  bound_at timestamptz not null default clock_timestamp(),
  bound_by text not null,
  primary key (account_id, role)
);
create index role_binding_of_role on role_binding (role);

create table account_group (
  name text collate "C" primary key,
  description text not null default ''
);

create table group_member (
  group_name text collate "C" not null references account_group on delete cascade,
  account_id uuid not null references account on delete cascade,
  primary key (group_name, account_id)
);
create index group_member_of on group_member (account_id);

create table group_role (
  group_name text collate "C" not null references account_group on delete cascade,
  role text collate "C" not null references role on delete cascade,
  primary key (group_name, role)
);

-- Links that are good once: only their SHA-256 is kept.
create table link (
  token_sha256 bytea primary key,
  purpose text not null check (purpose in ('set-up', 'invitation', 'reset')),
  account_id uuid references account on delete cascade,
  expires_at timestamptz not null
);
create index link_of on link (account_id);

create table session (
  session_id text collate "C" primary key,
  token_sha256 bytea not null unique,
  account_id uuid not null references account on delete cascade,
  created_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  methods text[] not null,
  address text not null,
  user_agent text not null
);
create index session_of on session (account_id);
create index session_end on session (expires_at);

create table api_key (
  key_id text collate "C" primary key,
  account_id uuid not null references account on delete cascade,
  name text not null,
  sha256 bytea not null,
  scopes text[] not null,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  last_used_at timestamptz,
  revoked_at timestamptz
);
create index api_key_of on api_key (account_id);

-- Failed attempts, by SHA-256 of whom they were aimed at or where they came from.
create table attempt (
  key bytea primary key,
  failures integer not null,
  last_at timestamptz not null default clock_timestamp(),
  blocked_until timestamptz not null default '-infinity'
);
create index attempt_age on attempt (last_at);

-- What the OAuth protocol keeps: codes, tokens, grants, its sessions; ids only as SHA-256.
create table oidc_artifact (
  kind text collate "C" not null,
  id_sha256 bytea not null,
  payload jsonb not null,
  grant_sha256 bytea,
  account_id uuid,
  -- The browser session in which a grant was made, if it ends with it.
  session_id text collate "C",
  uid text collate "C",
  user_code_sha256 bytea,
  generation integer not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  consumed_at timestamptz,
  expires_at timestamptz,
  primary key (kind, id_sha256)
);
create index oidc_artifact_of_grant on oidc_artifact (grant_sha256) where grant_sha256 is not null;
create index oidc_artifact_of_account on oidc_artifact (account_id) where account_id is not null;
create index oidc_artifact_by_uid on oidc_artifact (kind, uid) where uid is not null;
create index oidc_artifact_by_user_code on oidc_artifact (user_code_sha256) where user_code_sha256 is not null;
create index oidc_artifact_end on oidc_artifact (expires_at) where expires_at is not null;

create table signing_key (
  kid text collate "C" primary key,
  state text not null check (state in ('next', 'current', 'retiring')),
  sealed bytea not null,
  public_jwk jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  retired_at timestamptz
);
create unique index signing_key_one on signing_key (state) where state in ('next', 'current');

insert into role (name, description, permissions, built_in) values
  ('admin', 'Everything.', array['*'], true),
  ('manager', 'Plans work and services; sees people.', array[
    'services:read', 'registry:read', 'operations:read', 'jobs:read', 'targets:read', 'executions:read',
    'services:deploy', 'services:scale', 'services:logs', 'mesh:read', 'operations:*', 'events:*',
    'policies:read', 'jobs:create', 'jobs:update', 'jobs:execute', 'targets:create', 'targets:update',
    'users:read', 'groups:read', 'roles:read', 'step-libraries:read'], true),
  ('operator', 'Runs everything that is there.', array[
    'services:read', 'registry:read', 'operations:read', 'jobs:read', 'targets:read', 'executions:read',
    'services:deploy', 'services:scale', 'services:logs', 'mesh:read', 'operations:*', 'events:*',
    'services:run', 'services:delete', 'registry:import', 'metrics:read', 'policies:read', 'jobs:*',
    'targets:*', 'step-libraries:read'], true),
  ('developer', 'Builds jobs, steps and services.', array[
    'services:read', 'registry:read', 'operations:read', 'jobs:read', 'targets:read', 'executions:read',
    'services:deploy', 'services:scale', 'services:logs', 'mesh:read', 'operations:*', 'events:*',
    'jobs:create', 'jobs:update', 'jobs:execute', 'step-libraries:read', 'step-libraries:create',
    'step-libraries:update'], true),
  ('viewer', 'Looks on.', array[
    'services:read', 'registry:read', 'operations:read', 'jobs:read', 'targets:read', 'executions:read'], true);
