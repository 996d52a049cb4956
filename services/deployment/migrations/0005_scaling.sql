-- Scaled to nothing for want of requests: the next one starts a replica.
alter table service add column if not exists asleep boolean not null default false;
-- What a service's scaling remembers beside its replicas.
create table if not exists scaling (
  environment text collate "C" not null,
  service text collate "C" not null,
  -- The day in UTC, counted from 1970, and what it has cost in replicas times milliseconds.
  day integer not null default 0,
  replica_ms double precision not null default 0,
  -- The last changes, newest first: [{"at": 1760000000000, "from": 2, "to": 4, "reason": "…", "rolloutId": "…"}].
  decisions jsonb not null default '[]',
  primary key (environment, service),
  foreign key (environment, service) references service on delete cascade
);
