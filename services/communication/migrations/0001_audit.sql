-- How far each chain of the audit log goes, and up to where the spool behind it was taken. The log itself lies in a schema
-- of its own, audit_log, where this service may only add.
create table shard_head (
  shard text primary key,
  seq bigint not null default 0,
  mac bytea not null default decode(repeat('00', 32), 'hex'),
  epoch integer not null default 0,
  -- Microseconds since 1970.
  recorded_at bigint not null default 0,
  spool_id text not null default '',
  segment bigint not null default 0,
  byte_offset bigint not null default 0,
  -- Up to where the chain was removed when its time was over.
  removed_seq bigint not null default 0,
  removed_mac bytea not null default decode(repeat('00', 32), 'hex')
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
