-- Makes the partitions of today and tomorrow, and drops those older than so many days.
create function keep_log_days(keep_days integer) returns void language plpgsql as $$
declare
  today date := (clock_timestamp() at time zone 'UTC')::date;
  wanted date;
  old record;
begin
  perform pg_advisory_xact_lock(hashtextextended('durable.log_days', 0));
  foreach wanted in array array[today, today + 1] loop
    if to_regclass('log_chunk_' || to_char(wanted, 'YYYYMMDD')) is null then
      execute format('create table %I partition of log_chunk for values in (%L)', 'log_chunk_' || to_char(wanted, 'YYYYMMDD'), wanted);
    end if;
  end loop;
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'log_chunk'::regclass and c.relname < 'log_chunk_' || to_char(today - keep_days, 'YYYYMMDD')
  loop
    execute format('drop table %I', old.relname);
  end loop;
end $$;
