import type { KnownCaller } from "./caller.ts";
import type { ErrorReply } from "./error-reply.ts";
import type { LimitCounter, SharedPlace } from "./limit-book.ts";
import type { Visit } from "./route-gate.ts";
import type { CallerRun, RunningCallers } from "./running-callers.ts";

/** Most requests take no places. */
const NONE: never[] = [];

/** What a request was let in with, or why it was not; holds its places in limits of concurrency until it is released. */
export class Admission {
  refusal: ErrorReply | null = null;
  caller: KnownCaller | null = null;
  /** Who is known to call, also if refused; "": nobody. */
  principal = "";
  /** With what the caller was looked up; null: nobody was. */
  visit: Visit | null = null;
  /** What was known then of callers that may do less; see `RunningCallers.changes`. */
  since = 0;
  /** What runs for the caller since. */
  #run: CallerRun | null = null;
  #running: RunningCallers | null = null;
  /** Whether its credentials were meant for the gateway, and go no further. */
  hidesCredentials = false;
  /** Members of the RateLimit field. */
  rates = "";
  #places: { counter: LimitCounter; key: string }[] = NONE;
  #shared: SharedPlace[] = NONE;

  /** Takes a place, if one is free. */
  take(counter: LimitCounter, key: string): boolean {
    if (!counter.begin(key)) return false;
    if (this.#places === NONE) this.#places = [];
    this.#places.push({ counter, key });
    return true;
  }

  /** Keeps a place that is counted elsewhere too. */
  keep(place: SharedPlace): void {
    if (this.#shared === NONE) this.#shared = [];
    this.#shared.push(place);
  }

  /** What was let in runs from now on, until it is released. */
  begin(run: CallerRun, running: RunningCallers): void {
    this.#run = run;
    this.#running = running;
    running.begin(run, this.since);
  }

  /** The answer has begun. */
  noteAnswer(): void {
    this.#run?.noteAnswer();
  }

  /** Refuses; places are free again. */
  refuse(refusal: ErrorReply): this {
    this.refusal = refusal;
    this.release();
    return this;
  }

  /** The request has ended. */
  release(): void {
    if (this.#run !== null) this.#running?.end(this.#run);
    if (this.#places === NONE) return;
    for (const { counter, key } of this.#places) counter.end(key);
    this.#places = NONE;
    for (const place of this.#shared) place.end();
    this.#shared = NONE;
  }
}
