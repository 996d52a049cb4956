-- The policies of the file as they were in force last: what a later server finds missing from it, it revokes.
create table policy_file (
  singleton boolean primary key default true check (singleton),
  rules jsonb not null
);
