create type task_key as (run_id uuid, node text, target text);
create type task_end as (run_id uuid, node text, target text, state text, is_finally boolean, allow_failure boolean,
  successors text[], conditions text[]);
create type event_draft as (run_id uuid, type text, node text, target text, attempt integer, data jsonb);
create type ended_run as (run_id uuid, state text);

-- Locks runs in the one order in which everybody does.
create function lock_runs(ids uuid[]) returns void language plpgsql as $$
begin
  perform from run r where r.id = any (ids) order by r.id for update;
end $$;

-- Carries on what follows from the ends of tasks, with the locks of their runs held: successors become ready or are
-- skipped, finally nodes begin, runs end, events are written. Gives what became ready and which runs have ended.
create function advance(ended task_end[], drafts event_draft[], out became_ready task_key[], out ended_runs ended_run[])
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  frontier task_end[];
  nodes task_end[];
  skipped task_end[];
  ready task_key[];
  gates uuid[];
begin
  became_ready := '{}';
  nodes := array(select e from unnest(ended) e where e.target = '');
  frontier := array(select e from unnest(nodes) e where cardinality(e.successors) > 0);
  while cardinality(frontier) > 0 loop
    with edge as (
      select f.run_id, s.node, count(*)::int as resolved,
        (count(*) filter (where s.condition = 'always' or (s.condition = 'success' and f.state = 'succeeded')
          or (s.condition = 'failure' and f.state = 'failed')))::int as satisfied
      from unnest(frontier) f cross join lateral unnest(f.successors, f.conditions) s (node, condition)
      group by 1, 2
    ),
    moved as (
      update task t set pending = t.pending - e.resolved, satisfied = t.satisfied + e.satisfied,
        state = case
          when t.satisfied + e.satisfied >= t.need then case when r.parked then 'parked' else 'ready' end
          when t.satisfied + e.satisfied + t.pending - e.resolved < t.need then 'skipped' else t.state end,
        ready_at = clock_timestamp(),
        ended_at = case when t.satisfied + e.satisfied + t.pending - e.resolved < t.need then clock_timestamp() end
      from edge e join run r on r.id = e.run_id
      where t.run_id = e.run_id and t.node = e.node and t.target = '' and t.state = 'blocked'
      returning t.run_id, t.node, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions
    )
    select array_agg((m.run_id, m.node, '')::task_key) filter (where m.state = 'ready'),
      array_agg((m.run_id, m.node, '', m.state, m.is_finally, m.allow_failure, m.successors, m.conditions)::task_end)
        filter (where m.state = 'skipped')
    into ready, skipped from moved m;
    became_ready := became_ready || coalesce(ready, '{}');
    nodes := nodes || coalesce(skipped, '{}');
    drafts := drafts || array(select (s.run_id, 'node.skipped', s.node, '', null, null)::event_draft from unnest(skipped) s);
    frontier := coalesce(skipped, '{}');
  end loop;

  with tally as (
    select e.run_id, count(*)::int as all_nodes, (count(*) filter (where e.is_finally))::int as finally_nodes,
      bool_or(e.state = 'failed' and not e.allow_failure) as has_failed
    from unnest(nodes) e group by 1
  ),
  said as (
    select d.run_id, count(*)::int as events from unnest(drafts) d group by 1
  ),
  change as (
    select s.run_id, s.events, coalesce(t.all_nodes, 0) as all_nodes, coalesce(t.finally_nodes, 0) as finally_nodes,
      coalesce(t.has_failed, false) as has_failed
    from said s left join tally t on t.run_id = s.run_id
  ),
  moved as (
    update run r set open_nodes = r.open_nodes - c.all_nodes, open_finally = r.open_finally - c.finally_nodes,
      has_failed = r.has_failed or c.has_failed,
      state = case when c.all_nodes = 0 or r.open_nodes > c.all_nodes then r.state
        else coalesce(r.stop_reason, case when r.has_failed or c.has_failed then 'failed' else 'succeeded' end) end,
      ended_at = case when c.all_nodes > 0 and r.open_nodes = c.all_nodes then clock_timestamp() else r.ended_at end,
      last_seq = r.last_seq + c.events + case when c.all_nodes > 0 and r.open_nodes = c.all_nodes then 1 else 0 end
    from change c where r.id = c.run_id
    returning r.id, r.last_seq, r.state, c.events, c.all_nodes > 0 and r.open_nodes = 0 as has_ended,
      c.all_nodes > c.finally_nodes and r.open_nodes > 0 and r.open_nodes = r.open_finally as opens_gate
  ),
  written as (
    insert into event (run_id, seq, type, node, target, attempt, data)
    select d.run_id, m.last_seq - m.events - m.has_ended::int + row_number() over (partition by d.run_id order by d.place),
      d.type, d.node, nullif(d.target, ''), d.attempt, d.data
    from unnest(drafts) with ordinality d (run_id, type, node, target, attempt, data, place) join moved m on m.id = d.run_id
    union all
    select m.id, m.last_seq, 'run.' || m.state, null, null, null, null from moved m where m.has_ended
  )
  select array_agg((m.id, m.state)::ended_run) filter (where m.has_ended), array_agg(m.id) filter (where m.opens_gate)
  into ended_runs, gates from moved m;

  if gates is not null then
    with moved as (
      update task t set state = case when t.need > 0 then 'blocked' when r.parked and r.stop_reason is null then 'parked' else 'ready' end,
        ready_at = clock_timestamp()
      from unnest(gates) g join run r on r.id = g
      where t.run_id = r.id and t.state = 'held' and t.target = ''
      returning t.run_id, t.node, t.state
    )
    select became_ready || coalesce(array_agg((m.run_id, m.node, '')::task_key) filter (where m.state = 'ready'), '{}')
    into became_ready from moved m;
  end if;
  ended_runs := coalesce(ended_runs, '{}');
end $$;

-- One turn of a worker: stores what its steps came to, carries on what follows, and claims up to `slots` tasks, those first
-- that have just become ready. `done` is an array of {run_id, node, target, fence, outcome, output, error, delay_ms, wait_for}.
-- Results under an old fence are dropped. Gives claims, and rows without a node for runs that have ended.
create function settle(as_worker text, done jsonb, queues text[], slots integer, lease_ms integer)
returns table (run_id uuid, node text, target text, attempt integer, failures integer, fence bigint, spec jsonb, item jsonb,
  state text, environment text, inputs jsonb, principal jsonb)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  ended task_end[];
  drafts event_draft[];
  became_ready task_key[] := '{}';
  ended_runs ended_run[] := '{}';
  queue_name text;
  claimed integer := 0;
  found_rows integer;
begin
  if jsonb_array_length(done) > 0 then
    perform lock_runs(array(select distinct (d->>'run_id')::uuid from jsonb_array_elements(done) d));
    with result as (
      select * from jsonb_to_recordset(done) as d (run_id uuid, node text, target text, fence bigint, outcome text,
        output jsonb, error jsonb, delay_ms float8, wait_for text)
    ),
    changed as (
      update task t set
        state = case
          when d.outcome = 'waiting' and r.stop_reason is not null and not t.is_finally and d.wait_for <> 'run' then 'cancelled'
          when d.outcome = 'waiting' then 'waiting'
          when d.outcome in ('retry', 'released') and r.stop_reason is not null and not t.is_finally then 'cancelled'
          when d.outcome = 'retry' then 'waiting'
          when d.outcome = 'released' then case when r.parked then 'parked' else 'ready' end
          else d.outcome end,
        wait_for = case when d.outcome = 'retry' then 'retry' when d.outcome = 'waiting' then d.wait_for end,
        due_at = clock_timestamp() + make_interval(secs => d.delay_ms / 1000),
        failures = t.failures + (d.outcome in ('failed', 'retry'))::int,
        output = d.output, error = d.error, worker = null, lease_until = null, ready_at = clock_timestamp(),
        ended_at = case when d.outcome in ('succeeded', 'failed', 'skipped', 'cancelled')
          or (d.outcome <> 'waiting' and r.stop_reason is not null and not t.is_finally) then clock_timestamp() end
      from result d join run r on r.id = d.run_id
      where t.run_id = d.run_id and t.node = d.node and t.target = d.target and t.state = 'running' and t.fence = d.fence
        and t.worker = as_worker
      returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions, t.attempt,
        t.started_at, t.fence, t.error, d.outcome
    ),
    noted as (
      insert into attempt (run_id, node, target, attempt, worker, fence, outcome, error, started_at)
      select c.run_id, c.node, c.target, c.attempt, as_worker, c.fence,
        case c.outcome when 'retry' then 'failed' else c.outcome end, c.error, c.started_at
      from changed c
    )
    select array_agg((c.run_id, c.node, c.target, c.state, c.is_finally, c.allow_failure, c.successors, c.conditions)::task_end)
        filter (where c.state in ('succeeded', 'failed', 'skipped', 'cancelled')),
      array_agg((c.run_id, (case when c.target = '' then 'node.' else 'target.' end) ||
        case when c.state in ('ready', 'parked') then 'released' when c.outcome = 'retry' and c.state = 'waiting' then 'retrying' else c.state end,
        c.node, c.target, c.attempt, c.error)::event_draft order by c.run_id, c.node)
    into ended, drafts from changed c;
    if drafts is not null then
      select a.became_ready, a.ended_runs into became_ready, ended_runs from advance(coalesce(ended, '{}'), drafts) a;
    end if;
  end if;

  if slots > 0 and cardinality(became_ready) > 0 then
    return query
      with picked as (
        select t.run_id, t.node, t.target from unnest(became_ready) k join task t on t.run_id = k.run_id and t.node = k.node and t.target = k.target
        where t.state = 'ready' and t.queue = any (queues) order by t.priority desc limit slots for update of t skip locked
      )
      update task t set state = 'running', worker = as_worker, fence = nextval('fence'), attempt = t.attempt + 1,
        lease_until = clock_timestamp() + make_interval(secs => lease_ms / 1000.0::float8), started_at = clock_timestamp(),
        wait_for = null, due_at = null
      from picked p where t.run_id = p.run_id and t.node = p.node and t.target = p.target
      returning t.run_id, t.node, t.target, t.attempt, t.failures, t.fence, t.spec, t.item, t.state, null::text, null::jsonb, null::jsonb;
    get diagnostics claimed = row_count;
  end if;

  foreach queue_name in array queues loop
    exit when claimed >= slots;
    return query
      with picked as (
        select t.run_id, t.node, t.target from task t
        where t.state = 'ready' and t.queue = queue_name order by t.priority desc, t.ready_at limit slots - claimed for update skip locked
      ),
      taken as (
        update task t set state = 'running', worker = as_worker, fence = nextval('fence'), attempt = t.attempt + 1,
          lease_until = clock_timestamp() + make_interval(secs => lease_ms / 1000.0::float8), started_at = clock_timestamp(),
          wait_for = null, due_at = null
        from picked p where t.run_id = p.run_id and t.node = p.node and t.target = p.target
        returning t.run_id, t.node, t.target, t.attempt, t.failures, t.fence, t.spec, t.item, t.state
      ),
      numbered as (
        select t.*, row_number() over (partition by t.run_id) = 1 as is_first from taken t
      )
      select n.run_id, n.node, n.target, n.attempt, n.failures, n.fence, n.spec, n.item, n.state,
        case when n.is_first then r.environment end, case when n.is_first then r.inputs end, case when n.is_first then r.principal end
      from numbered n join run r on r.id = n.run_id;
    get diagnostics found_rows = row_count;
    claimed := claimed + found_rows;
  end loop;

  return query
    select e.run_id, null::text, null::text, null::int, null::int, null::bigint, null::jsonb, null::jsonb, e.state, null::text, null::jsonb, null::jsonb
    from unnest(ended_runs) e;
end $$;

-- Stores new runs with their tasks. `asked` is an array of runs, each with its array `tasks`. One whose idempotency key is
-- known gives the run that has it. Gives one row per asked run, in order.
create function start_runs(asked jsonb) returns table (id uuid, is_new boolean, same_request boolean)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
  return query
    with request as (
      select d.*, (a.value->'tasks') as tasks, a.place from jsonb_array_elements(asked) with ordinality a (value, place)
      cross join lateral jsonb_to_record(a.value) as d (id uuid, environment text, graph jsonb, inputs jsonb, principal jsonb,
        labels jsonb, idempotency_key text, request_sha256 text, priority smallint, timeout_ms float8, parent_run uuid,
        parent_node text, retry_of uuid, open_nodes integer, open_finally integer)
    ),
    made as (
      insert into run (id, environment, graph, inputs, principal, labels, state, open_nodes, open_finally, last_seq, priority,
        idempotency_key, request_sha256, deadline_at, parent_run, parent_node, retry_of, started_at)
      select r.id, r.environment, r.graph, r.inputs, r.principal, coalesce(r.labels, '{}'), 'running', r.open_nodes,
        r.open_finally, 1, coalesce(r.priority, 0), r.idempotency_key, decode(r.request_sha256, 'hex'),
        clock_timestamp() + make_interval(secs => r.timeout_ms / 1000), r.parent_run, r.parent_node, r.retry_of, clock_timestamp()
      from request r
      on conflict do nothing
      returning id
    ),
    tasks as (
      insert into task (run_id, node, kind, queue, priority, state, need, pending, successors, conditions, is_finally,
        allow_failure, effect, spec)
      select r.id, t.node, t.kind, t.queue, coalesce(t.priority, r.priority, 0), t.state, t.need, t.pending,
        t.successors, t.conditions, t.is_finally, t.allow_failure, t.effect, t.spec
      from request r join made m on m.id = r.id cross join lateral jsonb_to_recordset(r.tasks) as t (node text, kind text,
        queue text, priority smallint, state text, need integer, pending integer, successors text[],
        conditions text[], is_finally boolean, allow_failure boolean, effect text, spec jsonb)
    ),
    said as (
      insert into event (run_id, seq, type) select m.id, 1, 'run.started' from made m
    )
    select coalesce(m.id, k.id), m.id is not null, m.id is not null or k.request_sha256 = decode(r.request_sha256, 'hex')
    from request r left join made m on m.id = r.id
      left join run k on m.id is null and k.environment = r.environment and k.idempotency_key = r.idempotency_key
    order by r.place;
end $$;
