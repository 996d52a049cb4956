import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { EffectFailedError, type EffectScene, targetRevision } from "../effects/effect-scene.ts";
import { replicaFailure } from "../effects/replica-failure.ts";
import { WHOLE } from "../rollout-begin.ts";
import type { EffectResult } from "../rollout-state.ts";
import { askReplica } from "./ask-replica.ts";
import { askWebhook } from "./ask-webhook.ts";
import type { Gate, MetricQuestion, ReplicaQuestion } from "./gate.ts";
import type { Look } from "./look.ts";
import { judgeMetric } from "./metric-verdict.ts";
import { countsBetween, readingOf, type TrafficReading } from "./traffic-reading.ts";

/** Whether gates are asked until they have passed once, or again and again. */
type Persistence = "until they pass" | "all the time";

const MESH_MS = 5000;
const shortId = (id: string) => id.split("/").slice(2).join("/");

/** Asks gates about the replicas of an effect, and keeps what they say. */
export class GateWatch implements AsyncDisposable {
  readonly #scene: EffectScene;
  readonly #gates: readonly Gate[];
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  readonly #looks = new Map<Gate, Look>();
  readonly #failures = new Map<Gate, number>();
  readonly #running: Promise<unknown>;
  readonly #begun: Promise<TrafficReading | undefined>;
  #failed: { gate: Gate; look: Look; replicaId: string } | undefined;
  /** Why a gate is not asked any more although it should be. */
  #broken: { error: unknown } | undefined;

  constructor(scene: EffectScene, gates: readonly Gate[], persistence: Persistence) {
    this.#scene = scene;
    this.#gates = gates;
    this.#signal = AbortSignal.any([scene.signal, this.#end.signal]);
    this.#begun = gates.some(({ asks }) => asks.kind === "metric") ? this.#read() : Promise.resolve(undefined);
    // Nobody may have asked for it yet when the watch ends.
    this.#begun.catch(() => {});
    this.#running = Promise.all(gates.map((gate) => this.#keepFollowing(gate, persistence)));
  }

  /** @throws EffectFailedError once a gate has failed, and what keeps one from being asked any further */
  async refuse(): Promise<void> {
    const { parts } = this.#scene;
    if (this.#broken !== undefined) throw this.#broken.error;
    if (this.#failed === undefined) return;
    const { gate, look, replicaId } = this.#failed;
    const reason = `Gate "${gate.name}" failed: ${look.words.replace(/\.$/, "")}.`;
    const failure = await replicaFailure({ id: replicaId, reason, revision: targetRevision(this.#scene) }, parts);
    throw new EffectFailedError({ ...failure, remedy: "Mend what the gate found, then deploy again." });
  }

  /** True once every gate has passed at its last look. */
  get passes(): boolean {
    return this.#gates.every((gate) => this.#verdict(gate) === "pass");
  }

  /** Resolves once every gate that is asked until it passes has passed, failed, or could not tell. */
  async settled(): Promise<EffectResult> {
    await this.#running;
    this.#scene.signal.throwIfAborted();
    await this.refuse();
    return this.#result();
  }

  /** Looks once more where that may tell more, and says what the gates make of it. @throws EffectFailedError if one fails */
  async conclude(): Promise<EffectResult> {
    const open = this.#gates.filter((gate) => gate.asks.kind === "metric" || !this.#looks.has(gate));
    await Promise.all(open.map((gate) => this.#lookAgain(gate)));
    await this.refuse();
    return this.#result();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new HmsError("CANCELLED", "Nobody waits for the gates any more."));
    await this.#running;
  }

  #result(): EffectResult {
    const open = this.#gates.filter((gate) => this.#verdict(gate) !== "pass");
    if (open.length === 0) return {};
    const words = open.map((gate) => `${gate.name} (${this.#looks.get(gate)?.words ?? "not answered yet"})`);
    return { undecided: words.join(", ") };
  }

  #verdict(gate: Gate): Look["verdict"] {
    const { verdict = "inconclusive" } = this.#looks.get(gate) ?? {};
    return verdict === "inconclusive" && gate.inconclusive === "pass" ? "pass" : verdict;
  }

  /** A gate that is not asked any more must not count as one that goes on to pass. Never rejects. */
  async #keepFollowing(gate: Gate, persistence: Persistence): Promise<void> {
    try {
      await this.#follow(gate, persistence);
    } catch (error) {
      if (!this.#signal.aborted) this.#broken ??= { error };
    }
  }

  async #follow(gate: Gate, persistence: Persistence): Promise<void> {
    // What the mesh counts is not known before there was time to count.
    if (gate.asks.kind === "metric") await delay(gate.everyMs, undefined, { signal: this.#signal });
    for (;;) {
      await this.#lookAgain(gate);
      if (this.#failed) return;
      const { verdict } = this.#looks.get(gate) ?? {};
      if (persistence === "until they pass" && verdict !== "fail") return;
      await delay(gate.everyMs, undefined, { signal: this.#signal });
    }
  }

  async #lookAgain(gate: Gate): Promise<void> {
    const { look, replicaId } = await this.#look(gate);
    const before = this.#looks.get(gate);
    this.#looks.set(gate, look);
    if (before?.verdict !== look.verdict) this.#scene.say(`Gate "${gate.name}" ${SAYS[look.verdict]}: ${look.words}`);
    const isBad = look.verdict === "fail" || (look.verdict === "inconclusive" && gate.inconclusive === "fail");
    if (!isBad || this.#isTooEarly(gate, look)) return;
    const failures = (this.#failures.get(gate) ?? 0) + 1;
    this.#failures.set(gate, failures);
    if (failures > gate.failures) this.#failed ??= { gate, look, replicaId };
  }

  /** A sample that is still growing is no reason to end what could let it grow. */
  #isTooEarly({ asks }: Gate, { verdict }: Look): boolean {
    return asks.kind === "metric" && verdict === "inconclusive" && Date.now() < this.#scene.effect.until;
  }

  async #look(gate: Gate): Promise<{ look: Look; replicaId: string }> {
    const { effect } = this.#scene;
    const { asks } = gate;
    const [first = ""] = effect.ids;
    if (asks.kind === "metric") return { look: await this.#count(asks), replicaId: first };
    if (asks.kind === "webhook") return { look: await this.#askWebhook(gate), replicaId: first };
    const looks = await Promise.all(
      effect.ids.map(async (replicaId) => ({ look: await this.#askReplica(asks, gate, replicaId), replicaId })),
    );
    const worst =
      looks.find(({ look }) => look.verdict === "fail") ?? looks.find(({ look }) => look.verdict !== "pass");
    const { look, replicaId } = worst ?? looks[0] ?? { look: NOBODY, replicaId: "" };
    return { look: looks.length > 1 ? { ...look, words: `${shortId(replicaId)}: ${look.words}` } : look, replicaId };
  }

  async #askReplica(question: ReplicaQuestion, { timeoutMs }: Gate, id: string): Promise<Look> {
    const { parts, state } = this.#scene;
    const port = parts.observed.get(id)?.port ?? 0;
    if (port === 0) return { verdict: "fail", words: "it does not run" };
    const { environment, service } = state;
    const { runtime, methods, vault, traffic } = parts;
    const revision = targetRevision(this.#scene);
    const signal = this.#signal;
    return askReplica(question, {
      ...{ id, port, environment, service, revision, runtime, methods, vault, timeoutMs, signal },
      // A mesh that restarts is nothing that the gate has found.
      access: () => retryWhileUnavailable(() => traffic.access(environment), { deadlineMs: timeoutMs, signal }),
    });
  }

  #askWebhook({ asks, name, timeoutMs }: Gate): Promise<Look> {
    const { environment, service, rolloutId, revision, previousRevision, split } = this.#scene.state;
    if (asks.kind !== "webhook") throw new HmsError("INTERNAL", "This gate is no web-hook.");
    const { version } = targetRevision(this.#scene).manifest;
    const share = (split?.share ?? 0) / 100;
    const tried = { environment, service, rolloutId, revision, previousRevision, version, share, gate: name };
    return askWebhook(asks, tried, { timeoutMs, signal: this.#signal });
  }

  async #count(question: MetricQuestion): Promise<Look> {
    const { state } = this.#scene;
    const before = await this.#begun;
    const after = await this.#read();
    if (before === undefined || after === undefined) {
      return { verdict: "inconclusive", words: "the mesh does not tell what it counted" };
    }
    const tried = countsBetween(before, after, (revision) => revision === state.revision);
    const baseline = countsBetween(before, after, (revision) => revision !== state.revision);
    const scene = { tried, baseline: this.#hasBaseline ? baseline : undefined, elapsedMs: after.atMs - before.atMs };
    return judgeMetric(question, scene);
  }

  /** Whether what served before is meant to get requests too. */
  get #hasBaseline(): boolean {
    const { split, replicas } = this.#scene.state;
    if (split?.share === WHOLE) return false;
    return replicas.some(({ role, traffic }) => role === "retiring" && traffic === "active");
  }

  async #read(): Promise<TrafficReading | undefined> {
    const { parts, state } = this.#scene;
    const { environment, service } = state;
    try {
      const call = { signal: this.#signal, timeoutMs: MESH_MS };
      return readingOf(await parts.mesh.getTraffic({ environment, service }, call), service);
    } catch {
      this.#signal.throwIfAborted();
      return undefined;
    }
  }
}

const SAYS: Record<Look["verdict"], string> = {
  pass: "passes",
  inconclusive: "cannot tell",
  fail: "found something",
};
const NOBODY: Look = { verdict: "inconclusive", words: "there is nobody to ask" };
