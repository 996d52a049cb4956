-- How many seconds ago a second factor may have been shown; null: however long ago. Who sets it has requires_mfa too.
alter table policy
  add column if not exists mfa_max_age_s integer check (mfa_max_age_s > 0);
