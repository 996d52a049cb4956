import type { RemoteWorker } from "@hms/durable";
import type { ServiceDatabase } from "@hms/postgres";
import { sql } from "kysely";

/** What the automation service keeps itself; runs are the engine's. */
export interface AutomationTables {
  queue_worker: { environment: string; queue: string; principal: string; worker: string; seen_at: Date };
}

/** So often a program that asks again and again is written down. */
const NOTE_EVERY_MS = 10_000;
/** A program asks at least once a minute. */
const OF_LATE_S = 120;
const FORGET_AFTER_DAYS = 1;

/** Knows which queues somebody works on. */
export class QueueWorkers {
  readonly #db: ServiceDatabase<AutomationTables>["db"];
  readonly #noted = new Map<string, number>();

  constructor({ db }: Pick<ServiceDatabase<AutomationTables>, "db">) {
    this.#db = db;
  }

  /** A program asks for the steps of a queue. @throws HmsError UNAVAILABLE */
  async note({ environment, queue, principal, name }: RemoteWorker): Promise<void> {
    const key = `${environment} ${queue} ${principal} ${name}`;
    const now = performance.now();
    if (now - (this.#noted.get(key) ?? -NOTE_EVERY_MS) < NOTE_EVERY_MS) return;
    if (this.#noted.size > 10_000) this.#noted.clear();
    this.#noted.set(key, now);
    await sql`
      with forgotten as (
        delete from queue_worker where seen_at < clock_timestamp() - make_interval(days => ${FORGET_AFTER_DAYS})
      )
      insert into queue_worker (environment, queue, principal, worker) values (${environment}, ${queue}, ${principal}, ${name})
      on conflict (environment, queue, principal, worker) do update set seen_at = clock_timestamp()`.execute(this.#db);
  }

  /** Which of these queues nobody has asked for in the last two minutes. @throws HmsError UNAVAILABLE */
  async idle(environment: string, queues: readonly string[]): Promise<string[]> {
    if (queues.length === 0) return [];
    const found = await this.#db
      .selectFrom("queue_worker")
      .select("queue")
      .distinct()
      .where("environment", "=", environment)
      .where("queue", "in", [...queues])
      .where("seen_at", ">", sql<Date>`clock_timestamp() - make_interval(secs => ${OF_LATE_S})`)
      .execute();
    const seen = new Set(found.map(({ queue }) => queue));
    return queues.filter((queue) => !seen.has(queue));
  }
}
