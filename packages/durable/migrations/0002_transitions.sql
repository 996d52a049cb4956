create type task_key as (run_id uuid, node text, target text);
create type task_end as (run_id uuid, node text, target text, state text, is_finally boolean, allow_failure boolean,
  successors text[], conditions text[]);
create type event_draft as (run_id uuid, type text, node text, target text, attempt integer, data jsonb);
create type ended_run as (run_id uuid, state text, has_parent boolean, has_key boolean);
-- Who claims what becomes ready, how much at most, and for how long.
create type claimer as (worker text, queues text[], slots integer, lease_ms integer);
create type claim as (run_id uuid, node text, target text, attempt integer, failures integer, fence bigint, followers integer, spec jsonb);

-- Locks runs in the one order in which everybody does.
create function lock_runs(ids uuid[]) returns void language plpgsql as $$
begin
  perform from run r where r.id = any (ids) order by r.id for update;
end $$;

-- Lets the next batch of a node's targets begin. Gives what became ready; null: there is no next batch.
create function next_batch(of_run uuid, of_node text) returns task_key[] language plpgsql
set enable_seqscan = off as $$
#variable_conflict use_column
declare
  ready task_key[];
  released integer;
  next_number integer;
begin
  update fan_out f set batch = f.batch + 1 where f.run_id = of_run and f.node = of_node and f.batch + 1 < f.batches
  returning f.batch into next_number;
  if next_number is null then return null; end if;
  with moved as (
    update task t set state = case when r.parked then 'parked' else 'ready' end, ready_at = clock_timestamp()
    from run r
    where r.id = of_run and t.run_id = of_run and t.node = of_node and t.target <> '' and t.state = 'held' and t.batch = next_number
    returning t.run_id, t.node, t.target, t.state
  )
  select array_agg((m.run_id, m.node, m.target)::task_key) filter (where m.state = 'ready'), count(*)
  into ready, released from moved m;
  update fan_out f set batch_open = released where f.run_id = of_run and f.node = of_node;
  -- All of the batch were done before (a run that carries on another): on to the next.
  if released = 0 then return next_batch(of_run, of_node); end if;
  return coalesce(ready, '{}');
end $$;

-- Ends a node with targets; those that never began are skipped.
create function end_fan_out(of_run uuid, of_node text, with_state text) returns task_end language plpgsql
set enable_seqscan = off as $$
#variable_conflict use_column
declare
  result task_end;
begin
  update task t set state = case with_state when 'cancelled' then 'cancelled' else 'skipped' end, ended_at = clock_timestamp()
  where t.run_id = of_run and t.node = of_node and t.target <> '' and t.state = 'held';
  update fan_out f set open = 0, batch_open = 0 where f.run_id = of_run and f.node = of_node;
  update task t set state = with_state, wait_for = null, due_at = null, ended_at = clock_timestamp(),
    output = jsonb_build_object('targets', f.targets, 'failed', f.failed),
    error = case when with_state = 'failed' then jsonb_build_object('code', 'ABORTED', 'reason', 'TARGETS_FAILED',
      'message', f.failed || ' of ' || f.targets || ' targets failed; at most ' || f.max_fail || ' may.') end
  from fan_out f
  where t.run_id = of_run and t.node = of_node and t.target = '' and f.run_id = of_run and f.node = of_node
  returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions into result;
  return result;
end $$;

-- What follows from the ends of targets: the next batch, or the end of their node.
create function advance_targets(ended task_end[], out became_ready task_key[], out ended_nodes task_end[], out happened event_draft[])
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  tally record;
  fan record;
  node_end task_end;
  ready task_key[];
begin
  became_ready := '{}';
  ended_nodes := '{}';
  happened := '{}';
  for tally in
    select e.run_id, e.node, count(*)::int as all_targets, (count(*) filter (where e.state = 'failed'))::int as failed
    from unnest(ended) e group by 1, 2
  loop
    update fan_out f set open = f.open - tally.all_targets, batch_open = f.batch_open - tally.all_targets, failed = f.failed + tally.failed
    from run r where r.id = tally.run_id and f.run_id = tally.run_id and f.node = tally.node
    returning f.*, r.stop_reason into fan;
    continue when fan.batch_open > 0;
    node_end := null;
    if fan.stop_reason is not null and not (select t.is_finally from task t where t.run_id = fan.run_id and t.node = fan.node and t.target = '') then
      node_end := end_fan_out(fan.run_id, fan.node, 'cancelled');
    elsif fan.failed > fan.max_fail and fan.on_threshold = 'pause' then
      update task t set state = 'needs_decision', wait_for = null, due_at = null,
        error = jsonb_build_object('code', 'ABORTED', 'reason', 'TARGETS_FAILED',
          'message', fan.failed || ' of ' || fan.targets || ' targets failed; at most ' || fan.max_fail || ' may. Decide whether to go on.')
      where t.run_id = fan.run_id and t.node = fan.node and t.target = '';
      happened := happened || (fan.run_id, 'node.needs_decision', fan.node, '', null, jsonb_build_object('failed', fan.failed))::event_draft;
    elsif fan.failed > fan.max_fail then
      node_end := end_fan_out(fan.run_id, fan.node, 'failed');
    elsif fan.batch + 1 < fan.batches and fan.pause_ms > 0 then
      update task t set due_at = clock_timestamp() + make_interval(secs => fan.pause_ms / 1000)
      where t.run_id = fan.run_id and t.node = fan.node and t.target = '';
    else
      ready := next_batch(fan.run_id, fan.node);
      if ready is null then node_end := end_fan_out(fan.run_id, fan.node, 'succeeded');
      else became_ready := became_ready || ready; end if;
    end if;
    if node_end.run_id is not null then
      ended_nodes := ended_nodes || node_end;
      happened := happened || (fan.run_id, 'node.' || node_end.state, fan.node, '', null, jsonb_build_object('failed', fan.failed))::event_draft;
    end if;
  end loop;
end $$;

-- Begins a node with targets that has just been claimed: `plan` is {targets: [{target, item, batch}], batches, max_fail,
-- pause_ms, on_threshold}. Gives what became ready; null: all targets were done before, or there are none.
create function expand(of_run uuid, of_node text, plan jsonb) returns task_key[] language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  amount integer := jsonb_array_length(plan->'targets');
  done integer := 0;
begin
  insert into fan_out (run_id, node, targets, open, batch_open, batch, batches, max_fail, pause_ms, on_threshold)
  values (of_run, of_node, amount, amount, 0, -1, (plan->>'batches')::int, (plan->>'max_fail')::int, (plan->>'pause_ms')::float8,
    plan->>'on_threshold');
  insert into task (run_id, node, target, kind, queue, priority, state, is_finally, effect, spec, item, batch)
  select of_run, of_node, p.target, 'step', t.queue, t.priority, 'held', t.is_finally, t.effect, t.spec - 'targets', p.item, p.batch
  from jsonb_to_recordset(plan->'targets') as p (target text, item jsonb, batch integer)
    join task t on t.run_id = of_run and t.node = of_node and t.target = '';
  update task t set state = 'succeeded', output = o.output, ended_at = clock_timestamp()
  from run r join task o on o.run_id = r.retry_of and o.node = of_node and o.target <> '' and o.state = 'succeeded'
  where r.id = of_run and r.only_failed_targets and t.run_id = of_run and t.node = of_node and t.target = o.target;
  get diagnostics done = row_count;
  update fan_out f set open = f.open - done where f.run_id = of_run and f.node = of_node;
  return next_batch(of_run, of_node);
end $$;

-- Carries on what follows from the ends of tasks, with the locks of their runs held: successors become ready (and are claimed,
-- if there is a claimer) or are skipped, finally nodes begin, runs end, events are written. Gives what was claimed, what else
-- became ready, and which runs have ended.
create function advance(ended task_end[], drafts event_draft[], as_claimer claimer, out claims claim[], out became_ready task_key[],
  out ended_runs ended_run[])
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  each task_end;
  targets task_end[] := '{}';
  nodes task_end[] := '{}';
  frontier task_end[] := '{}';
  skipped task_end[];
  edge record;
  next record;
  next_state text;
  next_fence bigint;
  gates uuid[];
begin
  claims := '{}';
  became_ready := '{}';
  foreach each in array ended loop
    if each.target <> '' then targets := targets || each; end if;
  end loop;
  if cardinality(targets) > 0 then
    select a.became_ready, ended || a.ended_nodes, drafts || a.happened into became_ready, ended, drafts from advance_targets(targets) a;
  end if;
  foreach each in array ended loop
    continue when each.target <> '';
    nodes := nodes || each;
    if cardinality(each.successors) > 0 then frontier := frontier || each; end if;
  end loop;
  while cardinality(frontier) > 0 loop
    skipped := '{}';
    -- Row by row: a plan for the set that was made while the table was small reads the whole of it later.
    for edge in
      select f.run_id, s.node, count(*)::int as resolved,
        (count(*) filter (where s.condition = 'always' or (s.condition = 'success' and f.state = 'succeeded')
          or (s.condition = 'failure' and f.state = 'failed')))::int as satisfied
      from unnest(frontier) f cross join lateral unnest(f.successors, f.conditions) s (node, condition)
      group by 1, 2
    loop
      -- What is blocked nobody changes who does not hold the run's lock.
      select t.satisfied + edge.satisfied as satisfied, t.pending - edge.resolved as pending, t.need, t.queue, t.attempt, t.failures,
        t.spec, t.is_finally, t.allow_failure, t.successors, t.conditions, r.parked
      into next
      from task t cross join run r
      where t.run_id = edge.run_id and t.node = edge.node and t.target = '' and t.state is not distinct from 'blocked' and r.id = edge.run_id;
      continue when not found;
      next_fence := null;
      next_state := case when next.satisfied >= next.need then case when next.parked then 'parked' else 'ready' end
        when next.satisfied + next.pending < next.need then 'skipped' else 'blocked' end;
      if next_state = 'ready' and cardinality(claims) < as_claimer.slots and next.queue = any (as_claimer.queues) then
        next_state := 'running';
        next_fence := nextval('fence');
        claims := claims || (edge.run_id, edge.node, '', next.attempt + 1, next.failures, next_fence, cardinality(next.successors), next.spec)::claim;
      elsif next_state = 'ready' then
        became_ready := became_ready || (edge.run_id, edge.node, '')::task_key;
      elsif next_state = 'skipped' then
        each := (edge.run_id, edge.node, '', next_state, next.is_finally, next.allow_failure, next.successors, next.conditions)::task_end;
        nodes := nodes || each;
        skipped := skipped || each;
        drafts := drafts || (edge.run_id, 'node.skipped', edge.node, '', null, null)::event_draft;
      end if;
      if next_fence is not null then
        update task t set satisfied = next.satisfied, pending = next.pending, state = next_state, ready_at = clock_timestamp(),
          worker = as_claimer.worker, fence = next_fence, attempt = next.attempt + 1, started_at = clock_timestamp(),
          lease_until = clock_timestamp() + make_interval(secs => as_claimer.lease_ms / 1000.0::float8)
        where t.run_id = edge.run_id and t.node = edge.node and t.target = '';
      else
        update task t set satisfied = next.satisfied, pending = next.pending, state = next_state, ready_at = clock_timestamp(),
          ended_at = case when next_state = 'skipped' then clock_timestamp() end
        where t.run_id = edge.run_id and t.node = edge.node and t.target = '';
      end if;
    end loop;
    frontier := skipped;
  end loop;

  -- No joins of what was worked out with itself: nested loops would be quadratic, and other joins read whole tables.
  with change as (
    select c.run_id, array_agg(c.draft order by c.place) filter (where c.place is not null) as drafts, sum(c.all_nodes)::int as all_nodes,
      sum(c.finally_nodes)::int as finally_nodes, bool_or(c.has_failed) as has_failed
    from (
      select d.run_id, d.place, (d.run_id, d.type, d.node, d.target, d.attempt, d.data)::event_draft as draft, 0 as all_nodes,
        0 as finally_nodes, false as has_failed
      from unnest(drafts) with ordinality d (run_id, type, node, target, attempt, data, place)
      union all
      select e.run_id, null, null, 1, e.is_finally::int, e.state = 'failed' and not e.allow_failure from unnest(nodes) e
    ) c
    group by 1
  ),
  moved as (
    update run r set open_nodes = r.open_nodes - c.all_nodes, open_finally = r.open_finally - c.finally_nodes,
      has_failed = r.has_failed or c.has_failed,
      state = case when c.all_nodes = 0 or r.open_nodes > c.all_nodes then r.state
        else coalesce(r.stop_reason, case when r.has_failed or c.has_failed then 'failed' else 'succeeded' end) end,
      ended_at = case when c.all_nodes > 0 and r.open_nodes = c.all_nodes then clock_timestamp() else r.ended_at end,
      deadline_at = case when c.all_nodes = 0 or r.open_nodes > c.all_nodes then r.deadline_at end,
      held_key = case when c.all_nodes = 0 or r.open_nodes > c.all_nodes then r.held_key end,
      is_stopping = r.is_stopping and (c.all_nodes = 0 or r.open_nodes > c.all_nodes),
      last_seq = r.last_seq + coalesce(cardinality(c.drafts), 0) + case when c.all_nodes > 0 and r.open_nodes = c.all_nodes then 1 else 0 end
    from change c where r.id = c.run_id
    returning r.id, r.state, r.last_seq, r.parent_run is not null as has_parent, r.concurrency_key is not null as has_key,
      c.all_nodes > 0 and r.open_nodes = 0 as has_ended,
      c.all_nodes > c.finally_nodes and r.open_nodes > 0 and r.open_nodes = r.open_finally as opens_gate, c.drafts
  ),
  noted as (
    insert into event (run_id, seq, type, node, target, attempt, data)
    select m.id, m.last_seq - m.has_ended::int - cardinality(m.drafts) + d.place, d.type, d.node, nullif(d.target, ''), d.attempt, d.data
    from moved m cross join lateral unnest(m.drafts) with ordinality d (run_id, type, node, target, attempt, data, place)
    union all
    select m.id, m.last_seq, 'run.' || m.state, null, null, null, null from moved m where m.has_ended
  )
  select array_agg((m.id, m.state, m.has_parent, m.has_key)::ended_run) filter (where m.has_ended), array_agg(m.id) filter (where m.opens_gate)
  into ended_runs, gates from moved m;
  ended_runs := coalesce(ended_runs, '{}');

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
end $$;
