-- The log: every event once, under a position without gaps. Only the relay writes it, in the order of positions.
create table log (
  day date not null,
  position bigint not null,
  logged_at timestamptz not null,
  environment text collate "C" not null,
  topic text collate "C" not null,
  source text collate "C" not null,
  event_id text collate "C" not null,
  partition_key text collate "C",
  slot smallint not null,
  attributes json not null,
  data bytea
) partition by list (day);

-- The partitions: that of a day begins at first_position and ends where the next begins.
create table part (
  day date primary key,
  first_position bigint not null
);

-- The last position given. Whoever moves events changes this row in the same transaction.
create table head (
  singleton boolean primary key default true check (singleton),
  position bigint not null,
  logged_at timestamptz not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

insert into head (position, logged_at) values (0, now());

create table consumer_group (
  id integer generated always as identity primary key,
  -- Empty: a group of the platform that sees all environments.
  environment text collate "C" not null,
  name text collate "C" not null,
  topics text[] not null,
  -- The topics as one regular expression; null: every topic.
  topic_pattern text,
  ordering text not null check (ordering in ('key', 'none')),
  shards integer not null check (shards between 1 and 1024),
  paused boolean not null default false,
  created_at timestamptz not null default now(),
  unique (environment, name)
);

-- How far a group has come: everything of this shard up to the cursor is done. A group without order has one shard,
-- whose cursor says what has been handed out.
create table shard (
  group_id integer not null references consumer_group on delete cascade,
  shard integer not null,
  cursor bigint not null,
  owner text collate "C",
  epoch bigint not null default 0,
  expires_at timestamptz not null default '-infinity',
  -- So many owners in a row have died without getting any further.
  drops integer not null default 0,
  primary key (group_id, shard)
) with (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The processes that take part in a group.
create table member (
  group_id integer not null references consumer_group on delete cascade,
  member text collate "C" not null,
  expires_at timestamptz not null,
  primary key (group_id, member)
);

-- The event that a shard stands at after it has failed.
create table retry (
  group_id integer not null references consumer_group on delete cascade,
  position bigint not null,
  attempts integer not null,
  next_at timestamptz not null,
  error text not null,
  primary key (group_id, position)
);

-- Events handed out one by one: those of groups without order, and those sent again from the dead letters.
create table lease (
  group_id integer not null references consumer_group on delete cascade,
  position bigint not null,
  attempts integer not null,
  visible_at timestamptz not null,
  error text not null default '',
  primary key (group_id, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

create index lease_by_turn on lease (group_id, visible_at);

-- Events that a group could not handle, whole: they outlive the log.
create table dead_letter (
  id bigint generated always as identity primary key,
  group_id integer not null references consumer_group on delete cascade,
  position bigint not null,
  attempts integer not null,
  error text not null,
  died_at timestamptz not null default now(),
  redriven_at timestamptz,
  logged_at timestamptz not null,
  environment text collate "C" not null,
  topic text collate "C" not null,
  source text collate "C" not null,
  event_id text collate "C" not null,
  partition_key text collate "C",
  attributes json not null,
  data bytea,
  unique (group_id, position)
);

-- Events after one position up to another, oldest first. A null filter lets everything pass.
create function page(
  after_position bigint, until_position bigint, max_rows integer,
  of_environment text, topic_pattern text, shard_count integer, of_shards integer[]
) returns table (
  "position" bigint, logged_at timestamptz, environment text, topic text, source text, event_id text,
  partition_key text, slot smallint, attributes json, data bytea
) language plpgsql as $$
#variable_conflict use_column
declare
  wanted record;
  missing integer := max_rows;
  found_rows integer;
begin
  for wanted in
    select p.day, p.first_position, lead(p.first_position, 1, 9223372036854775807) over (order by p.day) as next_first
    from part p order by p.day
  loop
    if wanted.next_first <= after_position + 1 then continue; end if;
    exit when wanted.first_position > until_position or missing <= 0;
    return query execute format(
      'select l.position, l.logged_at, l.environment, l.topic, l.source, l.event_id, l.partition_key, l.slot, l.attributes, l.data
       from %I l
       where l.position > $1 and l.position <= $2
         and ($3 is null or l.environment = $3) and ($4 is null or l.topic ~ $4)
         and ($5 is null or l.slot %% $5 = any ($6))
       order by l.position limit $7', 'log_' || to_char(wanted.day, 'YYYYMMDD'))
      using after_position, until_position, of_environment, topic_pattern, shard_count, of_shards, missing;
    get diagnostics found_rows = row_count;
    missing := missing - found_rows;
  end loop;
end $$;

-- Takes part in a group: prolongs what this member holds, and takes free shards up to its fair share.
create function hold_shards(of_group integer, as_member text, lease_ms integer)
returns table (shard integer, epoch bigint, cursor bigint, is_new boolean, drops integer, fair_share integer)
language plpgsql as $$
#variable_conflict use_column
declare
  until timestamptz := clock_timestamp() + make_interval(secs => lease_ms / 1000.0::float8);
  share integer;
  held integer;
begin
  insert into member as m (group_id, member, expires_at) values (of_group, as_member, until)
  on conflict (group_id, member) do update set expires_at = excluded.expires_at;
  delete from member m where (m.group_id, m.member) in (
    select e.group_id, e.member from member e
    where e.group_id = of_group and e.expires_at < clock_timestamp() for update skip locked);
  select ceil((select count(*) from shard s where s.group_id = of_group)::float8 / count(*)) into share
  from member m where m.group_id = of_group;
  return query
    update shard s set expires_at = until where s.group_id = of_group and s.owner = as_member
    returning s.shard, s.epoch, s.cursor, false, s.drops, share;
  get diagnostics held = row_count;
  if held >= share then return; end if;
  return query
    update shard s set owner = as_member, epoch = s.epoch + 1, expires_at = until,
      drops = case when free.owner is null then 0 else s.drops + 1 end
    from (
      select f.shard, f.owner from shard f
      where f.group_id = of_group and (f.owner is null or f.expires_at < clock_timestamp())
      order by f.cursor limit share - held for update skip locked
    ) free
    where s.group_id = of_group and s.shard = free.shard
    returning s.shard, s.epoch, s.cursor, true, s.drops, share;
end $$;

-- Stores how far shards have come, if this member still holds them; returns those that it does. Not waited for on the
-- disk: what a crash takes back is handled once more.
create function save_cursors(of_group integer, as_member text, of_shards integer[], epochs bigint[], cursors bigint[])
returns setof integer language plpgsql as $$
#variable_conflict use_column
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
    update shard s set cursor = greatest(s.cursor, c.cursor), drops = 0
    from unnest(of_shards, epochs, cursors) as c (shard, epoch, cursor)
    where s.group_id = of_group and s.shard = c.shard and s.epoch = c.epoch and s.owner = as_member
    returning s.shard;
end $$;

-- Hands out the next events of a group without order, each under a lease of its own.
create function lease_next(of_group integer, until_position bigint, max_rows integer, scan_rows integer, ack_wait_ms integer)
returns table (
  "position" bigint, logged_at timestamptz, environment text, topic text, source text, event_id text,
  partition_key text, slot smallint, attributes json, data bytea
) language plpgsql as $$
#variable_conflict use_column
declare
  done bigint;
  reach bigint;
begin
  perform set_config('synchronous_commit', 'off', true);
  select s.cursor into done from shard s where s.group_id = of_group and s.shard = 0 for update;
  reach := least(done + scan_rows, until_position);
  if reach <= done then return; end if;
  if done + 1 < (select min(p.first_position) from part p) then
    raise exception 'behind retention' using errcode = 'HMS01';
  end if;
  return query
    with asked as (
      select nullif(g.environment, '') as of_environment, g.topic_pattern
      from consumer_group g where g.id = of_group and not g.paused
    ),
    found as materialized (
      select p.* from asked a, page(done, reach, max_rows, a.of_environment, a.topic_pattern, null, null) p
    ),
    moved as (
      update shard s
      set cursor = case when (select count(*) from found) = max_rows then (select max(f.position) from found f) else reach end
      where s.group_id = of_group and s.shard = 0 and exists (select from asked)
    ),
    leased as (
      insert into lease (group_id, position, attempts, visible_at)
      select of_group, f.position, 1, clock_timestamp() + make_interval(secs => ack_wait_ms / 1000.0::float8) from found f
      on conflict (group_id, position) do nothing
      returning position
    )
    select f.* from found f where f.position in (select l.position from leased l) order by f.position;
end $$;

-- Hands out events again: those that were told to wait until now, or (unanswered) those whose leases ran out without a
-- word, whose process may have died of one of them.
create function lease_again(of_group integer, max_rows integer, unanswered boolean, ack_wait_ms integer)
returns table ("position" bigint, attempts integer, error text) language plpgsql as $$
#variable_conflict use_column
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
    update lease l set attempts = l.attempts + 1, error = '',
      visible_at = clock_timestamp() + make_interval(secs => ack_wait_ms / 1000.0::float8)
    from (
      select d.position, d.error from lease d join consumer_group g on g.id = d.group_id
      where d.group_id = of_group and d.visible_at <= clock_timestamp() and not g.paused and (d.error = '') = unanswered
      order by d.visible_at limit max_rows for update of d skip locked
    ) due
    where l.group_id = of_group and l.position = due.position
    returning l.position, l.attempts, due.error;
end $$;

-- Ends leases whose events have been handled; one that has been given to somebody else stays.
create function end_leases(of_group integer, positions bigint[], attempt_numbers integer[]) returns void
language plpgsql as $$
#variable_conflict use_column
begin
  perform set_config('synchronous_commit', 'off', true);
  with ended as (
    delete from lease l using unnest(positions, attempt_numbers) as d (position, attempts)
    where l.group_id = of_group and l.position = d.position and l.attempts = d.attempts
    returning l.position
  )
  delete from dead_letter d using ended e
  where d.group_id = of_group and d.position = e.position and d.redriven_at is not null;
end $$;
