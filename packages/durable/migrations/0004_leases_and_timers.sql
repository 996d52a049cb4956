-- Prolongs the leases of a worker on the tasks that it knows of. Gives each of these fences with whether it still holds,
-- and why its run was told to stop. A task that somebody is changing right now is left for the next time.
create function heartbeat(as_worker text, fences bigint[], lease_ms integer) returns table (fence bigint, holds boolean, stop_reason text)
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
  update task t set lease_until = clock_timestamp() + make_interval(secs => lease_ms / 1000.0::float8)
  from (
    select h.run_id, h.node, h.target from task h
    where h.state = 'running' and h.worker = as_worker and h.fence = any (fences) for update skip locked
  ) p
  where t.run_id = p.run_id and t.node = p.node and t.target = p.target;
  return query
    select f.fence, t.run_id is not null, case when not t.is_finally then r.stop_reason end
    from unnest(fences) f (fence)
      left join task t on t.worker = as_worker and t.state = 'running' and t.fence = f.fence
      left join run r on r.id = t.run_id;
end $$;

-- Tasks that a worker has claimed and does not know of: the answer to its claim was lost. Those of which half of the lease
-- is left.
create function unknown_claims(as_worker text, fences bigint[], lease_ms integer)
returns table (run_id uuid, node text, target text, attempt integer, failures integer, fence bigint, followers integer, spec jsonb,
  item jsonb, state text, environment text, inputs jsonb, principal jsonb)
language sql stable as $$
  select t.run_id, t.node, t.target, t.attempt, t.failures, t.fence, cardinality(t.successors), t.spec, t.item, t.state, r.environment, r.inputs, r.principal
  from task t join run r on r.id = t.run_id
  where t.worker = as_worker and t.state = 'running' and t.lease_until > clock_timestamp() + make_interval(secs => lease_ms / 2000.0::float8) and not t.fence = any (fences)
$$;

-- Takes tasks from workers whose leases have run out: they are ready again, or wait for a decision if they may have happened
-- and must not happen twice, or have been lost too often.
create function reap(most_losses integer) returns table (run_id uuid, node text, target text, state text)
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  ids uuid[];
  ended task_end[];
  drafts event_draft[];
begin
  ids := array(select distinct t.run_id from (
    select e.run_id from task e where e.state = 'running' and e.lease_until < clock_timestamp() order by e.lease_until limit 200) t);
  if cardinality(ids) = 0 then return; end if;
  perform lock_runs(ids);
  with lost as (
    select t.run_id, t.node, t.target, t.worker, t.fence, t.started_at from task t
    where t.run_id = any (ids) and t.state = 'running' and t.lease_until < clock_timestamp() for update of t
  ),
  changed as (
    update task t set
      state = case when r.stop_reason is not null and not t.is_finally then 'cancelled'
        when t.effect = 'at_most_once' or t.losses >= most_losses then 'needs_decision'
        when r.parked then 'parked' else 'ready' end,
      losses = t.losses + 1, worker = null, lease_until = null, ready_at = clock_timestamp(),
      ended_at = case when r.stop_reason is not null and not t.is_finally then clock_timestamp() end,
      error = jsonb_build_object('code', 'UNAVAILABLE', 'reason', 'WORKER_LOST',
        'message', 'The worker ' || l.worker || ' was lost while it did this; whether it was done is not known.')
    from lost l join run r on r.id = l.run_id
    where t.run_id = l.run_id and t.node = l.node and t.target = l.target
    returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions, t.attempt,
      t.error, l.worker, l.fence, l.started_at
  ),
  noted as (
    insert into attempt (run_id, node, target, attempt, worker, fence, outcome, error, started_at)
    select c.run_id, c.node, c.target, c.attempt, c.worker, c.fence, 'lost', c.error, c.started_at from changed c
  )
  select array_agg((c.run_id, c.node, c.target, c.state, c.is_finally, c.allow_failure, c.successors, c.conditions)::task_end)
      filter (where c.state = 'cancelled'),
    array_agg((c.run_id, case when c.target = '' then 'node.lost' else 'target.lost' end, c.node, c.target, c.attempt,
      jsonb_build_object('worker', c.worker, 'state', c.state))::event_draft order by c.run_id, c.node)
  into ended, drafts from changed c;
  if drafts is null then return; end if;
  perform advance(coalesce(ended, '{}'), drafts, null);
  return query select d.run_id, d.node, d.target, d.data->>'state' from unnest(drafts) d;
end $$;

-- Ends waits that are due: a retry is ready, a wait has succeeded, a decision that nobody took has failed. Gives the ms
-- until the next one (null: none), and how many were due.
create function fire_timers(out next_ms float8, out fired integer)
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  ids uuid[];
  ended task_end[];
  drafts event_draft[];
  paused record;
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
      perform next_batch(paused.run_id, paused.node);
      fired := fired + 1;
    end loop;
  end if;
  select extract(epoch from min(t.due_at) - clock_timestamp()) * 1000 into next_ms
  from task t where t.state = 'waiting' and t.due_at is not null;
end $$;
