import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { mesh } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import type { ScalingDecision } from "@hms/scaling";
import type { Logger } from "@hms/telemetry";
import type { HealthKeeper } from "../health/health-keeper.ts";
import type { ObservedReplicas } from "../observed-replicas.ts";
import { keyText, type ServiceBook } from "../service-book.ts";
import type { ServiceKey, ServiceRecord } from "../service-record.ts";
import { loadReading } from "./load-reading.ts";
import { replicaLoad } from "./replica-load.ts";
import { ScaledService } from "./scaled-service.ts";
import type { ScalingMemory } from "./scaling-memory.ts";
import { type ScalingRule, scalingRule } from "./scaling-rule.ts";

const EVERY_MS = 2_000;
const CALL_MS = 5_000;
const NOTE_USE_MS = 60_000;
/** Data planes say something each 5 s. */
const HEARD_MS = 10_000;

/** A change of a service's replicas that its load asks for. */
export interface LoadChange {
  from: number;
  to: number;
  reason: string;
}

/** What an auto-scaler stands on. */
export interface AutoScalerParts {
  book: ServiceBook;
  observed: ObservedReplicas;
  health: HealthKeeper;
  mesh: Client<typeof mesh.MeshService>;
  memory: ScalingMemory;
  log: Logger;
  /** Begins a rollout of that change if the service still has `from` replicas and nothing else runs; its id. */
  begin: (key: ServiceKey, change: LoadChange) => Promise<string>;
  /** How a rollout ended; undefined: it runs still. */
  outcome: (rolloutId: string) => Promise<"succeeded" | "failed" | undefined>;
}

/** The rule of a service that is meant to run by its load, whatever a person has set. */
export function ruleOf(record: ServiceRecord): ScalingRule | undefined {
  const manifest = record.revisions.get(record.currentRevision)?.manifest;
  return manifest && scalingRule(manifest.scaling);
}

const runs = ({ wanted, asleep }: ServiceRecord) => wanted > 0 || asleep;

/**
 * Looks at the load of every service that is to follow it, each 2 s, and begins a rollout where another number of replicas
 * is needed. Several servers may do so at once: the journal takes one change at a time, and only from the number it was
 * meant for. A service is left alone while another rollout of it runs, while a person has set its number, and after a
 * change that failed for a while.
 */
export class AutoScaler {
  readonly #parts: AutoScalerParts;
  readonly #services = new Map<string, ScaledService>();
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;

  constructor(parts: AutoScalerParts) {
    this.#parts = parts;
  }

  /** Begins to look; everything that runs must be known by now. */
  open(): void {
    this.#isOpen = true;
    this.#lookIn(0);
  }

  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
  }

  /** What is known of a service's load; undefined if nothing is, as it is not followed, or not yet. */
  known(key: ServiceKey): ScaledService | undefined {
    return this.#services.get(keyText(key));
  }

  /** Starts the first replicas of a service that sleeps; false if that cannot begin now. */
  async wake(record: ServiceRecord): Promise<boolean> {
    const rule = ruleOf(record);
    if (rule === undefined || !record.asleep || record.running || record.scaledTo !== undefined) return false;
    const scaled = await this.#scaledOf(record, rule);
    await this.#settle(scaled);
    if (!scaled.pause.isOver(Date.now())) return false;
    const to = Math.max(1, rule.min);
    return this.#begin(record, scaled, { from: 0, to, reason: "a request waits for a replica" });
  }

  #lookIn(inMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isOpen) this.#timer = setTimeout(() => void this.#look(), inMs).unref();
  }

  async #look(): Promise<void> {
    const began = performance.now();
    try {
      await this.#lookAtAll();
    } catch (error) {
      if (this.#isOpen) this.#parts.log.warn("services could not be scaled by their load; trying again", { error });
    }
    this.#lookIn(Math.max(0, EVERY_MS - (performance.now() - began)));
  }

  async #lookAtAll(): Promise<void> {
    const { book, mesh } = this.#parts;
    const followed = [...book.all()].flatMap((record) => {
      const rule = runs(record) ? ruleOf(record) : undefined;
      return rule ? [{ record, rule }] : [];
    });
    const names = new Set(followed.map(({ record }) => keyText(record)));
    for (const name of this.#services.keys()) if (!names.has(name)) this.#services.delete(name);
    for (const environment of new Set(followed.map(({ record }) => record.environment))) {
      const traffic = await mesh.getTraffic({ environment, service: "" }, { timeoutMs: CALL_MS });
      for (const { record, rule } of followed) {
        if (record.environment === environment) await this.#follow(record, rule, traffic);
      }
    }
  }

  async #follow(record: ServiceRecord, rule: ScalingRule, traffic: mesh.GetTrafficResponse): Promise<void> {
    const scaled = await this.#scaledOf(record, rule);
    const reading = loadReading(traffic, record.service);
    const decision = scaled.look(reading, replicaLoad(record, this.#parts, Date.now()), record.wanted);
    await this.#noteUse(record, scaled);
    await this.#settle(scaled);
    if (decision && (await this.#mayAct(record, scaled, decision))) await this.#begin(record, scaled, decision);
  }

  async #mayAct(record: ServiceRecord, { pause }: ScaledService, { to }: ScalingDecision): Promise<boolean> {
    if (to === record.wanted || record.running || record.scaledTo !== undefined || !this.#isOpen) return false;
    if (!pause.isOver(Date.now())) return false;
    // A load that nobody tells of is not a load of nothing.
    return to > record.wanted || this.#areAllHeard();
  }

  async #areAllHeard(): Promise<boolean> {
    const { nodes } = await this.#parts.mesh.getSnapshot({}, { timeoutMs: CALL_MS });
    const since = Date.now() - HEARD_MS;
    return nodes.length > 0 && nodes.every(({ lastReportAt }) => lastReportAt && timestampMs(lastReportAt) >= since);
  }

  async #begin(record: ServiceRecord, scaled: ScaledService, change: LoadChange): Promise<boolean> {
    const { memory, log } = this.#parts;
    const { from, to, reason } = change;
    const { environment, service } = record;
    try {
      const rolloutId = await this.#parts.begin({ environment, service }, change);
      scaled.begun = rolloutId;
      const note = { at: Date.now(), from, to, reason, rolloutId };
      scaled.decisions = [note, ...scaled.decisions].slice(0, 20);
      log.info("a service follows its load", { environment, service, from, to, reason });
      await memory.noteDecision(record, note);
      return true;
    } catch (error) {
      // Somebody else was first, or the database is away: the next look knows more.
      log.debug("a service could not follow its load", { environment, service, error: HmsError.from(error) });
      return false;
    }
  }

  /** Learns how the change that was begun last has ended. */
  async #settle(scaled: ScaledService): Promise<void> {
    if (scaled.begun === undefined) return;
    const outcome = await this.#parts.outcome(scaled.begun);
    if (outcome === undefined) return;
    scaled.begun = undefined;
    if (outcome === "succeeded") scaled.pause.succeeded();
    else scaled.pause.failed(Date.now());
  }

  async #noteUse(record: ServiceRecord, scaled: ScaledService): Promise<void> {
    const { use } = scaled;
    if (use === undefined || Date.now() - scaled.useNotedAt < NOTE_USE_MS) return;
    scaled.useNotedAt = Date.now();
    await this.#parts.memory.noteUse(record, use);
  }

  async #scaledOf(record: ServiceRecord, rule: ScalingRule): Promise<ScaledService> {
    const known = this.#services.get(keyText(record));
    if (known) {
      known.follow(rule);
      return known;
    }
    const remembered = await this.#parts.memory.read(record);
    const made = this.#services.get(keyText(record)) ?? new ScaledService(rule, remembered);
    this.#services.set(keyText(record), made);
    return made;
  }
}
