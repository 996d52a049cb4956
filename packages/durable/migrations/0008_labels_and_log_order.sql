-- Gives a run its labels, in the transaction that stores it.
create function label_run(of_run uuid, with_labels jsonb) returns void language sql as $$
  update run set labels = coalesce(with_labels, '{}') where id = of_run
$$;

-- The log of a whole run, in the order in which it was written.
create index log_chunk_of_run on log_chunk (run_id, at, node, target, attempt, seq);
