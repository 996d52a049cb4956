-- Who registered an instance: nobody else may renew, replace or remove it. Empty: an earlier release did not ask.
alter table instance add column registered_by text collate "C" not null default '';

alter table instance add column alternative_addresses text[] not null default '{}';

-- By which an instance checks tickets: 32 bytes, the same for as long as the instance is known. Earlier releases give none.
alter table instance add column if not exists ticket_key bytea not null
  default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

-- Stock gRPC servers, which do not register themselves: the registry asks them whether they live.
create table foreign_server (
  environment text collate "C" not null,
  address text collate "C" not null,
  -- Full names of services; empty: all.
  services text[] not null default '{}',
  default_version text collate "C" not null,
  metadata jsonb not null default '{}',
  registered_by text collate "C" not null,
  registered_at timestamptz not null default now(),
  primary key (environment, address)
);
