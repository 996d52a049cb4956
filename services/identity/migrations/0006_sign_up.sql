-- Whose mail addresses get an account at their first sign-in by a provider; "*": everybody there; null: nobody.
alter table identity_provider add column sign_up_domains text[];

-- What such accounts begin with. A role or group that is removed, and made again, is another one.
create table sign_up_role (
  provider text collate "C" not null references identity_provider on delete cascade,
  role text collate "C" not null references role on delete cascade,
  primary key (provider, role)
);
create table sign_up_group (
  provider text collate "C" not null references identity_provider on delete cascade,
  group_name text collate "C" not null references account_group on delete cascade,
  primary key (provider, group_name)
);
