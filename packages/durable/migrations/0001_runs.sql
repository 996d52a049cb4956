-- Runs of graphs of steps: what is here is the truth, and every transition is one commit. Whoever changes a run, its tasks
-- or its events holds the lock of the run's row (several: in the order of their ids). Only claims and heartbeats do not:
-- they take tasks that nobody has locked and wait for nobody. No foreign keys: they would lock the run's row once more for each
-- row written, and whoever writes holds that lock already; forget_runs() deletes a run with all that belongs to it. No check
-- constraints: each statement would parse them anew, which took as long as all its other work; testing/invariants.ts asks.
create table run (
  -- Unique in the whole installation, as its events and logs go by it alone; the environment is checked by whoever looks.
  id uuid primary key,
  environment text collate "C" not null,
  graph jsonb not null,
  inputs jsonb not null,
  principal jsonb not null,
  labels jsonb not null default '{}',
  -- queued, running, succeeded, failed, cancelled, timed_out. In no index, as ended_at: most ends change the row in place.
  state text collate "C" not null,
  -- Nodes that have not ended; and those of them that run finally.
  open_nodes integer not null,
  open_finally integer not null,
  has_failed boolean not null default false,
  -- Why it was told to stop before its end, and when.
  stop_reason text collate "C",
  stop_at timestamptz,
  -- Told to stop, and not yet ended.
  is_stopping boolean not null default false,
  paused_at timestamptz,
  -- Whether what becomes ready has to wait: the run is paused, or queued behind others.
  parked boolean not null default false,
  last_seq bigint not null default 0,
  priority smallint not null default 0,
  idempotency_key text collate "C",
  request_sha256 bytea,
  -- Until it has been told to stop, or has ended.
  deadline_at timestamptz,
  concurrency_key text collate "C",
  concurrency_limit integer,
  -- queue, cancel_running, reject
  on_limit text collate "C",
  -- Its concurrency key until its end.
  held_key text collate "C",
  -- The node of another run that waits for this one; and whether it has been told of the end.
  parent_run uuid,
  parent_node text collate "C",
  parent_told boolean not null default false,
  -- The run that this one carries on, and whether targets that have succeeded there are done here.
  retry_of uuid,
  only_failed_targets boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz
) with (fillfactor = 70);

create unique index run_by_key on run (environment, idempotency_key) where idempotency_key is not null;
create index run_newest on run (environment, id desc);
create index run_deadline on run (deadline_at) where deadline_at is not null;
create index run_of_parent on run (parent_run, parent_node) where parent_run is not null;
create index run_untold on run (id) where parent_run is not null and not parent_told;
create index run_stopping on run (id) where is_stopping;
create index run_of_held_key on run (environment, held_key, id) where held_key is not null;

-- What a worker can claim: a node of a run, or one target of a node that fans out.
create table task (
  run_id uuid not null,
  node text collate "C" not null,
  -- Empty: the node itself.
  target text collate "C" not null default '',
  -- step, approval, wait, run
  kind text collate "C" not null,
  queue text collate "C" not null,
  priority smallint not null default 0,
  -- blocked, held, parked, ready, running, waiting, needs_decision, succeeded, failed, skipped, cancelled.
  -- held: until the run comes to its finally nodes, or a batch of targets begins. parked: ready but for its run.
  state text collate "C" not null,
  -- It is ready when so many of its needs are satisfied, and skipped when that has become impossible.
  need integer not null default 0,
  satisfied integer not null default 0,
  pending integer not null default 0,
  successors text[] not null default '{}',
  conditions text[] not null default '{}',
  is_finally boolean not null default false,
  allow_failure boolean not null default false,
  effect text collate "C" not null,
  spec jsonb not null,
  item jsonb,
  batch integer,
  -- Times it was claimed; those that failed; those whose worker was lost.
  attempt integer not null default 0,
  failures integer not null default 0,
  losses integer not null default 0,
  worker text collate "C",
  -- Given anew with each claim: who shows an older one changes nothing.
  fence bigint not null default 0,
  lease_until timestamptz,
  ready_at timestamptz not null default clock_timestamp(),
  -- What it waits for (retry, time, decision, run, targets), and until when at most.
  wait_for text collate "C",
  due_at timestamptz,
  output jsonb,
  error jsonb,
  started_at timestamptz,
  ended_at timestamptz,
  primary key (run_id, node, target)
) with (fillfactor = 70);

create index task_ready on task (queue, priority desc, ready_at) where state = 'ready';
-- Not by lease: a heartbeat then changes rows in place.
create index task_running on task (worker) where state = 'running';
create index task_due on task (due_at) where state = 'waiting' and due_at is not null;

create sequence fence as bigint;

-- Attempts that came to nothing: failed, lost, or given back. The last one of a task is in the task.
create table attempt (
  run_id uuid not null,
  node text collate "C" not null,
  target text collate "C" not null,
  attempt integer not null,
  worker text collate "C",
  fence bigint not null,
  -- failed, lost, released
  outcome text collate "C" not null,
  error jsonb,
  started_at timestamptz not null,
  ended_at timestamptz not null default clock_timestamp(),
  primary key (run_id, node, target, attempt)
);

-- A node with targets that has begun.
create table fan_out (
  run_id uuid not null,
  node text collate "C" not null,
  targets integer not null,
  -- Targets that have not ended, those of them that may run now, and those that have failed.
  open integer not null,
  batch_open integer not null,
  failed integer not null default 0,
  batch integer not null default 0,
  batches integer not null,
  max_fail integer not null,
  pause_ms float8 not null,
  -- stop, pause
  on_threshold text collate "C" not null,
  primary key (run_id, node)
);

-- What has happened to a run, numbered without gaps.
create table event (
  run_id uuid not null,
  seq bigint not null,
  at timestamptz not null default clock_timestamp(),
  type text collate "C" not null,
  node text collate "C",
  target text collate "C",
  attempt integer,
  data jsonb,
  primary key (run_id, seq)
);

-- What steps say, in pieces; each attempt numbers its own from 1 without gaps. Of a run they are ordered by `position`: what
-- is seen of it never comes before what was seen already.
create table log_chunk (
  day date not null,
  run_id uuid not null,
  node text collate "C" not null,
  target text collate "C" not null,
  attempt integer not null,
  seq integer not null,
  position bigint not null,
  at timestamptz not null default clock_timestamp(),
  bytes bytea not null,
  primary key (run_id, node, target, attempt, seq, day)
) partition by list (day);
create index log_chunk_of_run on log_chunk (run_id, position);

-- The last position in a run's log.
create table log_end (
  run_id uuid primary key,
  position bigint not null
) with (fillfactor = 50);
