-- Who may call what, beside the policy file. audit_level as in hms.ffi.v1.AuditLevel; environment empty: all of them.
create table policy (
  policy_id text collate "C" primary key,
  service text collate "C" not null,
  method text collate "C" not null,
  environment text collate "C" not null default '',
  allowed_roles text[] not null default '{}',
  denied_roles text[] not null default '{}',
  requires_mfa boolean not null default false,
  audit_level smallint not null default 0,
  changed_at timestamptz not null default now()
);

-- Tickets that are worth nothing any more; kept for as long as such a ticket could live.
create table revocation (
  revocation_id bigint generated always as identity primary key,
  principal text collate "C" not null,
  service_id text collate "C" not null,
  issued_before timestamptz not null,
  revoked_at timestamptz not null default now()
);

create index revocation_by_age on revocation (revoked_at);

-- Whose service an id is in an environment: kept when the last instance goes, so that nobody else takes it.
create table service_owner (
  environment text collate "C" not null,
  service_id text collate "C" not null,
  owner text collate "C" not null,
  since timestamptz not null default now(),
  primary key (environment, service_id)
);

-- By which an instance checks tickets: 32 bytes of 244 random bits, the same for as long as the instance is known.
alter table instance add column if not exists ticket_key bytea not null
  default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');
