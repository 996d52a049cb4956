-- What whoever asked for a rollout said.
alter table rollout add column if not exists reason text not null default '';
-- The newest revision with a tag has it.
alter table revision add column if not exists tag text not null default '';
-- While there is one, deploys are refused: of one service, or ('') of all of an environment.
create table if not exists deploy_freeze (
  environment text not null,
  service text not null default '',
  until timestamptz not null,
  reason text not null,
  set_by text not null,
  since timestamptz not null default now(),
  primary key (environment, service)
);
