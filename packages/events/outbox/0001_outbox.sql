-- Events of this service that have not been moved to the log yet; the relay deletes what it moves.
create table outbox (
  seq bigint generated always as identity primary key,
  -- Both stand in an index of the log.
  event_id text collate "C" not null check (octet_length(event_id) between 1 and 256),
  source text collate "C" not null check (octet_length(source) between 1 and 1024),
  -- Empty: the platform's own.
  environment text collate "C" not null,
  -- The event's type.
  topic text collate "C" not null,
  partition_key text collate "C",
  -- Where events of one key meet: 0 to 1023, computed by the publisher.
  slot smallint not null check (slot between 0 and 1023),
  -- Every other attribute of the CloudEvent.
  attributes json not null,
  data bytea,
  created_at timestamptz not null default clock_timestamp()
) with (
  -- A queue: nearly all its rows are dead nearly all the time.
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000000
);

comment on table outbox is 'hms.events.outbox.1';

-- What handlers of this service have done, written in the transaction that did it.
create table inbox (
  consumer_group text collate "C" not null,
  source text collate "C" not null,
  event_id text collate "C" not null,
  handled_at timestamptz not null default now(),
  primary key (consumer_group, source, event_id)
);

create index inbox_by_age on inbox using brin (handled_at);
