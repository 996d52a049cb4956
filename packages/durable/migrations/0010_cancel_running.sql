-- Stores new runs as start_runs() does, without claims, and cancels the runs that hold the concurrency keys of those that say
-- cancel_running: all of it or nothing. One that is known, by its id or its idempotency key, cancels nothing. Runs that had to be
-- cancelled and are not among those that may be are given as holders, and nothing is done.
create function start_cancelling(asked jsonb, may_cancel uuid[])
returns table (asked_id uuid, id uuid, is_new boolean, same_request boolean, state text, holder uuid)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  holders uuid[];
  making_room uuid[];
  told_by jsonb[];
begin
  -- One look: whoever has an idempotency key by now is not among those that hold the concurrency key.
  select coalesce(array_agg(h.holder order by h.holder), '{}'), coalesce(array_agg(h.asked_id order by h.holder), '{}'),
    coalesce(array_agg(h.principal order by h.holder), '{}')
  into holders, making_room, told_by
  from (
    select distinct on (r.id) r.id as holder, d.id as asked_id, d.principal
    from jsonb_to_recordset(asked) as b (runs jsonb)
      cross join jsonb_to_recordset(b.runs) as d (id uuid, environment text, idempotency_key text, concurrency_key text, on_limit text, principal jsonb)
      join run r on r.environment = d.environment and r.held_key = d.concurrency_key and r.stop_reason is null
        -- One that only cleans up is not cancelled: it is waited for.
        and r.ended_at is null and r.open_nodes > r.open_finally
    where d.on_limit = 'cancel_running'
      and not exists (select from run k where k.id = d.id)
      and not exists (select from run k where k.environment = d.environment and k.idempotency_key = d.idempotency_key)
    order by r.id, d.id
  ) h;
  if not holders <@ may_cancel then
    return query select null::uuid, null::uuid, null::boolean, null::boolean, null::text, h.holder from unnest(holders) h (holder);
    return;
  end if;
  perform lock_runs(holders);
  perform stop_run(h.holder, 'cancelled', h.told_by) from unnest(holders, told_by) h (holder, told_by);
  return query select s.asked_id, s.id, s.is_new, s.same_request, s.state, null::uuid from start_runs(asked, null, '{}', 0) s;
  -- Somebody has used the idempotency key since the look: nothing is to be cancelled for it.
  if exists (
    select from jsonb_to_recordset(asked) as b (runs jsonb)
      cross join jsonb_to_recordset(b.runs) as d (id uuid, environment text, idempotency_key text)
    where d.id = any (making_room)
      and not exists (select from run r where r.id = d.id)
      and not exists (
        select from run r
          join jsonb_to_recordset(asked) as c (runs jsonb) on true
          cross join jsonb_to_recordset(c.runs) as o (id uuid)
        where r.environment = d.environment and r.idempotency_key = d.idempotency_key and r.id = o.id)
  ) then
    raise exception 'idempotency key taken' using errcode = 'HMS03';
  end if;
end $$;
