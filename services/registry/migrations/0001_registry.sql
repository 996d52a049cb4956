-- A service version is known while it has instances, lost ones included.
create table service (
  environment text collate "C" not null,
  service_id text collate "C" not null,
  version text collate "C" not null,
  metadata jsonb not null default '{}',
  registered_at timestamptz not null default now(),
  primary key (environment, service_id, version)
);

create index service_by_metadata on service using gin (metadata jsonb_path_ops);

-- Lost: the lease has run out and everybody has been told.
create table instance (
  environment text collate "C" not null,
  service_id text collate "C" not null,
  version text collate "C" not null,
  instance_id text collate "C" not null,
  address text not null,
  lease_ms integer not null check (lease_ms > 0),
  lease_expires_at timestamptz not null,
  lost boolean not null default false,
  registered_at timestamptz not null default now(),
  primary key (environment, service_id, version, instance_id),
  foreign key (environment, service_id, version) references service
);

create index instance_by_lease on instance (lease_expires_at) where not lost;
create index instance_lost on instance (lease_expires_at) where lost;

-- What a service version promises, per environment: one may be ahead of the other. Kept when the last instance goes,
-- because the promise to callers outlives it.
create table contract (
  environment text collate "C" not null,
  service_id text collate "C" not null,
  version text collate "C" not null,
  sha256 bytea not null,
  file_descriptor_set bytea not null,
  stored_at timestamptz not null default now(),
  primary key (environment, service_id, version)
);
