-- One turn of a worker: stores what its steps came to, carries on what follows, and claims up to `slots` tasks: those that
-- have just become ready, then (if it is to `look`) others. Its results are arrays, one element each: the task, the fence under
-- which it was claimed, the outcome, its output and error as JSON, and more for some, {delay_ms, wait_for, plan}. Results under
-- an old fence are dropped. Gives claims, and rows without a node: for runs that have ended, and one without a run if something
-- became ready that was not claimed.
create function settle(as_worker text, run_ids uuid[], nodes text[], targets text[], fences bigint[], outcomes text[], outputs text[],
  errors text[], details text[], queues text[], slots integer, look boolean, lease_ms integer)
returns table (run_id uuid, node text, target text, attempt integer, failures integer, fence bigint, followers integer, spec jsonb,
  item jsonb, state text, environment text, inputs jsonb, principal jsonb)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  ended task_end[];
  drafts event_draft[];
  became_ready task_key[] := '{}';
  ended_runs ended_run[] := '{}';
  released task_key[] := '{}';
  ready task_key[];
  expansion record;
  claims claim[] := '{}';
  next claim;
  queue_name text;
  claimed integer := 0;
  found_rows integer;
begin
  if cardinality(run_ids) > 0 then
    perform from run r where r.id = any (run_ids) order by r.id for update;
    if 'retry' = any (outcomes) or 'released' = any (outcomes) then
      insert into attempt (run_id, node, target, attempt, worker, fence, outcome, error, started_at)
      select d.run_id, d.node, d.target, t.attempt, as_worker, d.fence, case d.outcome when 'retry' then 'failed' else 'released' end,
        d.error::jsonb, t.started_at
      from unnest(run_ids, nodes, targets, fences, outcomes, errors) as d (run_id, node, target, fence, outcome, error)
        cross join lateral (
          select t.attempt, t.started_at from task t
          where t.run_id = d.run_id and t.node = d.node and t.target = d.target and t.fence = d.fence
            and t.state is not distinct from 'running' and t.worker is not distinct from as_worker
          offset 0
        ) t
      where d.outcome in ('retry', 'released');
    end if;
    -- What a result is compared with comes from the other side: any condition on the table alone lets a plan that was made while
    -- it was small read the whole of it later. Heartbeats change leases meanwhile, and nobody else what runs.
    with result as materialized (
      select d.*, d.detail::jsonb as more, 'running' as running, as_worker as worker, r.stop_reason, r.parked
      from unnest(run_ids, nodes, targets, fences, outcomes, outputs, errors, details)
          as d (run_id, node, target, fence, outcome, output, error, detail)
        cross join lateral (select r.stop_reason, r.parked from run r where r.id = d.run_id offset 0) r
    ),
    changed as (
      update task t set
        state = case
          when d.outcome = 'waiting' and d.stop_reason is not null and not t.is_finally and d.more->>'wait_for' <> 'run' then 'cancelled'
          when d.outcome = 'waiting' then 'waiting'
          when d.outcome in ('retry', 'released') and d.stop_reason is not null and not t.is_finally then 'cancelled'
          when d.outcome = 'retry' then 'waiting'
          when d.outcome = 'released' then case when d.parked then 'parked' else 'ready' end
          else d.outcome end,
        wait_for = case when d.outcome = 'retry' then 'retry' when d.outcome = 'waiting' then d.more->>'wait_for' end,
        due_at = case when d.more is not null then clock_timestamp() + make_interval(secs => (d.more->>'delay_ms')::float8 / 1000) end,
        failures = t.failures + (d.outcome in ('failed', 'retry'))::int,
        output = d.output::jsonb, error = d.error::jsonb, lease_until = null, ready_at = clock_timestamp(),
        worker = case when d.outcome not in ('retry', 'released') then t.worker end,
        ended_at = case when d.outcome in ('succeeded', 'failed', 'skipped', 'cancelled')
          or (d.stop_reason is not null and not t.is_finally and not (d.outcome = 'waiting' and d.more->>'wait_for' = 'run')) then clock_timestamp() end
      from result d
      where t.run_id = d.run_id and t.node = d.node and t.target = d.target and t.fence = d.fence and t.state = d.running and t.worker = d.worker
      returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions, t.attempt, t.error, d.outcome
    )
    select coalesce(array_agg((c.run_id, c.node, c.target, c.state, c.is_finally, c.allow_failure, c.successors, c.conditions)::task_end)
        filter (where c.state in ('succeeded', 'failed', 'skipped', 'cancelled')), '{}'),
      coalesce(array_agg((c.run_id, (case when c.target = '' then 'node.' else 'target.' end) ||
        case when c.state in ('ready', 'parked') then 'released' when c.outcome = 'retry' and c.state = 'waiting' then 'retrying' else c.state end,
        c.node, c.target, c.attempt, c.error)::event_draft order by c.run_id, c.node), '{}')
    into ended, drafts from changed c;
    if 'waiting' = any (outcomes) then
      -- Nodes with targets that begin now.
      for expansion in
        select d.run_id, d.node, d.detail::jsonb->'plan' as plan
        from unnest(run_ids, nodes, fences, outcomes, details) as d (run_id, node, fence, outcome, detail)
          cross join lateral (
            select from task t
            where t.run_id = d.run_id and t.node = d.node and t.target = '' and t.fence = d.fence
              and t.state is not distinct from 'waiting' and t.wait_for is not distinct from 'targets'
            offset 0
          ) t
        where d.outcome = 'waiting' and d.detail::jsonb ? 'plan'
          and not exists (select from fan_out f where f.run_id = d.run_id and f.node = d.node)
      loop
        ready := expand(expansion.run_id, expansion.node, expansion.plan);
        if ready is null then
          ended := ended || end_fan_out(expansion.run_id, expansion.node, 'succeeded');
          drafts := drafts || (expansion.run_id, 'node.succeeded', expansion.node, '', null, null)::event_draft;
        else released := released || ready; end if;
      end loop;
    end if;
    if cardinality(drafts) > 0 then
      select a.claims, released || a.became_ready, a.ended_runs into claims, became_ready, ended_runs
      from advance(ended, drafts, (as_worker, queues, slots, lease_ms)::claimer) a;
    end if;
    claimed := cardinality(claims);
    foreach next in array claims loop
      run_id := next.run_id; node := next.node; target := next.target; attempt := next.attempt; failures := next.failures;
      fence := next.fence; followers := next.followers; spec := next.spec; state := 'running';
      return next;
    end loop;
  end if;

  if slots > claimed and cardinality(became_ready) > 0 then
    return query
      with picked as (
        select t.* from unnest(became_ready) k cross join lateral (
          select t.run_id, t.node, t.target from task t
          where t.run_id = k.run_id and t.node = k.node and t.target = k.target and t.state is not distinct from 'ready'
            and t.queue = any (queues)
          offset 0 for update skip locked
        ) t limit slots - claimed
      )
      update task t set state = 'running', worker = as_worker, fence = nextval('fence'), attempt = t.attempt + 1,
        lease_until = clock_timestamp() + make_interval(secs => lease_ms / 1000.0::float8), started_at = clock_timestamp(),
        wait_for = null, due_at = null
      from picked p where t.run_id = p.run_id and t.node = p.node and t.target = p.target
      returning t.run_id, t.node, t.target, t.attempt, t.failures, t.fence, cardinality(t.successors), t.spec, t.item, t.state,
        null::text, null::jsonb, null::jsonb;
    get diagnostics found_rows = row_count;
    claimed := claimed + found_rows;
  end if;
  if claimed - cardinality(claims) < cardinality(became_ready) then
    return query select null::uuid, null::text, null::text, null::int, null::int, null::bigint, null::int, null::jsonb, null::jsonb, 'ready',
      null::text, null::jsonb, null::jsonb;
  end if;

  if look then
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
          returning t.run_id, t.node, t.target, t.attempt, t.failures, t.fence, cardinality(t.successors) as followers, t.spec, t.item, t.state
        ),
        numbered as (
          select t.*, row_number() over (partition by t.run_id) = 1 as is_first from taken t
        )
        select n.run_id, n.node, n.target, n.attempt, n.failures, n.fence, n.followers, n.spec, n.item, n.state,
          case when n.is_first then r.environment end, case when n.is_first then r.inputs end, case when n.is_first then r.principal end
        from numbered n join run r on r.id = n.run_id;
      get diagnostics found_rows = row_count;
      claimed := claimed + found_rows;
    end loop;
  end if;

  if cardinality(ended_runs) > 0 then
    return query
      select e.run_id, null::text, null::text, null::int, null::int, null::bigint, null::int, null::jsonb,
        jsonb_build_object('has_parent', e.has_parent, 'has_key', e.has_key), e.state, null::text, null::jsonb, null::jsonb
      from unnest(ended_runs) e;
  end if;
end $$;
