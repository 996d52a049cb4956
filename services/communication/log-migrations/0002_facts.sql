-- What else the log is searched by, one fact a line; verified against the event's bytes like every other column.
alter table audit_event add column facts text not null default '';
