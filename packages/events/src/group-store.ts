import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import { type EventDatabase, milliseconds, rowsOf } from "./event-database.ts";
import type { LogRow } from "./event-row.ts";
import { EVENT_COLUMNS } from "./log-reader.ts";
import { startPosition } from "./start-position.ts";
import type { SubscriptionSettings } from "./subscription-options.ts";
import { topicExpression } from "./topic.ts";

/** A shard that a member holds. */
export interface HeldShard {
  shard: number;
  epoch: number;
  cursor: number;
  /** Taken just now. */
  is_new: boolean;
  /** So many owners in a row have died without getting any further. */
  drops: number;
  fair_share: number;
}

/** How far a failing event of a shard is. */
export interface StoredRetry {
  position: number;
  attempts: number;
  /** Milliseconds until it is due. */
  due_in_ms: number;
}

/** What changes while a group is being worked on. */
export interface GroupState {
  paused: boolean;
  topic_pattern: string | null;
}

/** How far shards have come. */
export interface Progress {
  shard: number;
  epoch: number;
  cursor: number;
}

/** An event that is given up. */
export interface Burial {
  position: number;
  attempts: number;
  error: string;
}

interface GroupRow {
  id: number;
  ordering: string;
  shards: number;
}

/** Makes a group unless it exists, and sets its topics to those of the latest subscriber. @returns its id. */
export async function ensureGroup(
  database: EventDatabase,
  name: string,
  settings: SubscriptionSettings,
): Promise<number> {
  const { environment, topics, ordering, shards } = settings;
  const expression = topicExpression(topics);
  const update = sql<GroupRow>`
    update consumer_group set topics = ${[...topics]}::text[], topic_pattern = ${expression}
    where environment = ${environment} and name = ${name} returning id, ordering, shards`;
  const [known] = await rowsOf(database, update);
  if (known) return fitting(known, name, settings);
  const start = await startPosition(database, settings.from);
  const [made] = await rowsOf(
    database,
    sql<GroupRow>`
      with made as (
        insert into consumer_group (environment, name, topics, topic_pattern, ordering, shards)
        values (${environment}, ${name}, ${[...topics]}::text[], ${expression}, ${ordering}, ${shards})
        on conflict (environment, name) do nothing returning id, ordering, shards
      ),
      filled as (
        insert into shard (group_id, shard, cursor) select m.id, s, ${start} from made m, generate_series(0, m.shards - 1) s
      )
      select * from made`,
  );
  if (made) return made.id;
  // Somebody else made it at the same moment.
  const [other] = await rowsOf(database, update);
  return fitting(other as GroupRow, name, settings);
}

function fitting(row: GroupRow, name: string, { ordering, shards }: SubscriptionSettings): number {
  if (row.ordering === ordering && row.shards === shards) return row.id;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `The group ${name} was made with ordering "${row.ordering}" and ${row.shards} shards, not "${ordering}" and ${shards}: what it has handled is counted so. Subscribe as it was made, or use another group.`,
    { reason: "GROUP_DIFFERS" },
  );
}

/** The rows of one consumer group. */
export class GroupStore {
  readonly #database: EventDatabase;
  readonly id: number;

  constructor(database: EventDatabase, id: number) {
    this.#database = database;
    this.id = id;
  }

  /** Undefined if the group is gone. */
  async state(): Promise<GroupState | undefined> {
    const query = sql<GroupState>`select paused, topic_pattern from consumer_group where id = ${this.id}`;
    return (await rowsOf(this.#database, query))[0];
  }

  /** Stays a member, and holds a fair share of the shards. */
  hold(member: string, leaseMs: number): Promise<HeldShard[]> {
    return rowsOf(
      this.#database,
      sql<HeldShard>`select shard, epoch::float8 as epoch, cursor::float8 as cursor, is_new, drops, fair_share
        from hold_shards(${this.id}, ${member}, ${leaseMs})`,
    );
  }

  /** The shards that the member still holds; what it says of others is not stored. */
  async save(member: string, progress: readonly Progress[]): Promise<Set<number>> {
    const column = (name: keyof Progress) => progress.map((entry) => entry[name]);
    const rows = await rowsOf(
      this.#database,
      sql<{ shard: number }>`select s as shard from save_cursors(${this.id}, ${member}, ${column("shard")}::int[],
        ${column("epoch")}::bigint[], ${column("cursor")}::bigint[]) s`,
    );
    return new Set(rows.map(({ shard }) => shard));
  }

  /** Gives shards back. */
  async release(member: string, shards: readonly Pick<Progress, "shard" | "epoch">[]): Promise<void> {
    const numbers = shards.map(({ shard }) => shard);
    const epochs = shards.map(({ epoch }) => epoch);
    await rowsOf(
      this.#database,
      sql`update shard s set owner = null, expires_at = '-infinity'
        from unnest(${numbers}::int[], ${epochs}::bigint[]) as r (shard, epoch)
        where s.group_id = ${this.id} and s.shard = r.shard and s.epoch = r.epoch and s.owner = ${member}`,
    );
  }

  /** Ends a membership. */
  async leave(member: string): Promise<void> {
    await rowsOf(this.#database, sql`delete from member where group_id = ${this.id} and member = ${member}`);
    await this.announce();
  }

  /** Tells all members that shards may be had, or are wanted. */
  async announce(): Promise<void> {
    await this.#database.notify("group", String(this.id));
  }

  /** Failed events that shards stand at. */
  retries(): Promise<StoredRetry[]> {
    return rowsOf(
      this.#database,
      sql<StoredRetry>`select position::float8 as position, attempts,
          (extract(epoch from next_at - clock_timestamp()) * 1000)::float8 as due_in_ms
        from retry where group_id = ${this.id}`,
    );
  }

  /** Notes that an event has been tried. */
  async putRetry({ position, attempts, error }: Burial, delayMs: number): Promise<void> {
    await rowsOf(
      this.#database,
      sql`insert into retry (group_id, position, attempts, next_at, error)
        values (${this.id}, ${position}, ${attempts}, clock_timestamp() + ${milliseconds(delayMs)}, ${error})
        on conflict (group_id, position) do update
        set attempts = excluded.attempts, next_at = excluded.next_at, error = excluded.error`,
    );
  }

  /** Forgets what is noted of an event. */
  async dropRetry(position: number): Promise<void> {
    await rowsOf(this.#database, sql`delete from retry where group_id = ${this.id} and position = ${position}`);
  }

  /** Puts an event of a shard among the dead letters, if the member still holds the shard; true if so. */
  async buryOfShard(member: string, { shard, epoch, cursor }: Progress, burial: Burial): Promise<boolean> {
    const rows = await rowsOf(
      this.#database,
      sql`
        with moved as (
          update shard set cursor = greatest(cursor, ${cursor}), drops = 0
          where group_id = ${this.id} and shard = ${shard} and epoch = ${epoch} and owner = ${member} returning 1
        ),
        dropped as (delete from retry where group_id = ${this.id} and position = ${burial.position} and exists (select from moved)),
        ${this.#buried(burial, sql`exists (select from moved)`)}
        select from moved`,
    );
    return rows.length === 1;
  }

  #buried({ position, attempts, error }: Burial, condition: ReturnType<typeof sql>) {
    return sql`buried as (
      insert into dead_letter
        (group_id, position, attempts, error, logged_at, environment, topic, source, event_id, partition_key, attributes, data)
      select ${this.id}, e.position, ${attempts}::int, ${error}, e.logged_at, e.environment, e.topic, e.source, e.event_id,
        e.partition_key, e.attributes, e.data
      from page(${position - 1}, ${position}, 1, null, null, null, null) e where ${condition}
      on conflict (group_id, position) do update
      set attempts = excluded.attempts, error = excluded.error, died_at = now(), redriven_at = null)`;
  }

  /** The next events of a group without order, each leased; and how far the group was before. */
  async leaseNext(
    head: number,
    limits: { rows: number; scan: number; ackWaitMs: number },
  ): Promise<{ rows: LogRow[]; cursor: number }> {
    const rows = await rowsOf(
      this.#database,
      sql<LogRow & { cursor: number }>`
        select c.cursor::float8 as cursor, ${EVENT_COLUMNS}
        from (select cursor from shard where group_id = ${this.id} and shard = 0) c
        left join lease_next(${this.id}, ${head}, ${limits.rows}, ${limits.scan}, ${limits.ackWaitMs}) e on true`,
    );
    return { rows: rows.filter(({ position }) => position !== null), cursor: rows[0]?.cursor ?? head };
  }

  /** The positions that a group without order has missed. */
  async gap(): Promise<{ from: number; to: number }> {
    const [gap] = await rowsOf(
      this.#database,
      sql<{ from: number; to: number }>`
        select (select min(cursor) from shard where group_id = ${this.id})::float8 + 1 as from,
          (select min(first_position) from part)::float8 - 1 as to`,
    );
    return gap ?? { from: 0, to: 0 };
  }

  /**
   * Leases that are due again, with their events, and how often each has been handed out: those that were answered with
   * a delay, or those that were not answered at all.
   */
  async leaseAgain(
    kind: "answered" | "unanswered",
    most: number,
    ackWaitMs: number,
  ): Promise<(LogRow & { attempts: number; error: string })[]> {
    const due = await rowsOf(
      this.#database,
      sql<{ position: number; attempts: number; error: string }>`
        select position::float8 as position, attempts, error from lease_again(${this.id}, ${most}, ${kind === "unanswered"}, ${ackWaitMs})`,
    );
    if (due.length === 0) return [];
    const positions = due.map(({ position }) => position);
    const events = await rowsOf(
      this.#database,
      sql<LogRow>`
        select ${EVENT_COLUMNS} from unnest(${positions}::bigint[]) p, page(p - 1, p, 1, null, null, null, null) e
        union all
        select e.position::float8, e.logged_at, e.environment, e.topic, e.source, e.event_id, e.partition_key, 0, e.attributes, e.data
        from dead_letter e
        where e.group_id = ${this.id} and e.position = any (${positions}::bigint[])
          and e.position < coalesce((select min(first_position) from part), 0)`,
    );
    const byPosition = new Map(events.map((event) => [event.position, event]));
    return due.flatMap((lease) => {
      const event = byPosition.get(lease.position);
      return event ? [{ ...event, attempts: lease.attempts, error: lease.error }] : [];
    });
  }

  /** Ends leases whose events are done. */
  async endLeases(done: readonly { position: number; attempts: number }[]): Promise<void> {
    const positions = done.map(({ position }) => position);
    const attempts = done.map((entry) => entry.attempts);
    await rowsOf(this.#database, sql`select end_leases(${this.id}, ${positions}::bigint[], ${attempts}::int[])`);
  }

  /** Lets a lease run out after `delayMs`. `unused`: the event has not been handed to anybody. */
  async postponeLease({ position, attempts, error }: Burial, delayMs: number, unused = false): Promise<void> {
    await rowsOf(
      this.#database,
      sql`update lease set visible_at = clock_timestamp() + ${milliseconds(delayMs)}, error = ${error},
          attempts = attempts - ${unused ? 1 : 0}
        where group_id = ${this.id} and position = ${position} and attempts = ${attempts}`,
    );
  }

  /** Puts a leased event among the dead letters, unless the lease is another's by now. */
  async buryOfLease(burial: Burial): Promise<void> {
    const { position, attempts, error } = burial;
    await rowsOf(
      this.#database,
      sql`
        with ended as (
          delete from lease where group_id = ${this.id} and position = ${position} and attempts = ${attempts} returning 1
        ),
        known as (
          update dead_letter set attempts = ${attempts}, error = ${error}, died_at = now(), redriven_at = null
          where group_id = ${this.id} and position = ${position} and exists (select from ended) returning 1
        ),
        ${this.#buried(burial, sql`exists (select from ended) and not exists (select from known)`)}
        select from ended`,
    );
  }
}
