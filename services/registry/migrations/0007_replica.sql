-- Which replica of a deployed service answers, "environment/service/revision/name"; empty: none, or it has not said so.
alter table instance add column if not exists replica text collate "C" not null default '';

create index if not exists instance_by_replica on instance (replica) where replica <> '';
