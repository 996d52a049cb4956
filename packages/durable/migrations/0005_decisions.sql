-- What a person decides of a task that waits for a decision, or may have been done by a worker that was lost: retry, succeed
-- (with an output) or fail. Gives false if it does not wait for one (any more).
create function decide(of_run uuid, of_node text, of_target text, decision text, with_output jsonb, with_error jsonb, decided_by jsonb)
returns boolean language plpgsql as $$
#variable_conflict use_column
declare
  ended task_end[];
  drafts event_draft[];
begin
  perform lock_runs(array[of_run]);
  -- A node with targets that has come to its threshold: the next batch, or its end.
  if of_target = '' and exists (select from fan_out f join task t on t.run_id = f.run_id and t.node = f.node and t.target = ''
      where f.run_id = of_run and f.node = of_node and t.state = 'needs_decision') then
    drafts := array[(of_run, 'node.decided', of_node, '', null, jsonb_build_object('decision', decision, 'by', decided_by))::event_draft];
    ended := '{}';
    if decision = 'retry' and next_batch(of_run, of_node) is not null then
      update task t set state = 'waiting', wait_for = 'targets', error = null where t.run_id = of_run and t.node = of_node and t.target = '';
    else
      ended := array[end_fan_out(of_run, of_node, case decision when 'fail' then 'failed' else 'succeeded' end)];
      drafts := drafts || (of_run, 'node.' || ended[1].state, of_node, '', null, null)::event_draft;
    end if;
    perform advance(ended, drafts, null);
    return true;
  end if;
  with changed as (
    update task t set
      state = case decision when 'retry' then case when r.parked then 'parked' else 'ready' end
        when 'succeed' then 'succeeded' else 'failed' end,
      output = with_output, error = with_error, wait_for = null, due_at = null, ready_at = clock_timestamp(),
      ended_at = case when decision <> 'retry' then clock_timestamp() end
    from run r
    where r.id = t.run_id and t.run_id = of_run and t.node = of_node and t.target = of_target
      and (t.state = 'needs_decision' or (t.state = 'waiting' and t.wait_for = 'decision' and decision <> 'retry'))
    returning t.run_id, t.node, t.target, t.state, t.is_finally, t.allow_failure, t.successors, t.conditions, t.attempt
  )
  select array_agg((c.run_id, c.node, c.target, c.state, c.is_finally, c.allow_failure, c.successors, c.conditions)::task_end)
      filter (where c.state in ('succeeded', 'failed')),
    array_agg((c.run_id, case when c.target = '' then 'node.decided' else 'target.decided' end, c.node, c.target, c.attempt,
      jsonb_build_object('decision', decision, 'by', decided_by, 'state', c.state))::event_draft)
  into ended, drafts from changed c;
  if drafts is null then return false; end if;
  perform advance(coalesce(ended, '{}'), drafts, null);
  return true;
end $$;
