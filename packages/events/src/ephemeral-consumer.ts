import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import type { Consumer, ConsumerParts } from "./consumer.ts";
import { readPage } from "./log-reader.ts";
import { PageSize } from "./page-size.ts";
import { isPassing } from "./passing-failure.ts";
import { behindRetention } from "./relay.ts";
import { topicExpression } from "./topic.ts";

const SCAN = 5000;
const IDLE_MS = 1000;

/**
 * A subscription of its own, without memory: every event once, in the order of the log, one after the other. What the
 * handler fails at is reported and not repeated.
 */
export class EphemeralConsumer implements Consumer {
  readonly #parts: ConsumerParts;
  readonly #end = new AbortController();
  readonly #pageSize = new PageSize();
  readonly #topics: string | null;
  #position: number;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: ConsumerParts, position: number) {
    this.#parts = parts;
    this.#position = position;
    this.#topics = topicExpression(parts.settings.topics);
  }

  /** Begins to deliver. */
  start(): void {
    this.#loop = this.#run();
  }

  refresh(): void {}

  async #run(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#readOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        const failure = HmsError.from(error);
        if (failure.details.reason === "BEHIND_RETENTION") this.#skip(failure);
        else if (!isPassing(failure)) this.#parts.failed(failure);
        await delay(100, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Nobody can tell it where to go on, so it goes on with the oldest event there is, and says so. */
  #skip(failure: HmsError): void {
    const { failed, settings } = this.#parts;
    const from = Number(failure.details.metadata?.from);
    const to = Number(failure.details.metadata?.to);
    failed(behindRetention({ environment: settings.environment, name: "(none)", from, to }));
    this.#position = to;
  }

  async #readOnce(signal: AbortSignal): Promise<void> {
    const { database, head, settings } = this.#parts;
    if (!(await head.beyond(this.#position, signal, IDLE_MS))) return;
    const until = Math.min(this.#position + SCAN, head.position);
    const range = { after: this.#position, until, limit: this.#pageSize.rows };
    const page = await readPage(database, range, { environment: settings.environment || null, topics: this.#topics });
    this.#pageSize.learn(page.rows);
    for (const row of page.rows) {
      if (signal.aborted) return;
      const outcome = await this.#parts.desk.deliver(row, 1);
      this.#position = row.position;
      if (outcome.kind === "nak" || outcome.kind === "term")
        this.#parts.failed(notHandled(row.event_id, outcome.error));
    }
    this.#position = Math.max(this.#position, page.reached);
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#loop;
  }
}

const notHandled = (id: string, error: string) =>
  new HmsError(
    "ABORTED",
    `The event ${id} was not handled, and comes no more to a subscription without group: ${error}`,
    {
      reason: "NOT_HANDLED",
    },
  );
