-- Mail addresses that are proven to be somebody's, and links that prove them.
alter table account add column email_verified_at timestamptz;
alter table link
  drop constraint link_purpose_check,
  add constraint link_purpose_check check (purpose in ('set-up', 'invitation', 'reset', 'verify')),
  -- Where it was mailed to; who uses it reads mail there.
  add column email text;
