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
  where r.environment = of_environment and r.held_key = of_key and r.state = 'running';
  for next in
    select r.id, r.concurrency_limit, r.paused_at from run r
    where r.environment = of_environment and r.held_key = of_key and r.state = 'queued'
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

-- Stores new runs with their tasks. `asked` is an array of {graph, tasks, runs, slots}: runs with one graph and the same tasks,
-- of which up to `slots` that are ready are claimed for `as_worker` at once; those with a concurrency key apart. One whose idempotency key is known gives the run that has it.
-- Gives at least one row for each asked run, the first of which counts; with the nodes that were claimed, and their fences.
create function start_runs(asked jsonb, as_worker text, claim_queues text[], lease_ms integer)
returns table (asked_id uuid, id uuid, is_new boolean, same_request boolean, state text, nodes text[], fences bigint[])
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  batch record;
  key record;
  made integer;
  are_all_new boolean := true;
begin
  for batch in select * from jsonb_to_recordset(asked) as b (graph jsonb, tasks jsonb, runs jsonb, slots integer) loop
    return query
      with made as (
        insert into run (id, environment, graph, inputs, principal, labels, state, parked, open_nodes, open_finally, last_seq, priority,
          idempotency_key, request_sha256, deadline_at, parent_run, parent_node, retry_of, only_failed_targets, started_at,
          concurrency_key, concurrency_limit, on_limit, held_key)
        select r.id, r.environment, batch.graph, r.inputs, r.principal, coalesce(r.labels, '{}'), case when r.concurrency_key is null then 'running' else 'queued' end,
          r.concurrency_key is not null, r.open_nodes, r.open_finally, 1, coalesce(r.priority, 0), r.idempotency_key,
          decode(r.request_sha256, 'hex'), clock_timestamp() + make_interval(secs => r.timeout_ms / 1000), r.parent_run, r.parent_node,
          r.retry_of, coalesce(r.only_failed_targets, false), case when r.concurrency_key is null then clock_timestamp() end,
          r.concurrency_key, r.concurrency_limit, r.on_limit, r.concurrency_key
        from jsonb_to_recordset(batch.runs) as r (id uuid, environment text, inputs jsonb, principal jsonb, labels jsonb, idempotency_key text,
          request_sha256 text, priority smallint, timeout_ms float8, parent_run uuid, parent_node text, retry_of uuid,
          only_failed_targets boolean, open_nodes integer, open_finally integer, concurrency_key text, concurrency_limit integer,
          on_limit text)
        on conflict do nothing
        returning id, priority, held_key, retry_of
      ),
      noted as (
        insert into event (run_id, seq, type, data)
        select m.id, 1, case when m.held_key is null then 'run.started' else 'run.queued' end,
          case when m.retry_of is not null then jsonb_build_object('retry_of', m.retry_of) end
        from made m
      ),
      planned as (
        select m.id, m.priority as run_priority, m.held_key, t.*,
          t.state = 'ready' and m.held_key is null and t.queue = any (claim_queues) as is_claimable
        from made m cross join jsonb_to_recordset(batch.tasks) as t (node text, kind text, queue text, priority smallint, state text,
          need integer, satisfied integer, pending integer, successors text[], conditions text[], is_finally boolean,
          allow_failure boolean, effect text, spec jsonb, output jsonb)
      ),
      numbered as (
        select p.*, p.is_claimable and row_number() over (partition by p.is_claimable) <= batch.slots as is_claimed from planned p
      ),
      stored as (
        insert into task (run_id, node, kind, queue, priority, state, need, satisfied, pending, successors, conditions, is_finally,
          allow_failure, effect, spec, output, ended_at, worker, fence, attempt, lease_until, started_at)
        select n.id, n.node, n.kind, n.queue, coalesce(n.priority, n.run_priority),
          case when n.is_claimed then 'running' when n.held_key is not null and n.state = 'ready' then 'parked' else n.state end, n.need,
          n.satisfied, n.pending, n.successors, n.conditions, n.is_finally, n.allow_failure, n.effect, n.spec, n.output,
          case when n.state in ('succeeded', 'skipped') then clock_timestamp() end,
          case when n.is_claimed then as_worker end, case when n.is_claimed then nextval('fence') else 0 end, n.is_claimed::int,
          case when n.is_claimed then clock_timestamp() + make_interval(secs => lease_ms / 1000.0::float8) end,
          case when n.is_claimed then clock_timestamp() end
        from numbered n
        returning run_id, node, state, fence
      )
      select s.run_id, s.run_id, true, true, 'running', array_agg(s.node) filter (where s.state = 'running'),
        array_agg(s.fence) filter (where s.state = 'running')
      from stored s where not batch.runs->0 ? 'concurrency_key' group by s.run_id;
    get diagnostics made = row_count;
    are_all_new := are_all_new and made = jsonb_array_length(batch.runs);
  end loop;
  if are_all_new then return; end if;

  for key in
    select distinct r.environment, r.concurrency_key
    from jsonb_to_recordset(asked) as b (runs jsonb) cross join jsonb_to_recordset(b.runs) as r (environment text, concurrency_key text)
    where r.concurrency_key is not null order by 1, 2
  loop
    perform admit_queued(key.environment, key.concurrency_key);
  end loop;
  return query
    select d.id, coalesce(m.id, k.id), m.id is not null, m.id is not null or k.request_sha256 = decode(d.request_sha256, 'hex'),
      coalesce(m.state, k.state), null::text[], null::bigint[]
    from jsonb_to_recordset(asked) as b (runs jsonb)
      cross join jsonb_to_recordset(b.runs) as d (id uuid, environment text, idempotency_key text, request_sha256 text)
      left join run m on m.id = d.id
      left join run k on m.id is null and k.environment = d.environment and k.idempotency_key = d.idempotency_key;
  if exists (
    select from jsonb_to_recordset(asked) as b (runs jsonb) cross join jsonb_to_recordset(b.runs) as d (id uuid, on_limit text)
      join run r on r.id = d.id
    where d.on_limit = 'reject' and r.state = 'queued'
  ) then
    raise exception 'limit reached' using errcode = 'HMS02';
  end if;
end $$;
