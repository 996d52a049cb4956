import { setTimeout as delay } from "node:timers/promises";
import type { Admission } from "./admission.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { ProxyRequest } from "./client-messages.ts";
import type { RouteGate, Visit } from "./route-gate.ts";
import { Tunnel } from "./tunnel.ts";

/** What is under way may end by itself for so long once its caller may not be served any more. */
const GRACE_MS = 300;
/** Who was named as one that may do less, and of whom nobody says what holds now, is not served for longer than this. */
const PATIENCE_MS = 500;
const ASKED_AT_ONCE = 64;
const AGAIN_MS = 1000;

/** A request or tunnel of a known caller, and by what it was let in. */
export interface CallerRunInput {
  readonly admission: Admission;
  readonly gate: RouteGate;
  readonly visit: Visit;
  readonly client: ClientConnection;
  readonly request: ProxyRequest;
}

/** A request or tunnel that runs for a known caller. */
export class CallerRun {
  readonly #input: CallerRunInput;
  /** In `performance.now()` time, like those below; infinite: not yet. */
  #answeredAt = Number.POSITIVE_INFINITY;
  /** Since when its caller may not be served any more. */
  overAt = Number.POSITIVE_INFINITY;
  /** Since when it has to be found out whether its caller still may. */
  doubtedAt = Number.POSITIVE_INFINITY;
  /** Counts how often that was asked: only the last answer counts. */
  questions = 0;

  constructor(input: CallerRunInput) {
    this.#input = input;
  }

  get name(): string {
    return this.#input.admission.caller?.caller.name ?? "";
  }

  /** When what its caller has shown ends, in milliseconds since 1970. */
  get endsAtMs(): number {
    const { admission, visit } = this.#input;
    const { certificate } = visit;
    const shownUntil = certificate?.kind === "accepted" ? certificate.endsAtMs : Number.POSITIVE_INFINITY;
    const isByCertificate = visit.authorization === "";
    return Math.min(
      admission.caller?.endsAtMs ?? Number.POSITIVE_INFINITY,
      isByCertificate ? shownUntil : Number.POSITIVE_INFINITY,
    );
  }

  noteAnswer(): void {
    this.#answeredAt = performance.now();
  }

  /** Whether the caller would be let in now; undefined: nobody can say. */
  async isStillLetIn(): Promise<boolean | undefined> {
    const { gate, visit, admission } = this.#input;
    const found = await gate.letsInStill(visit);
    if (found === undefined || found === false) return found;
    admission.caller = found;
    return this.endsAtMs > Date.now();
  }

  /**
   * Cuts it if its time is over: a tunnel at once, an answer or a request's body that still runs after the grace. An
   * answer that has not begun has the grace when it does.
   */
  cutIfDue(now: number): void {
    const { client, request } = this.#input;
    const runs = request.complete ? now - this.#answeredAt : Number.POSITIVE_INFINITY;
    const isDue = Math.min(now - this.overAt, runs) >= GRACE_MS;
    if (isDue || client.user instanceof Tunnel) client.socket.destroy();
  }
}

/**
 * What runs for known callers. When somebody may do less than before, those concerned are asked for again, and what they may
 * not have any more is cut within a second; what others have runs on, whatever happens.
 */
export class RunningCallers {
  readonly #runs = new Set<CallerRun>();
  readonly #over = new Set<CallerRun>();
  /** Whom to ask for when there is time: nobody has named them. */
  #queue = new Set<CallerRun>();
  #isAsking = false;
  /** Counts what was heard: who was looked up before may not be what was said. */
  changes = 0;

  /** How many run. */
  get size(): number {
    return this.#runs.size;
  }

  /** Notes one whose caller was looked up when `changes` was `since`. */
  begin(run: CallerRun, since: number): void {
    this.#runs.add(run);
    if (since !== this.changes) this.#doubt(run);
  }

  end(run: CallerRun): void {
    this.#runs.delete(run);
    this.#over.delete(run);
    this.#queue.delete(run);
  }

  /** These callers may do less than before ("user:anna"), or are gone; undefined: anybody may. */
  changed(names?: readonly string[]): void {
    this.changes++;
    if (names === undefined) {
      this.#queue = new Set(this.#runs);
      void this.#askAll();
      return;
    }
    const named = new Set(names);
    for (const run of this.#runs) if (named.has(run.name)) this.#doubt(run);
  }

  /** Asks for those whose session ends, and cuts what is over; to be called several times in a second. */
  sweep(now: number): void {
    const clock = Date.now();
    for (const run of this.#runs) {
      if (run.doubtedAt === Number.POSITIVE_INFINITY && run.endsAtMs <= clock) this.#doubt(run);
      if (now - run.doubtedAt >= PATIENCE_MS) this.#end(run);
    }
    for (const run of this.#over) run.cutIfDue(now);
  }

  #doubt(run: CallerRun): void {
    if (run.doubtedAt === Number.POSITIVE_INFINITY) run.doubtedAt = performance.now();
    void this.#ask(run);
  }

  #end(run: CallerRun): void {
    if (this.#over.has(run)) return;
    run.overAt = performance.now();
    this.#over.add(run);
    run.cutIfDue(run.overAt);
  }

  /** True if it is decided, or somebody else decides it. */
  async #ask(run: CallerRun): Promise<boolean> {
    run.questions++;
    const question = run.questions;
    const isLetIn = await run.isStillLetIn().catch(() => undefined);
    if (question !== run.questions || !this.#runs.has(run) || this.#over.has(run)) return true;
    if (isLetIn === undefined) return false;
    if (isLetIn) run.doubtedAt = Number.POSITIVE_INFINITY;
    else this.#end(run);
    return true;
  }

  /** Some at a time, so that requests that come meanwhile are not kept waiting; until everybody is known. */
  async #askAll(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#queue.size > 0) {
      const some = [...this.#queue].slice(0, ASKED_AT_ONCE);
      for (const run of some) this.#queue.delete(run);
      const decided = await Promise.all(some.map((run) => this.#ask(run)));
      const left = some.filter((run, index) => decided[index] === false && this.#runs.has(run));
      for (const run of left) this.#queue.add(run);
      if (left.length > 0) await delay(AGAIN_MS, undefined, { ref: false });
    }
    this.#isAsking = false;
  }
}
