-- While two versions serve side by side: {"revision": 7, "share": 100}, the one that is tried and its ten-thousandths.
alter table service add column if not exists split jsonb;
-- What people have asked of a rollout that runs, in order: [{"what": "pause", "by": "user:anna", "reason": ""}].
alter table rollout add column if not exists asked jsonb not null default '[]';
