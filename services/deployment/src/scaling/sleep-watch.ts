import { setTimeout as delay } from "node:timers/promises";
import type { mesh } from "@hms/contracts";
import type { Client } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { keyText, type ServiceBook } from "../service-book.ts";
import type { ServiceRecord } from "../service-record.ts";
import type { AutoScaler } from "./auto-scaler.ts";

const WAIT_MS = 10_000;
const SLACK_MS = 5_000;
const AGAIN_MS = 500;

/** What a sleep watch stands on. */
export interface SleepWatchParts {
  book: ServiceBook;
  mesh: Client<typeof mesh.MeshService>;
  scaler: AutoScaler;
  log: Logger;
}

/** Wakes services that sleep as soon as a data plane says that a request waits for one. */
export class SleepWatch {
  readonly #parts: SleepWatchParts;
  #asleep = "";
  #change = new AbortController();

  constructor(parts: SleepWatchParts) {
    this.#parts = parts;
    parts.book.onChange(() => this.#onChange());
  }

  /** Watches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const pauseMs = await this.#round(signal).catch((error) => {
        if (!signal.aborted && !this.#change.signal.aborted) {
          this.#parts.log.debug("it is not known whether requests wait; asking again", { error });
        }
        return this.#change.signal.aborted ? 0 : AGAIN_MS;
      });
      if (pauseMs > 0) await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** One question; answers with how long to pause before the next one. */
  async #round(signal: AbortSignal): Promise<number> {
    const { book, mesh, scaler } = this.#parts;
    this.#change = new AbortController();
    const sleeping = this.#sleeping();
    this.#asleep = sleeping.map(keyText).join(" ");
    const either = AbortSignal.any([signal, this.#change.signal]);
    if (sleeping.length === 0) {
      await book.changes.next(signal);
      return 0;
    }
    const services = sleeping.map(({ environment, service }) => ({ environment, service }));
    const request = { services, timeoutMs: BigInt(WAIT_MS) };
    const { waiting } = await mesh.awaitWaiting(request, { signal: either, timeoutMs: WAIT_MS + SLACK_MS });
    const woken = await Promise.all(
      waiting.map((key) => {
        const record = book.get(key);
        return record ? scaler.wake(record) : false;
      }),
    );
    // What is being woken waits on until it is awake.
    return waiting.length === 0 ? 0 : woken.includes(true) ? AGAIN_MS / 5 : AGAIN_MS;
  }

  #sleeping(): ServiceRecord[] {
    return [...this.#parts.book.all()].filter(({ asleep, running }) => asleep && !running);
  }

  #onChange(): void {
    if (this.#sleeping().map(keyText).join(" ") !== this.#asleep) this.#change.abort();
  }
}
