-- Slots are places in the installation's address plan: given in order, kept for ever, also after a service is removed.
create table environment (
  name text collate "C" primary key,
  slot integer not null unique check (slot >= 0),
  created_at timestamptz not null default now()
);

create table address (
  environment text collate "C" not null references environment,
  name text collate "C" not null,
  slot integer not null unique check (slot >= 0),
  given_at timestamptz not null default now(),
  primary key (environment, name)
);

-- One service's traffic picture: a serialized hms.sys.mesh.v1.MeshServiceEntry in its normal form, without its address.
create table service (
  environment text collate "C" not null,
  name text collate "C" not null,
  picture bytea not null,
  changed_at timestamptz not null default now(),
  primary key (environment, name),
  foreign key (environment, name) references address
);

-- The newest snapshot, one row. Whoever changes traffic locks it first, so that versions follow the order of commits.
create table snapshot (
  only_one boolean primary key default true check (only_one),
  version bigint not null,
  content bytea not null,
  sha256 bytea not null,
  created_at timestamptz not null default now()
);

insert into environment (name, slot) values ('default', 0);
insert into snapshot (version, content, sha256) values (0, '', sha256(''));
