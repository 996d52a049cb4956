-- The principal that deployed a service first, "user:anna"; empty for those that are older than this column.
alter table service add column if not exists owner text collate "C" not null default '';
