-- Lets the next batch of a node's targets begin that has any to do. Gives what became ready; null: there is none.
create or replace function next_batch(of_run uuid, of_node text) returns task_key[] language plpgsql
set enable_seqscan = off as $$
#variable_conflict use_column
declare
  ready task_key[];
  released integer;
  next_number integer;
begin
  -- Where a run carries on another, all of thousands of batches may be done: they are not gone through one by one.
  select min(t.batch) into next_number from task t
  where t.run_id = of_run and t.node = of_node and t.target <> '' and t.state = 'held';
  if next_number is null then return null; end if;
  with moved as (
    update task t set state = case when r.parked then 'parked' else 'ready' end, ready_at = clock_timestamp()
    from run r
    where r.id = of_run and t.run_id = of_run and t.node = of_node and t.target <> '' and t.state = 'held' and t.batch = next_number
    returning t.run_id, t.node, t.target, t.state
  )
  select array_agg((m.run_id, m.node, m.target)::task_key) filter (where m.state = 'ready'), count(*)
  into ready, released from moved m;
  update fan_out f set batch = next_number, batch_open = released where f.run_id = of_run and f.node = of_node;
  return coalesce(ready, '{}');
end $$;

-- Begins a node with targets that has just been claimed: `plan` is {targets: [{target, item, batch}], batches, max_fail,
-- pause_ms, on_threshold}. Gives what became ready; null: all targets were done before, or there are none.
create or replace function expand(of_run uuid, of_node text, plan jsonb) returns task_key[] language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  amount integer := jsonb_array_length(plan->'targets');
  done integer;
  done_in uuid;
begin
  select r.retry_of into done_in from run r where r.id = of_run and r.only_failed_targets;
  -- Each target is looked for by its whole key: a join of thousands with thousands takes longer than a statement may.
  with made as (
    insert into task (run_id, node, target, kind, queue, priority, state, is_finally, effect, spec, item, batch, output, ended_at)
    select of_run, of_node, p.target, 'step', t.queue, t.priority, case when o.is_done then 'succeeded' else 'held' end, t.is_finally,
      t.effect, t.spec - 'targets', p.item, p.batch, o.output, case when o.is_done then clock_timestamp() end
    from jsonb_to_recordset(plan->'targets') as p (target text, item jsonb, batch integer)
      join task t on t.run_id = of_run and t.node = of_node and t.target = ''
      left join lateral (
        select true as is_done, o.output from task o
        where o.run_id = done_in and o.node = of_node and o.target = p.target and o.target <> '' and o.state is not distinct from 'succeeded'
        offset 0
      ) o on true
    returning state
  )
  select count(*) filter (where m.state = 'succeeded') into done from made m;
  insert into fan_out (run_id, node, targets, open, batch_open, batch, batches, max_fail, pause_ms, on_threshold)
  values (of_run, of_node, amount, amount - done, 0, -1, (plan->>'batches')::int, (plan->>'max_fail')::int, (plan->>'pause_ms')::float8,
    plan->>'on_threshold');
  return next_batch(of_run, of_node);
end $$;

-- Ends waits that are due: a retry is ready, a wait has succeeded, a decision that nobody took has failed. Gives the ms
-- until the next one (null: none), and how many were due.
create or replace function fire_timers(out next_ms float8, out fired integer)
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  ids uuid[];
  ended task_end[];
  drafts event_draft[];
  paused record;
  ended_nodes task_end[] := '{}';
  notes event_draft[] := '{}';
begin
  fired := 0;
  ids := array(select distinct t.run_id from (
    select e.run_id from task e where e.state = 'waiting' and e.due_at <= clock_timestamp() order by e.due_at limit 200) t);
  if cardinality(ids) > 0 then
    perform lock_runs(ids);
    with changed as (
      update task t set
        state = case when t.wait_for = 'time' then 'succeeded' when t.wait_for = 'decision' then 'failed'
          when r.parked then 'parked' else 'ready' end,
        ended_at = case when t.wait_for in ('time', 'decision') then clock_timestamp() end,
        error = case when t.wait_for = 'decision' then jsonb_build_object('code', 'DEADLINE_EXCEEDED', 'reason', 'NOT_DECIDED',
          'message', 'Nobody decided in time.') when t.wait_for = 'time' then null else t.error end,
        ready_at = clock_timestamp(), wait_for = null, due_at = null
      from run r
      where r.id = t.run_id and t.run_id = any (ids) and t.state = 'waiting' and t.due_at <= clock_timestamp()
        and t.wait_for in ('retry', 'time', 'decision')
      returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions, t.attempt, t.error
    )
    select array_agg((c.run_id, c.node, c.target, c.state, c.is_finally, c.allow_failure, c.successors, c.conditions)::task_end)
        filter (where c.state in ('succeeded', 'failed')),
      array_agg((c.run_id, (case when c.target = '' then 'node.' else 'target.' end) || c.state, c.node, c.target, c.attempt, c.error)::event_draft)
        filter (where c.state in ('succeeded', 'failed')),
      count(*)
    into ended, drafts, fired from changed c;
    if drafts is not null then perform advance(ended, drafts, null); end if;
    -- The pause before the next batch of targets is over.
    for paused in
      update task t set due_at = null
      where t.run_id = any (ids) and t.state = 'waiting' and t.wait_for = 'targets' and t.due_at <= clock_timestamp()
      returning t.run_id, t.node
    loop
      -- All that was left was done before (a run that carries on another).
      if next_batch(paused.run_id, paused.node) is null then
        ended_nodes := ended_nodes || end_fan_out(paused.run_id, paused.node, 'succeeded');
        notes := notes || (paused.run_id, 'node.succeeded', paused.node, '', null, null)::event_draft;
      end if;
      fired := fired + 1;
    end loop;
    if cardinality(ended_nodes) > 0 then perform advance(ended_nodes, notes, null); end if;
  end if;
  select extract(epoch from min(t.due_at) - clock_timestamp()) * 1000 into next_ms
  from task t where t.state = 'waiting' and t.due_at is not null;
end $$;

-- Tells a run to stop before its end, as cancelled or timed_out: what has not begun is cancelled now, what runs is told by
-- its worker's next heartbeat, and what runs finally begins once that has ended. False: it has ended, is stopping, or has
-- nothing left but what runs finally.
create or replace function stop_run(of_run uuid, reason text, told_by jsonb) returns boolean language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  run_state text;
  ended task_end[];
  drafts event_draft[];
begin
  perform lock_runs(array[of_run]);
  select r.state into run_state from run r
  where r.id = of_run and r.ended_at is null and r.stop_reason is null and r.open_nodes > r.open_finally;
  if not found then return false; end if;
  update run r set stop_reason = reason, stop_at = clock_timestamp(), is_stopping = true, deadline_at = null, paused_at = null, parked = false where r.id = of_run;
  with held as (
    select t.node, count(*)::int as amount from task t
    where t.run_id = of_run and t.target <> '' and t.state = 'held' and not t.is_finally group by 1
  )
  update fan_out f set batch_open = f.batch_open + h.amount from held h where f.run_id = of_run and f.node = h.node;
  -- A run that never began has nothing to clean up after.
  with changed as (
    update task t set state = 'cancelled', ended_at = clock_timestamp(), wait_for = null, due_at = null
    where t.run_id = of_run and (not t.is_finally or run_state = 'queued')
      and (t.state in ('blocked', 'held', 'parked', 'ready', 'needs_decision')
        or (t.state = 'waiting' and t.wait_for in ('retry', 'time', 'decision'))
        -- Nothing of it is left that could end: it pauses before targets that were done before.
        or (t.state = 'waiting' and t.wait_for = 'targets' and exists (select from fan_out f where f.run_id = of_run and f.node = t.node and f.open = 0)))
      and not (t.state = 'needs_decision' and exists (select from fan_out f where f.run_id = of_run and f.node = t.node and t.target = '' and f.open > 0))
    returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions
  )
  select array_agg((c.run_id, c.node, c.target, c.state, c.is_finally, c.allow_failure, '{}'::text[], '{}'::text[])::task_end),
    array_agg((c.run_id, case when c.target = '' then 'node.cancelled' else 'target.cancelled' end, c.node, c.target, null, null)::event_draft)
  into ended, drafts from changed c;
  perform advance(coalesce(ended, '{}'),
    array[(of_run, 'run.stopping', null, null, null, jsonb_build_object('reason', reason, 'by', told_by))::event_draft] || coalesce(drafts, '{}'), null);
  return true;
end $$;

-- What concerns more than one run: stops runs whose time is over and those within stopped ones, tells nodes that their runs
-- have ended, and lets queued runs begin. Gives how much it did.
create or replace function keep_runs() returns integer language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  next record;
  did integer := 0;
begin
  for next in
    -- What stop_run() would decline, as only what runs finally is left, must not fill the limit each time.
    select r.id from run r where r.deadline_at <= clock_timestamp() and r.ended_at is null and r.stop_reason is null
      and r.open_nodes > r.open_finally
    order by r.deadline_at limit 50 for update skip locked
  loop
    did := did + stop_run(next.id, 'timed_out', null)::int;
  end loop;
  for next in
    -- A run that its parent does finally goes on.
    select c.id, p.stop_reason from run p join run c on c.parent_run = p.id
      join task t on t.run_id = p.id and t.node = c.parent_node and t.target = ''
    where p.is_stopping and c.ended_at is null and c.stop_reason is null and c.open_nodes > c.open_finally and not t.is_finally
    limit 50 for update of c skip locked
  loop
    did := did + stop_run(next.id, next.stop_reason, null)::int;
  end loop;
  -- Only keys of which one may begin now, so that whoever has to wait keeps nobody from being looked at; in their order, in which
  -- everybody locks them.
  for next in
    select k.environment, k.held_key
    from (
      select r.environment, r.held_key, count(*) filter (where r.state = 'running') as active,
        (array_agg(r.concurrency_limit order by r.priority desc, r.id) filter (where r.state = 'queued' and r.stop_reason is null))[1] as first_limit
      from run r where r.held_key is not null group by 1, 2
    ) k
    where k.active < k.first_limit order by 1, 2 limit 100
  loop
    did := did + admit_queued(next.environment, next.held_key);
  end loop;
  return did;
end $$;

-- Nodes that wait since the last of their targets: they end as if their pause were over.
update task t set due_at = clock_timestamp()
from fan_out f
where t.state = 'waiting' and t.wait_for = 'targets' and t.target = '' and t.due_at is null
  and f.run_id = t.run_id and f.node = t.node and f.open = 0;
