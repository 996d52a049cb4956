import { setTimeout as delay } from "node:timers/promises";
import type { JsonObject } from "@bufbuild/protobuf";
import { type ChangeSignal, HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import type { EffectParts } from "./effects/effect-scene.ts";
import { performEffect } from "./effects/perform-effect.ts";
import { stopping } from "./errors.ts";
import { EventBuffer } from "./event-buffer.ts";
import type { EventFeed } from "./event-feed.ts";
import type { Freezes } from "./freezes.ts";
import { beginning } from "./rollout-grant.ts";
import { type DriverJournal, type JournalPosition, LEASE_MS } from "./rollout-journal.ts";
import { transition } from "./rollout-machine.ts";
import { endedEvent, rolloutEvent } from "./rollout-report.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import { type Effect, type Failure, hasEnded, type RolloutAsk, type RolloutInput } from "./rollout-state.ts";
import type { ServiceKey } from "./service-record.ts";

/** What a driver stands on. */
export interface DriverParts {
  journal: DriverJournal;
  feed: EventFeed;
  effects: EffectParts;
  freezes: Pick<Freezes, "heldUp">;
  log: Logger;
  /** Resolves once everything that runs is known. */
  ready: Promise<void>;
  /** Notified when somebody here has asked something of a rollout. */
  asked: ChangeSignal;
  /** Takes note of a service after a transition, before what that leads to is done. */
  onTurn: (key: ServiceKey, position: JournalPosition) => Promise<void>;
  /** Called with what this server is about to do; tests end the server there. */
  checkpoint?: (moment: string) => void;
}

const AGAIN_MS = 250;
const STUMBLE_MS = 2000;
const TAKEN_OVER = "ROLLOUT_TAKEN_OVER";
/** Another server may have taken a request; its news are looked for. */
const ASKED_LOOK_MS = 1000;

/** Carries one rollout on, from wherever its journal says it is, to its end. */
export class RolloutDriver {
  readonly #parts: DriverParts;
  readonly #row: RolloutRow;
  readonly #end = new AbortController();
  readonly #buffer: EventBuffer;
  #fence = 0;
  #position: Pick<JournalPosition, "turn" | "events">;

  constructor(parts: DriverParts, row: RolloutRow) {
    this.#parts = parts;
    this.#row = row;
    this.#position = { turn: Number(row.turn), events: Number(row.events) };
    this.#buffer = new EventBuffer((events) => this.#appendSaid(events), leftOut);
  }

  get #rolloutId(): string {
    return this.#row.rollout_id;
  }

  /** Leaves the rollout where it is; the next server carries it on. */
  close(): void {
    this.#end.abort(stopping());
  }

  /** Resolves when the rollout has ended, or is not ours any more. */
  async run(): Promise<void> {
    const heart = setInterval(() => void this.#beat(), LEASE_MS / 4).unref();
    try {
      await this.#parts.ready;
      while (!(await this.#runOnce())) await delay(STUMBLE_MS, undefined, { signal: this.#end.signal });
    } catch {
      // Ended from outside: the journal says where the next one begins.
    } finally {
      clearInterval(heart);
      this.#end.abort(stopping());
    }
  }

  /** False if something failed that should not: the rollout is then taken up again from its journal. */
  async #runOnce(): Promise<boolean> {
    try {
      const state = await this.#takeTurn();
      if (state) await this.#drive(state);
      return true;
    } catch (error) {
      this.#end.signal.throwIfAborted();
      this.#parts.log.error("a rollout stumbled and is taken up again", { rolloutId: this.#rolloutId, error });
      const { turn, events } = await this.#insist(() => this.#parts.journal.read(this.#rolloutId));
      this.#position = { turn: Number(turn), events: Number(events) };
      return false;
    }
  }

  async #drive(first: JournalPosition["state"]): Promise<void> {
    let state = first;
    while (!hasEnded(state) && state.doing) state = await this.#perform(state, state.doing);
  }

  /** Does the effect that is under way, takes what is asked meanwhile, and answers with what all that leads to. */
  async #perform(state: JournalPosition["state"], effect: Effect): Promise<JournalPosition["state"]> {
    const { effects, checkpoint } = this.#parts;
    const { stepId } = effect;
    checkpoint?.(`before ${effect.kind}`);
    const stop = new AbortController();
    const performing = performEffect({
      parts: effects,
      state,
      effect,
      signal: AbortSignal.any([this.#end.signal, stop.signal]),
      say: (message) => this.#buffer.add(rolloutEvent(this.#rolloutId, { stepProgress: { stepId, message } })),
      output: (text) => this.#buffer.add(rolloutEvent(this.#rolloutId, { stepOutput: { stepId, text } })),
    });
    performing.catch(() => {});
    let taken = state.asksTaken ?? 0;
    for (;;) {
      const over = await this.#untilAsked(performing, taken);
      if ("ask" in over && interrupts(over.ask, effect)) {
        stop.abort(new HmsError("CANCELLED", "Somebody asked for something else."));
        await performing.catch(() => {});
      }
      await this.#buffer.flush();
      if ("input" in over) {
        checkpoint?.(`after ${effect.kind}`);
        return this.#advance(() => over.input);
      }
      const next = await this.#advance(() => ({ type: "asked", ask: over.ask }));
      taken = next.asksTaken ?? 0;
      if (stop.signal.aborted || next.doing?.stepId !== stepId) return next;
    }
  }

  /** What comes first: the end of an effect, or something that somebody asks. */
  async #untilAsked(
    performing: Promise<RolloutInput>,
    taken: number,
  ): Promise<{ input: RolloutInput } | { ask: RolloutAsk }> {
    const done = new AbortController();
    const signal = AbortSignal.any([this.#end.signal, done.signal]);
    try {
      return await Promise.race([
        performing.then((input) => ({ input })),
        this.#nextAsk(taken, signal).then((ask) => ({ ask })),
      ]);
    } finally {
      done.abort();
    }
  }

  async #nextAsk(taken: number, signal: AbortSignal): Promise<RolloutAsk> {
    for (;;) {
      const news = this.#parts.asked.next(signal, ASKED_LOOK_MS);
      news.catch(() => {});
      // A database that is away has nothing to say; what is under way goes on.
      const [next] = (await this.#parts.journal.asks(this.#rolloutId).catch(() => [])).slice(taken);
      if (next) return next;
      await news;
    }
  }

  /** Waits until no older rollout of the service is left, then takes up what the journal says; nothing if it has ended. */
  async #takeTurn(): Promise<JournalPosition["state"] | undefined> {
    let told = "";
    for (;;) {
      const change = this.#parts.feed.changes.next(this.#end.signal, 1000);
      change.catch(() => {});
      const claim = await this.#insist(() => this.#parts.journal.claim(this.#rolloutId));
      if (claim.granted) {
        this.#fence = claim.fence;
        return this.#begin(claim.awayMs);
      }
      if (claim.ended) return undefined;
      const holder = claim.waitsFor;
      if (holder && holder.rollout_id !== told) {
        told = holder.rollout_id;
        await this.#append([rolloutEvent(this.#rolloutId, waitingFor(holder))]);
      }
      if (holder) await change;
      else await delay(claim.retryMs, undefined, { signal: this.#end.signal });
    }
  }

  async #begin(awayMs: number): Promise<JournalPosition["state"]> {
    const heldUp = await this.#heldUp();
    return this.#advance((state, record) => {
      if (state.phase === "planned") return beginning(state, { record, request: this.#row.request, heldUp });
      const again = { release: ", which runs the release command again", hook: ", which runs the hook again" };
      const what = again[state.doing?.kind as keyof typeof again] ?? "";
      return { type: "resumed", awayMs, why: `Carried on by a restarted server${what}` };
    });
  }

  /** What holds it up by now, if it has only waited so far. */
  async #heldUp(): Promise<Failure | undefined> {
    const { environment, service, revision, request } = this.#row;
    if (!request.freezable || this.#position.turn > 0) return undefined;
    return this.#insist(() => this.#parts.freezes.heldUp({ environment, service }, revision));
  }

  /** Makes the next transition, in one transaction with all it means; waits while the database is away. */
  async #advance(
    inputFor: (state: JournalPosition["state"], record: NonNullable<JournalPosition["record"]>) => RolloutInput,
  ): Promise<JournalPosition["state"]> {
    const { journal, effects, feed, onTurn, checkpoint } = this.#parts;
    const at = { rolloutId: this.#rolloutId, fence: this.#fence, turn: this.#position.turn };
    const position = await this.#insist(() =>
      journal.turn(at, ({ state, record }) => {
        const input = inputFor(state, record);
        const view = { now: Date.now(), ready: effects.health.readyIds() };
        const next = transition(state, input, view);
        const events = next.events.map((event) => rolloutEvent(at.rolloutId, event));
        if (hasEnded(next.state)) events.push(rolloutEvent(at.rolloutId, endedEvent(next.state, record)));
        return { state: next.state, events };
      }),
    );
    this.#position = position;
    await onTurn({ environment: this.#row.environment, service: this.#row.service }, position);
    feed.changes.notify();
    checkpoint?.(`committed ${position.state.phase} ${position.state.doing?.kind ?? ""}`.trim());
    return position.state;
  }

  async #append(events: JsonObject[]): Promise<void> {
    const { journal, feed } = this.#parts;
    const at = { environment: this.#row.environment, rolloutId: this.#rolloutId, from: this.#position.events };
    const all = await this.#insist(() => journal.append(at, events));
    this.#position = { ...this.#position, events: all };
    feed.changes.notify();
  }

  /** What a step says is not worth its rollout: what the journal refuses for good is left out. */
  async #appendSaid(events: JsonObject[]): Promise<void> {
    try {
      await this.#append(events);
    } catch (cause) {
      const error = HmsError.from(cause);
      const isNotOurs = error.code === "CANCELLED" || error.details.reason === TAKEN_OVER;
      if (this.#end.signal.aborted || isNotOurs) throw error;
      this.#parts.log.error("what a step of a rollout has said cannot be written down and is left out", {
        ...{ rolloutId: this.#rolloutId, events: events.length, error },
      });
    }
  }

  /** The journal comes first: while it cannot be written the rollout waits, and traffic stays as it is. */
  async #insist<T>(work: () => Promise<T>): Promise<T> {
    let isTold = false;
    for (;;) {
      try {
        this.#end.signal.throwIfAborted();
        return await work();
      } catch (cause) {
        this.#end.signal.throwIfAborted();
        const error = HmsError.from(cause);
        if (!isTemporary(error)) throw error;
        if (!isTold) this.#parts.log.warn("a rollout waits for its journal", { rolloutId: this.#rolloutId, error });
        isTold = true;
      }
      await delay(AGAIN_MS, undefined, { signal: this.#end.signal });
    }
  }

  async #beat(): Promise<void> {
    if (this.#fence === 0) return;
    try {
      await this.#parts.journal.beat(this.#rolloutId, this.#fence);
    } catch (error) {
      // Silence is no proof of loss; a later holder's fence is.
      if (HmsError.from(error).details.reason === TAKEN_OVER) this.#end.abort(error);
    }
  }
}

/** Whether what is asked ends what is under way; everything else waits for that. */
function interrupts({ what }: RolloutAsk, { kind }: Effect): boolean {
  return what === "abort" || (what !== "pause" && (kind === "hold" || kind === "warm"));
}

function isTemporary({ code, details }: HmsError): boolean {
  if (details.reason === TAKEN_OVER) return false;
  return code === "UNAVAILABLE" || code === "RESOURCE_EXHAUSTED" || code === "ABORTED" || code === "DEADLINE_EXCEEDED";
}

/** Takes the place of what a step says beyond what is kept of it. */
function leftOut({ rolloutId, stepOutput, stepProgress }: JsonObject): JsonObject {
  const { stepId = "" } = (stepOutput ?? stepProgress ?? {}) as { stepId?: string };
  const message = "It says more than is kept: the rest is left out here.";
  return rolloutEvent(String(rolloutId), { stepProgress: { stepId, message } });
}

function waitingFor(holder: RolloutRow): JsonObject {
  return {
    waiting: {
      holderRolloutId: holder.rollout_id,
      holderKind: `ROLLOUT_KIND_${holder.kind.toUpperCase()}`,
      holderSince: holder.started_at.toISOString(),
    },
  };
}
