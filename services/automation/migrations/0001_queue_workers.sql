-- Programs that have asked for the steps of a queue: whoever starts a run is told if nobody has of late.
create table queue_worker (
  environment text collate "C" not null,
  queue text collate "C" not null,
  principal text collate "C" not null,
  worker text collate "C" not null,
  seen_at timestamptz not null default clock_timestamp(),
  primary key (environment, queue, principal, worker)
);

create index queue_worker_seen on queue_worker (seen_at);
