CREATE TABLE service (
  environment text NOT NULL,
  name text NOT NULL,
  -- The revision that serves; 0 before the first one did.
  revision bigint NOT NULL DEFAULT 0,
  -- Whose routes and traffic policy the mesh has.
  traffic_revision bigint NOT NULL DEFAULT 0,
  last_revision bigint NOT NULL DEFAULT 0,
  wanted integer NOT NULL DEFAULT 0,
  deployed_at timestamptz,
  PRIMARY KEY (environment, name)
);

CREATE TABLE revision (
  environment text NOT NULL,
  service text NOT NULL,
  revision bigint NOT NULL,
  manifest jsonb NOT NULL,
  release_digest text NOT NULL,
  outcome text NOT NULL DEFAULT 'untried' CHECK (outcome IN ('untried', 'good', 'bad')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (environment, service, revision),
  FOREIGN KEY (environment, service) REFERENCES service ON DELETE CASCADE
);

CREATE TABLE rollout (
  rollout_id text PRIMARY KEY,
  environment text NOT NULL,
  service text NOT NULL,
  kind smallint NOT NULL,
  state smallint NOT NULL,
  revision bigint NOT NULL DEFAULT 0,
  previous_revision bigint NOT NULL DEFAULT 0,
  wanted integer NOT NULL,
  previous_wanted integer NOT NULL,
  principal text NOT NULL,
  -- What a deploy was asked for, until its revision exists.
  manifest jsonb,
  source_directory text,
  release_command_done boolean NOT NULL DEFAULT false,
  failure jsonb,
  started_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  -- The server that drives it, and until when it is trusted to.
  owner text,
  lease_until timestamptz,
  FOREIGN KEY (environment, service) REFERENCES service ON DELETE CASCADE
);
CREATE INDEX rollout_of_service ON rollout (environment, service, started_at DESC, rollout_id DESC);
CREATE INDEX rollout_running ON rollout (started_at) WHERE ended_at IS NULL;
-- The lock: one rollout of a service is driven at a time.
CREATE UNIQUE INDEX rollout_lock ON rollout (environment, service) WHERE ended_at IS NULL AND owner IS NOT NULL;

-- Outlives its service: watching a removal to its end must work.
CREATE TABLE rollout_event (
  rollout_id text NOT NULL,
  sequence bigint NOT NULL,
  event jsonb NOT NULL,
  PRIMARY KEY (rollout_id, sequence)
);

CREATE TABLE replica (
  replica_id text PRIMARY KEY,
  environment text NOT NULL,
  service text NOT NULL,
  revision bigint NOT NULL,
  rollout_id text NOT NULL,
  phase text NOT NULL CHECK (phase IN ('starting', 'active', 'draining')),
  created_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (environment, service) REFERENCES service ON DELETE CASCADE
);
CREATE INDEX replica_of_service ON replica (environment, service);
