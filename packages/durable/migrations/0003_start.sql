-- Lets runs that wait for one concurrency key begin, as many as may: higher priority first, then the older.
create function admit_queued(of_environment text, of_key text) returns integer language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  active integer;
  next record;
  admitted integer := 0;
begin
  -- One at a time; whoever holds this waits for no run's lock.
  perform pg_advisory_xact_lock(hashtextextended('durable.key ' || of_environment || ' ' || of_key, 0));
  select count(*) into active from run r
  where r.environment = of_environment and r.concurrency_key = of_key and r.ended_at is null and r.state = 'running';
  for next in
    select r.id, r.concurrency_limit, r.paused_at from run r
    where r.environment = of_environment and r.concurrency_key = of_key and r.ended_at is null and r.state = 'queued'
      and r.stop_reason is null
    order by r.priority desc, r.id for update skip locked
  loop
    exit when active >= next.concurrency_limit;
    update run r set state = 'running', parked = r.paused_at is not null, started_at = clock_timestamp(), last_seq = r.last_seq + 1
    where r.id = next.id;
    insert into event (run_id, seq, type) select r.id, r.last_seq, 'run.started' from run r where r.id = next.id;
    if next.paused_at is null then
      update task t set state = 'ready', ready_at = clock_timestamp() where t.run_id = next.id and t.state = 'parked';
    end if;
    active := active + 1;
    admitted := admitted + 1;
  end loop;
  return admitted;
end $$;

-- Stores new runs with their tasks. `asked` is an array of runs, each with its array `tasks`. One whose idempotency key is
-- known gives the run that has it. Gives one row per asked run, in order.
create function start_runs(asked jsonb) returns table (id uuid, is_new boolean, same_request boolean, state text)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  key record;
  made_ids uuid[];
begin
  with request as (
    select d.*, d.concurrency_key is not null as is_queued from jsonb_array_elements(asked) a
    cross join lateral jsonb_to_record(a.value) as d (id uuid, environment text, graph jsonb, inputs jsonb, principal jsonb,
      idempotency_key text, request_sha256 text, priority smallint, timeout_ms float8, parent_run uuid,
      parent_node text, retry_of uuid, only_failed_targets boolean, open_nodes integer, open_finally integer,
      concurrency_key text, concurrency_limit integer, on_limit text)
  ),
  made as (
    insert into run (id, environment, graph, inputs, principal, state, parked, open_nodes, open_finally, last_seq, priority,
      idempotency_key, request_sha256, deadline_at, parent_run, parent_node, retry_of, only_failed_targets, started_at,
      concurrency_key, concurrency_limit, on_limit)
    select r.id, r.environment, r.graph, r.inputs, r.principal, case when r.is_queued then 'queued' else 'running' end, r.is_queued,
      r.open_nodes, r.open_finally, 1, coalesce(r.priority, 0), r.idempotency_key, decode(r.request_sha256, 'hex'),
      clock_timestamp() + make_interval(secs => r.timeout_ms / 1000), r.parent_run, r.parent_node, r.retry_of,
      coalesce(r.only_failed_targets, false), case when not r.is_queued then clock_timestamp() end,
      r.concurrency_key, r.concurrency_limit, r.on_limit
    from request r
    on conflict do nothing
    returning id
  )
  select array_agg(m.id) into made_ids from made m;

  insert into task (run_id, node, kind, queue, priority, state, need, satisfied, pending, successors, conditions, is_finally,
    allow_failure, effect, spec, output, ended_at)
  select r.id, t.node, t.kind, t.queue, coalesce(t.priority, r.priority, 0),
    case when r.concurrency_key is not null and t.state = 'ready' then 'parked' else t.state end, t.need, t.satisfied, t.pending,
    t.successors, t.conditions, t.is_finally, t.allow_failure, t.effect, t.spec, t.output,
    case when t.state in ('succeeded', 'skipped') then clock_timestamp() end
  from jsonb_to_recordset(asked) as r (id uuid, priority smallint, concurrency_key text, tasks jsonb)
    cross join lateral jsonb_to_recordset(r.tasks) as t (node text, kind text, queue text, priority smallint, state text,
      need integer, satisfied integer, pending integer, successors text[], conditions text[], is_finally boolean,
      allow_failure boolean, effect text, spec jsonb, output jsonb)
  where r.id = any (made_ids);

  insert into event (run_id, seq, type, data)
  select r.id, 1, case when r.concurrency_key is not null then 'run.queued' else 'run.started' end,
    case when r.retry_of is not null then jsonb_build_object('retry_of', r.retry_of) end
  from jsonb_to_recordset(asked) as r (id uuid, concurrency_key text, retry_of uuid) where r.id = any (made_ids);

  for key in
    select distinct d.environment, d.concurrency_key from jsonb_to_recordset(asked) as d (environment text, concurrency_key text)
    where d.concurrency_key is not null order by 1, 2
  loop
    perform admit_queued(key.environment, key.concurrency_key);
  end loop;
  return query
    select coalesce(m.id, k.id), m.id is not null, m.id is not null or k.request_sha256 = decode(d.request_sha256, 'hex'),
      coalesce(m.state, k.state)
    from rows from (jsonb_to_recordset(asked) as (id uuid, environment text, idempotency_key text, request_sha256 text))
        with ordinality as d (id, environment, idempotency_key, request_sha256, place)
      left join run m on m.id = d.id
      left join run k on m.id is null and k.environment = d.environment and k.idempotency_key = d.idempotency_key
    order by d.place;
  if exists (
    select from jsonb_to_recordset(asked) as d (id uuid, on_limit text) join run r on r.id = d.id
    where d.on_limit = 'reject' and r.state = 'queued'
  ) then
    raise exception 'limit reached' using errcode = 'HMS02';
  end if;
end $$;
