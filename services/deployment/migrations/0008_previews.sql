-- Environments that end by themselves: at `expires_at` all of their services are removed, and then the row.
create table if not exists preview (
  environment text primary key,
  base_environment text not null,
  expires_at timestamptz not null,
  owner text not null,
  created_at timestamptz not null,
  -- Since when it is as it is: what was removed before says nothing of it.
  set_at timestamptz not null,
  -- Who has ended it before its time; empty: nobody.
  ended_by text not null default ''
);
