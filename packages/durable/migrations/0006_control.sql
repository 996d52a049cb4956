-- Tells a run to stop before its end, as cancelled or timed_out: what has not begun is cancelled now, what runs is told by
-- its worker's next heartbeat, and what runs finally begins once that has ended. False: it has ended, is stopping, or has
-- nothing left but what runs finally.
create function stop_run(of_run uuid, reason text, told_by jsonb) returns boolean language plpgsql
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
        or (t.state = 'waiting' and t.wait_for in ('retry', 'time', 'decision')))
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

-- Lets nothing of a run begin until resume_run(); what runs goes on. False: it has ended, is stopping, or is paused.
create function pause_run(of_run uuid, told_by jsonb) returns boolean language plpgsql as $$
#variable_conflict use_column
begin
  perform lock_runs(array[of_run]);
  update run r set paused_at = clock_timestamp(), parked = true
  where r.id = of_run and r.ended_at is null and r.stop_reason is null and r.paused_at is null;
  if not found then return false; end if;
  update task t set state = 'parked' where t.run_id = of_run and t.state = 'ready';
  perform advance('{}', array[(of_run, 'run.paused', null, null, null, jsonb_build_object('by', told_by))::event_draft], null);
  return true;
end $$;

-- False: it is not paused.
create function resume_run(of_run uuid, told_by jsonb) returns boolean language plpgsql as $$
#variable_conflict use_column
begin
  perform lock_runs(array[of_run]);
  update run r set paused_at = null, parked = r.state = 'queued' where r.id = of_run and r.ended_at is null and r.paused_at is not null;
  if not found then return false; end if;
  update task t set state = 'ready', ready_at = clock_timestamp()
  from run r where r.id = of_run and not r.parked and t.run_id = of_run and t.state = 'parked';
  perform advance('{}', array[(of_run, 'run.resumed', null, null, null, jsonb_build_object('by', told_by))::event_draft], null);
  return true;
end $$;

-- What concerns more than one run: stops runs whose time is over and those within stopped ones, tells nodes that their runs
-- have ended, and lets queued runs begin. Gives how much it did.
create function keep_runs() returns integer language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  next record;
  ids uuid[];
  ended task_end[];
  drafts event_draft[];
  did integer := 0;
begin
  for next in
    select r.id from run r where r.deadline_at <= clock_timestamp() and r.ended_at is null and r.stop_reason is null
    order by r.deadline_at limit 50 for update skip locked
  loop
    did := did + stop_run(next.id, 'timed_out', null)::int;
  end loop;
  for next in
    select c.id, p.stop_reason from run p join run c on c.parent_run = p.id
    where p.is_stopping and c.ended_at is null and c.stop_reason is null
    limit 50 for update of c skip locked
  loop
    did := did + stop_run(next.id, next.stop_reason, null)::int;
  end loop;
  for next in select distinct r.environment, r.held_key from run r where r.state = 'queued' and r.held_key is not null limit 100 loop
    did := did + admit_queued(next.environment, next.held_key);
  end loop;
  return did;
end $$;

-- Tells the nodes that wait for runs of their own of the ends of these. Gives how many were told.
create function tell_parents() returns integer language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  children uuid[];
  ended task_end[];
  drafts event_draft[];
  told integer;
begin
  children := array(
    select c.id from run c cross join lateral (
      select from task t where t.run_id = c.parent_run and t.node = c.parent_node and t.target = ''
        and t.state not in ('running', 'ready', 'parked') offset 0
    ) t
    where c.parent_run is not null and not c.parent_told and c.ended_at is not null limit 100);
  if cardinality(children) = 0 then return 0; end if;
  perform lock_runs(array(select c.parent_run from run c where c.id = any (children) union select unnest(children)));
  with changed as (
    update task t set
      state = case when c.state = 'succeeded' then 'succeeded' when p.stop_reason is not null and not t.is_finally then 'cancelled' else 'failed' end,
      output = jsonb_build_object('run', c.id, 'state', c.state), ended_at = clock_timestamp(), wait_for = null, due_at = null,
      error = case when c.state <> 'succeeded' then jsonb_build_object('code', 'ABORTED', 'reason', 'RUN_' || upper(c.state),
        'message', 'The run ' || c.id || ' ended as ' || c.state || '.') end
    from run c join run p on p.id = c.parent_run
    where c.id = any (children) and t.run_id = c.parent_run and t.node = c.parent_node and t.target = '' and t.state = 'waiting' and t.wait_for = 'run'
    returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions, t.attempt, t.output
  )
  select array_agg((c.run_id, c.node, c.target, c.state, c.is_finally, c.allow_failure, c.successors, c.conditions)::task_end),
    array_agg((c.run_id, 'node.' || c.state, c.node, c.target, c.attempt, c.output)::event_draft)
  into ended, drafts from changed c;
  update run c set parent_told = true where c.id = any (children);
  get diagnostics told = row_count;
  if drafts is not null then perform advance(ended, drafts, null); end if;
  return told;
end $$;
