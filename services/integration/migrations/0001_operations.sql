-- Calls that outlive their caller. `attempts` is also the fencing token: who holds an older one changes nothing.
create table operation (
  operation_id uuid primary key,
  environment text collate "C" not null,
  service text collate "C" not null,
  method text collate "C" not null,
  codec smallint not null,
  request bytea not null,
  -- On whose behalf: as named for looking up, and whole for being authorized again at each attempt.
  principal text collate "C" not null,
  principal_facts jsonb not null,
  idempotency_key text collate "C",
  request_sha256 bytea not null,
  request_id text not null,
  traceparent text,
  state text not null check (state in ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')),
  attempts integer not null default 0,
  next_at timestamptz not null default clock_timestamp(),
  lease_until timestamptz,
  cancel_requested boolean not null default false,
  response bytea,
  error bytea,
  created_at timestamptz not null default clock_timestamp(),
  deadline timestamptz not null,
  keep_ms bigint not null,
  ended_at timestamptz,
  forgotten_at timestamptz,
  callback_service text collate "C",
  callback_method text collate "C",
  callback_attempts integer not null default 0,
  -- When the callback is due next; null: there is none, it was answered, or it was given up.
  callback_at timestamptz
);

create unique index operation_by_key on operation (principal, idempotency_key) where idempotency_key is not null;
create index operation_due on operation (next_at) where state = 'pending';
create index operation_running on operation (lease_until) where state = 'running';
create index operation_of_principal on operation (principal, created_at desc, operation_id desc);
create index operation_newest on operation (created_at desc, operation_id desc);
create index operation_forgotten on operation (forgotten_at) where forgotten_at is not null;
create index operation_callback on operation (callback_at) where callback_at is not null;
