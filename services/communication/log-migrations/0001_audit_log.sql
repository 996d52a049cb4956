-- The audit log. The service's role may look and add; nobody changes or removes anything but whole days.
create table audit_event (
  shard text not null,
  seq bigint not null,
  recorded_at timestamptz not null,
  epoch integer not null,
  time timestamptz not null,
  outcome smallint not null,
  actor text not null,
  method text not null,
  resource text not null,
  environment text not null,
  request_id text not null,
  trace_id text not null,
  event bytea not null,
  mac bytea not null,
  primary key (shard, seq, recorded_at)
) partition by range (recorded_at);

create index audit_event_recorded_at on audit_event (recorded_at, shard, seq);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'The audit log is append-only: % is refused.', tg_op using errcode = 'insufficient_privilege';
end
$$;

create trigger append_only before update or delete on audit_event for each statement execute function refuse_change();
create trigger append_only_truncate before truncate on audit_event for each statement execute function refuse_change();

-- Makes room for a day.
create function ensure_day(day date) returns void language plpgsql security definer
set search_path = audit_log, pg_temp as $$
declare
  name text := 'audit_event_' || to_char(day, 'YYYYMMDD');
begin
  if to_regclass(name) is not null then return; end if;
  perform pg_advisory_xact_lock(hashtextextended('hms:audit_log:' || name, 0));
  if to_regclass(name) is not null then return; end if;
  execute format('create table %I partition of audit_event for values from (%L) to (%L)', name,
    day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
  execute format('create trigger append_only_day before update or delete or truncate on %I
    for each statement execute function refuse_change()', name);
end
$$;

-- The days that there are, oldest first.
create function days() returns setof date language sql stable security definer
set search_path = audit_log, pg_temp as $$
  select to_date(right(c.relname, 8), 'YYYYMMDD')
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'audit_event'::regclass order by 1
$$;

-- Removes a day whose time is over; never one of the last seven.
create function remove_day(day date) returns void language plpgsql security definer
set search_path = audit_log, pg_temp as $$
begin
  if day > (now() at time zone 'utc')::date - 7 then
    raise exception 'The audit log keeps the last seven days, whatever is asked: % stays.', day
      using errcode = 'insufficient_privilege';
  end if;
  execute format('drop table %I', 'audit_event_' || to_char(day, 'YYYYMMDD'));
end
$$;

revoke all on function ensure_day(date), remove_day(date), days() from public;

-- Where all services share one role there is nobody to be kept from the log but by its triggers.
do $$
begin
  if exists (select from pg_roles where rolname = 'hms_communication') then
    grant usage on schema audit_log to hms_communication;
    grant select, insert on audit_event to hms_communication;
    grant execute on function ensure_day(date), remove_day(date), days() to hms_communication;
  end if;
end
$$;
