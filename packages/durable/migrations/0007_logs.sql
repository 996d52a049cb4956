-- Stores pieces of logs. Who writes for a run gives its positions alone until its commit, so they are seen in their order; for
-- several runs in the order of their ids, so nobody waits for one another. A piece that is known is not stored again.
create function write_logs(run_ids uuid[], nodes text[], targets text[], attempts integer[], seqs integer[], pieces bytea[]) returns void
language sql as $$
  with piece as (
    select p.*, row_number() over (partition by p.run_id order by p.place) as number, count(*) over (partition by p.run_id) as amount
    from unnest(run_ids, nodes, targets, attempts, seqs, pieces) with ordinality p (run_id, node, target, attempt, seq, bytes, place)
  ),
  counted as (select p.run_id, count(*) as amount from piece p group by 1),
  moved as (
    insert into log_end (run_id, position) select c.run_id, c.amount from counted c order by c.run_id
    on conflict (run_id) do update set position = log_end.position + excluded.position
    returning run_id, position
  )
  insert into log_chunk (day, run_id, node, target, attempt, seq, position, bytes)
  select (clock_timestamp() at time zone 'UTC')::date, p.run_id, p.node, p.target, p.attempt, p.seq, m.position - p.amount + p.number, p.bytes
  from piece p join moved m on m.run_id = p.run_id
  on conflict do nothing
$$;

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

-- Deletes runs that ended more than so many days ago, with all that belongs to them; at most 500 at once. Gives how many.
create function forget_runs(keep_days integer) returns integer language plpgsql
set enable_seqscan = off as $$
#variable_conflict use_column
declare
  ids uuid[];
begin
  -- A run that another one waits for, or that has not told its parent, stays.
  ids := array(select r.id from run r
    where r.ended_at < clock_timestamp() - make_interval(days => keep_days) and (r.parent_run is null or r.parent_told)
    order by r.ended_at limit 500 for update skip locked);
  delete from event e where e.run_id = any (ids);
  delete from attempt a where a.run_id = any (ids);
  delete from fan_out f where f.run_id = any (ids);
  delete from log_end l where l.run_id = any (ids);
  delete from task t where t.run_id = any (ids);
  delete from run r where r.id = any (ids);
  return cardinality(ids);
end $$;

-- Asked once an hour. It lets a run that ends be changed in place, from PostgreSQL 16 on.
create index run_ended on run using brin (ended_at);

-- Programs elsewhere may say something before the first worker has looked after the days.
select keep_log_days(30);
