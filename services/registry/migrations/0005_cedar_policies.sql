-- Policies written in Cedar; what every policy is for, who stored it, and what has to stay true whenever one changes.
alter table policy
  add column if not exists cedar text,
  add column if not exists description text not null default '',
  add column if not exists author text not null default '',
  add column if not exists tests jsonb not null default '[]';
