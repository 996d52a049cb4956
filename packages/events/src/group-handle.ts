import { HmsError } from "@hms/kernel/errors";
import { type RawBuilder, sql } from "kysely";
import type { CloudEvent } from "./cloud-event.ts";
import { type EventDatabase, rowsOf } from "./event-database.ts";
import { type LogRow, toCloudEvent } from "./event-row.ts";
import { EVENT_COLUMNS } from "./log-reader.ts";
import { startPosition } from "./start-position.ts";
import type { StartFrom } from "./subscription-options.ts";

/** How a group is doing. */
export interface GroupStatus {
  topics: string[];
  ordering: "key" | "none";
  paused: boolean;
  /** The processes that take part now. */
  members: number;
  /** At most so many events of the log are not handled yet; events of other topics may be among them. */
  lag: number;
  /** Events that failed and wait for their next delivery. */
  retrying: number;
  deadLetters: number;
  /** The log has let go of events that the group had not handled; it stands still until replay(). */
  behindRetention: boolean;
}

/** An event that a group gave up. */
export interface DeadLetter {
  id: string;
  position: number;
  event: CloudEvent;
  /** How often it was delivered. */
  attempts: number;
  /** What the last handler said. */
  error: string;
  diedAt: Date;
  /** It has been sent again and not been answered yet. */
  redriven: boolean;
}

/** One consumer group, for operators. Every method throws HmsError NOT_FOUND if there is no such group. */
export interface GroupHandle {
  status(): Promise<GroupStatus>;
  /** The status' lag. */
  lag(): Promise<number>;
  /** Nothing more is handed out, in any process, until resume(). */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Goes back or forward: every event from there on is delivered (again). @throws HmsError OUT_OF_RANGE */
  replay(from: StartFrom): Promise<void>;
  /** Oldest first. */
  deadLetters(): AsyncIterable<DeadLetter>;
  /** Sends dead letters again, beside the order of their keys; default all. Returns how many. */
  redrive(ids?: readonly string[]): Promise<number>;
  /** Forgets dead letters for good. Returns how many. */
  discard(ids: readonly string[]): Promise<number>;
  /** Forgets the group and all it remembers; its members report NOT_FOUND. */
  remove(): Promise<void>;
}

/** What a handle is made of. */
export interface GroupHandleOptions {
  database: EventDatabase;
  environment: string;
  name: string;
}

const DEAD_LETTER_PAGE = 100;

/** A handle on a group by its name. */
export function groupHandle({ database, environment, name }: GroupHandleOptions): GroupHandle {
  const idOf = async (): Promise<number> => {
    const query = sql<{
      id: number;
    }>`select id from consumer_group where environment = ${environment} and name = ${name}`;
    const [row] = await rowsOf(database, query);
    if (row) return row.id;
    const place = environment === "" ? "" : ` in the environment ${environment}`;
    throw new HmsError("NOT_FOUND", `There is no group ${name}${place}. A group begins with its first subscription.`, {
      reason: "NO_GROUP",
    });
  };
  /** Changes something and tells all members. */
  const change = async (query: (id: number) => RawBuilder<unknown>): Promise<number> => {
    const id = await idOf();
    const { rows } = await query(id).execute(database.db);
    await database.notify("group", String(id));
    return rows.length;
  };
  const setPaused = (paused: boolean) =>
    change((id) => sql`update consumer_group set paused = ${paused} where id = ${id}`);
  const status = async () => await readStatus(database, await idOf());
  return {
    status,
    lag: async () => (await status()).lag,
    pause: async () => void (await setPaused(true)),
    resume: async () => void (await setPaused(false)),
    replay: async (from) => {
      const cursor = await startPosition(database, from);
      await change((id) => rewind(id, cursor));
    },
    deadLetters: async function* () {
      yield* deadLetters(database, await idOf());
    },
    redrive: (ids) => change((id) => redrive(id, ids)),
    discard: (ids) => change((id) => discard(id, ids)),
    remove: async () => void (await change((id) => sql`delete from consumer_group where id = ${id}`)),
  };
}

async function readStatus(database: EventDatabase, id: number): Promise<GroupStatus> {
  const [row] = await rowsOf(
    database,
    sql<GroupStatus>`
      select g.topics, g.ordering, g.paused,
        (select count(*) from member m where m.group_id = g.id and m.expires_at > clock_timestamp())::int as members,
        (greatest(0, h.position - s.cursor) + (select count(*) from lease l where l.group_id = g.id))::float8 as lag,
        ((select count(*) from retry r where r.group_id = g.id) +
          (select count(*) from lease l where l.group_id = g.id and l.attempts > 0 and l.error <> ''))::int as retrying,
        (select count(*) from dead_letter d where d.group_id = g.id)::int as "deadLetters",
        s.cursor + 1 < coalesce((select min(p.first_position) from part p), 0) as "behindRetention"
      from consumer_group g, head h, (select min(cursor) as cursor from shard where group_id = ${id}) s
      where g.id = ${id}`,
  );
  return row as GroupStatus;
}

/** A new epoch takes the shards from whoever holds them: what they say of the time before does not count. */
const rewind = (id: number, cursor: number) => sql`
  with moved as (
    update shard set cursor = ${cursor}, epoch = epoch + 1, owner = null, expires_at = '-infinity' where group_id = ${id}
  ),
  forgotten as (delete from retry where group_id = ${id})
  delete from lease l where l.group_id = ${id}
    and not exists (select from dead_letter d where d.group_id = l.group_id and d.position = l.position)`;

const redrive = (id: number, ids: readonly string[] | undefined) => sql`
  with chosen as (
    update dead_letter set redriven_at = now()
    where group_id = ${id} and redriven_at is null and (${ids === undefined} or id = any (${[...(ids ?? [])]}::bigint[]))
    returning group_id, position
  )
  insert into lease (group_id, position, attempts, visible_at, error)
  select c.group_id, c.position, 0, clock_timestamp(), 'Sent again.' from chosen c
  on conflict (group_id, position) do update set attempts = 0, visible_at = excluded.visible_at, error = excluded.error
  returning 1`;

const discard = (id: number, ids: readonly string[]) => sql`
  with gone as (
    delete from dead_letter where group_id = ${id} and id = any (${[...ids]}::bigint[]) returning group_id, position, redriven_at
  ),
  ended as (
    delete from lease l using gone g where g.redriven_at is not null and l.group_id = g.group_id and l.position = g.position
  )
  select 1 from gone`;

type DeadLetterRow = LogRow & { id: string; attempts: number; error: string; died_at: Date; redriven: boolean };

async function* deadLetters(database: EventDatabase, groupId: number): AsyncGenerator<DeadLetter> {
  let after = "0";
  for (;;) {
    const rows = await rowsOf(
      database,
      sql<DeadLetterRow>`
        select e.id, e.attempts, e.error, e.died_at, e.redriven_at is not null as redriven, ${EVENT_COLUMNS}
        from (select *, 0 as slot from dead_letter where group_id = ${groupId} and id > ${after}::bigint
          order by id limit ${DEAD_LETTER_PAGE}) e order by e.id`,
    );
    for (const row of rows) {
      const { id, attempts, error, died_at: diedAt, redriven, position } = row;
      yield { id, position, event: toCloudEvent(row), attempts, error, diedAt, redriven };
    }
    const last = rows.at(-1);
    if (!last || rows.length < DEAD_LETTER_PAGE) return;
    after = last.id;
  }
}
