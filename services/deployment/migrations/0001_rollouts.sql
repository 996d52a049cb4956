-- One service of one environment: what is meant to serve, and who may change it now.
create table service (
  environment text collate "C" not null,
  name text collate "C" not null,
  -- The revision that serves; 0: none yet.
  current_revision bigint not null default 0,
  -- The revision whose routes and traffic rules apply; 0: the service is not in the mesh.
  traffic_revision bigint not null default 0,
  -- Replicas meant to run.
  wanted integer not null default 0,
  -- What the operator scaled it to; null: what the manifest says.
  scaled_to integer,
  deployed_at timestamptz,
  next_revision bigint not null default 1,
  created_at timestamptz not null default now(),
  primary key (environment, name)
);

-- Everything needed to run a version again: manifest with its resolved environment, and the sealed program.
create table revision (
  environment text collate "C" not null,
  service text collate "C" not null,
  revision bigint not null check (revision > 0),
  manifest jsonb not null,
  source_directory text not null,
  release_digest text not null default '',
  -- What became of it: '' (never served), 'good', 'bad'.
  outcome text not null default '' check (outcome in ('', 'good', 'bad')),
  created_at timestamptz not null default now(),
  primary key (environment, service, revision),
  foreign key (environment, service) references service on delete cascade
);

-- A rollout, from its request to its end; it outlives a removed service, so that its end can be read.
create table rollout (
  environment text collate "C" not null,
  rollout_id text collate "C" not null unique,
  service text collate "C" not null,
  -- Orders the rollouts of the installation.
  position bigint generated always as identity unique,
  kind text not null,
  phase text not null,
  revision bigint not null,
  previous_revision bigint not null,
  version text not null,
  principal text not null,
  -- What the request asked for beside the revision: {"replicas": 4}.
  request jsonb not null,
  -- The state machine's whole memory.
  state jsonb not null,
  -- Counts transitions: one is never made twice.
  turn bigint not null default 0,
  -- Events so far.
  events bigint not null default 0,
  failure_reason text not null default '',
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  primary key (environment, rollout_id)
);
create index rollout_by_service on rollout (environment, service, position desc);
create index rollout_running on rollout (position) where ended_at is null;

-- What happened in a rollout, in order: hms.sys.deployment.v1.RolloutEvent in its JSON form.
create table rollout_event (
  environment text collate "C" not null,
  rollout_id text collate "C" not null,
  sequence bigint not null check (sequence > 0),
  event jsonb not null,
  primary key (environment, rollout_id, sequence),
  foreign key (environment, rollout_id) references rollout on delete cascade
);

-- Whose turn it is to change a service: one rollout at a time, carried on by one server at a time.
create table rollout_lock (
  environment text collate "C" not null,
  service text collate "C" not null,
  rollout_id text collate "C" not null,
  -- The server that carries the rollout on.
  holder text not null,
  -- Counts up with each holder: what an earlier one still writes is refused.
  fence bigint not null default 1,
  -- The holder's last sign of life.
  beat_at timestamptz not null default clock_timestamp(),
  leased_until timestamptz not null,
  since timestamptz not null default clock_timestamp(),
  primary key (environment, service),
  foreign key (environment, rollout_id) references rollout on delete cascade
);

-- Replicas that are meant to run ('running'), to go ('stopping'), or have gone ('gone', kept while their logs may be).
create table replica (
  environment text collate "C" not null,
  service text collate "C" not null,
  replica_id text collate "C" not null,
  revision bigint not null,
  ordinal integer not null,
  phase text not null check (phase in ('running', 'stopping', 'gone')),
  traffic text not null check (traffic in ('none', 'active', 'draining')),
  -- The process that has passed its health checks, "pid@start".
  proven text not null default '',
  changed_at timestamptz not null default now(),
  primary key (environment, replica_id),
  foreign key (environment, service) references service on delete cascade
);
create index replica_by_service on replica (environment, service);
