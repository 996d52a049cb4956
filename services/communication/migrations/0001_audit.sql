-- How far each chain of the audit log goes. The log itself lies in a schema of its own, audit_log, where this service may
-- only add.
create table shard_head (
  shard text primary key,
  seq bigint not null default 0,
  mac bytea not null default decode(repeat('00', 32), 'hex'),
  epoch integer not null default 0,
  -- Microseconds since 1970.
  recorded_at bigint not null default 0,
  -- Up to where the chain was removed when its time was over.
  removed_seq bigint not null default 0,
  removed_mac bytea not null default decode(repeat('00', 32), 'hex')
);

-- Up to where the log has each spool. A spool's id is drawn at random: what came once from it never comes again.
create table spool_position (
  spool_id text primary key,
  shard text not null,
  segment bigint not null,
  byte_offset bigint not null
);

-- The last checkpoint; one row.
create table checkpoint_head (
  one boolean primary key default true check (one),
  number bigint not null,
  line_sha256 text not null,
  time timestamptz not null,
  -- The last one that the sink has taken.
  sent bigint not null default 0
);
