import { expect, test } from "vitest";
import { transition } from "./rollout-machine.ts";
import type {
  Effect,
  GatePlan,
  LockGrant,
  RolloutInput,
  RolloutKind,
  RolloutPolicy,
  RolloutReplica,
  RolloutState,
  SideBySide,
} from "./rollout-state.ts";
import { hasEnded } from "./rollout-state.ts";
import { randomOf } from "./testing/random.ts";
import { blueGreen, canary, failure, oldReplicas, planned, policy, success } from "./testing/rollout-fixtures.ts";
import { plannedEndpoints } from "./traffic-endpoints.ts";

/**
 * A machine room: replicas with health, a mesh that holds the last picture, and a rollout whose server is killed at any
 * moment and carried on from the JSON it had committed.
 */
class Room {
  readonly #random: () => number;
  readonly #newIsGood: boolean;
  /** Epoch of the simulation. */
  now = 0;
  committed: RolloutState;
  running = new Map<string, "unproven" | "ready" | "failing">();
  routed = new Set<string>();
  log: string[] = [];
  readonly #old: LockGrant["existing"];
  readonly #oldHealthy: boolean;
  readonly #floor: number;

  constructor(seed: number) {
    this.#random = randomOf(seed);
    const kinds: RolloutKind[] = ["deploy", "deploy", "restart", "scale", "rollback", "stop", "remove"];
    const kind = kinds[Math.floor(this.#random() * kinds.length)] ?? "deploy";
    this.#old = oldReplicas(Math.floor(this.#random() * 4) + (kind === "deploy" ? 0 : 1));
    this.#newIsGood = this.#random() < 0.6;
    this.#oldHealthy = this.#random() < 0.8;
    for (const { id } of this.#old) {
      this.running.set(id, this.#oldHealthy ? "ready" : "failing");
      this.routed.add(id);
    }
    const gone = kind === "stop" || kind === "remove";
    const wanted = gone ? 0 : 1 + Math.floor(this.#random() * 4);
    const sideBySide = kind === "deploy" ? this.#strategy() : undefined;
    const plan = policy({
      ...(sideBySide ? { sideBySide } : {}),
      ...(kind === "deploy" ? { gates: this.#gates(), hooks: this.#hooks() } : {}),
      wanted,
      surge: 1 + Math.floor(this.#random() * 3),
      release: kind === "deploy" ? "make" : "none",
    });
    this.#floor = this.#oldHealthy ? Math.min(this.#old.length, wanted) : 0;
    const previousRevision = this.#old.length > 0 ? 1 : 0;
    const revision = kind === "deploy" || kind === "rollback" ? 2 : 1;
    const grant = { revision, previousRevision, trafficRevision: previousRevision, policy: plan, existing: this.#old };
    this.committed = planned(kind);
    this.step({ type: "locked", grant });
  }

  #strategy(): SideBySide | undefined {
    const dice = this.#random();
    if (dice < 0.35) return undefined;
    return dice < 0.7 ? canary : blueGreen;
  }

  #gates(): GatePlan {
    return {
      ...(this.#chance(0.4) && { startLimitMs: 60_000 }),
      ...(this.#chance(0.4) && { windowMs: 60_000 }),
    };
  }

  #hooks(): NonNullable<RolloutPolicy["hooks"]> {
    const moments = ["before_deploy", "before_traffic", "after_deploy", "on_failure"] as const;
    const chosen = moments.filter(() => this.#chance(0.3));
    return Object.fromEntries(
      chosen.map((at) => {
        const ignored = at === "on_failure" || this.#chance(0.5);
        return [at, [{ name: at, timeoutMs: 60_000, ignored }]];
      }),
    );
  }

  /** Somebody may ask for something at any moment. */
  ask(): void {
    if (hasEnded(this.committed) || this.committed.kind === "stop" || this.committed.kind === "remove") return;
    const waits = this.committed.doing?.kind === "hold" || this.committed.doing?.kind === "warm";
    if (!this.#chance(waits ? 0.6 : 0.05)) return;
    const all = ["promote", "promote", "promote", "resume", "resume", "pause", "abort"] as const;
    const what = all[Math.floor(this.#random() * all.length)] ?? "resume";
    this.step({ type: "asked", ask: { what, full: this.#chance(0.3), by: "user:anna", reason: "" } });
  }

  get #ready(): Set<string> {
    return new Set([...this.running].filter(([, health]) => health === "ready").map(([id]) => id));
  }

  step(input: RolloutInput): void {
    this.now += 50;
    const { state } = transition(this.committed, input, { now: this.now, ready: this.#ready });
    this.#checkGates(input, state);
    // What is committed is JSON: nothing else survives the server.
    this.committed = JSON.parse(JSON.stringify(state)) as RolloutState;
    this.#checkReplicas();
    // The traffic keeper may act on it at once.
    if (this.#random() < 0.5) this.publish();
  }

  /** No replica is two at once, and nothing is called a success with fewer than are wanted. */
  #checkReplicas(): void {
    const { replicas, doing, policy: plan } = this.committed;
    const ids = replicas.map(({ id }) => id);
    if (new Set(ids).size < ids.length) throw new Error(`two replicas have one id: ${ids.join(", ")}`);
    if (doing?.kind !== "prove" || doing.ids.length === plan.wanted) return;
    throw new Error(`${doing.ids.length} replicas are proven where ${plan.wanted} are wanted`);
  }

  /** No new replica gets its first traffic, and no step is taken, but by gates that pass or a person who says so. */
  #checkGates(input: RolloutInput, after: RolloutState): void {
    const { policy: plan, replicas, doing, direct, step = 0, phase, originals } = this.committed;
    const isAllowed =
      (input.type === "done" && input.result.undecided === undefined) ||
      (input.type === "asked" && input.ask.what === "promote") ||
      // It comes after the gates, and its failure may be ignored.
      (input.type === "failed" && doing?.kind === "hook");
    if (direct || phase === "reverting" || after.phase === "reverting" || isAllowed) return;
    const active = (list: RolloutReplica[]) =>
      list.filter(({ role, traffic }) => role === "fresh" && traffic === "active");
    if (plan.gates?.startLimitMs !== undefined && active(after.replicas).length > active(replicas).length) {
      throw new Error(`a replica gets traffic that the gates have not let through, after ${doing?.kind}`);
    }
    if (plan.gates?.windowMs !== undefined && originals > 0 && (after.step ?? 0) > step) {
      throw new Error(`a step was taken that the gates have not let through, after ${doing?.kind}`);
    }
  }

  publish(): void {
    const replicas = this.committed.replicas.map((replica: RolloutReplica) => {
      const health = this.running.get(replica.id);
      return { ...replica, port: health ? 1 : 0, health: { state: health ?? ("down" as const) } };
    });
    const active = plannedEndpoints(replicas).filter(({ state }) => state === "active");
    for (const { id } of active) {
      if (this.running.get(id) === "unproven") throw new Error(`${id} gets traffic without having been ready`);
      if (!this.#newIsGood && id.startsWith("default/a/2/")) throw new Error(`${id} is bad and gets traffic`);
    }
    this.#checkSplit(active.filter(({ id }) => this.running.get(id) === "ready").map(({ id }) => id));
    this.routed = new Set(active.map(({ id }) => id));
    const ready = active.filter(({ id }) => this.running.get(id) === "ready").length;
    if (ready < this.#floor) throw new Error(`${ready} ready endpoints are left of ${this.#floor}`);
  }

  /** A share is only given to what can carry it, and what served before stays whole until the end. */
  #checkSplit(ready: readonly string[]): void {
    const { split, policy: plan } = this.committed;
    if (split === undefined) return;
    const fresh = ready.filter((id) => id.startsWith("default/a/2/")).length;
    const needed = split.share === 0 ? 0 : Math.max(1, Math.ceil((plan.wanted * split.share) / 10_000));
    if (fresh < needed) throw new Error(`${fresh} new replicas carry ${split.share / 100} %, which takes ${needed}`);
    if (ready.length - fresh < this.#old.length) throw new Error("an old replica left before the end");
  }

  /** Does an effect as the outside would; may be killed in the middle (answers undefined) or fail. */
  perform(effect: Effect): RolloutInput | undefined {
    const fails = this.#chance(0.12);
    if (this.#chance(0.15)) return undefined;
    // A hold without an end is ended from outside.
    if (effect.kind === "hold" && effect.until - this.now > 1e6) {
      if (this.committed.holds === "verdict" && this.#chance(0.3)) return success(effect);
      return this.#chance(0.05) ? failed(effect) : undefined;
    }
    const outcome = this.#outcome(effect, fails);
    if (outcome === "killed" || this.#chance(0.15)) return undefined;
    if (outcome === "failed" || fails) return failed(effect);
    const judges = ["gate", "hold", "warm"].includes(effect.kind) && this.committed.policy.gates !== undefined;
    return judges && this.#chance(0.3) ? { type: "done", result: { undecided: "smoke (YELLOW)" } } : success(effect);
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  #outcome(effect: Effect, fails: boolean): "done" | "failed" | "killed" {
    switch (effect.kind) {
      case "start":
        return this.#each(effect, (id) => this.running.has(id) || this.running.set(id, "unproven"));
      case "verify":
        return this.#verify(effect, fails);
      case "shift":
        this.publish();
        return "done";
      case "drain":
        this.publish();
        // The last healthy ones stay, whatever was planned.
        return effect.ids.some((id) => this.routed.has(id)) ? "failed" : "done";
      case "stop":
        return this.#each(effect, (id) => this.#stop(id, fails));
      case "unregister":
        this.routed.clear();
        return "done";
      default:
        return "done";
    }
  }

  #each({ ids }: Effect, work: (id: string) => unknown): "done" | "killed" {
    for (const id of ids) {
      work(id);
      if (this.#chance(0.15)) return "killed";
    }
    return "done";
  }

  #verify({ ids }: Effect, fails: boolean): "done" | "failed" {
    if (!ids.every((id) => this.#newIsGood || id.startsWith("default/a/1/"))) return "failed";
    if (!fails) for (const id of ids) this.running.set(id, "ready");
    return "done";
  }

  #stop(id: string, fails: boolean): void {
    if (this.routed.has(id)) throw new Error(`${id} is stopped while it gets traffic`);
    if (!fails) this.running.delete(id);
  }

  run(): RolloutState {
    for (let turns = 0; !hasEnded(this.committed); turns += 1) {
      if (turns > 500) throw new Error("it never ends");
      const effect = this.committed.doing;
      if (!effect) throw new Error(`nothing is done in ${this.committed.phase}`);
      if (!(effect.until > this.now)) throw new Error(`${effect.kind} has no deadline ahead`);
      this.log.push(effect.kind);
      const outcome = this.perform(effect);
      this.step(outcome ?? { type: "resumed", awayMs: 1000, why: "killed" });
      this.ask();
    }
    this.publish();
    return this.committed;
  }

  /** What has to hold once it is over. */
  check(): void {
    const { phase, kind, replicas, policy: plan } = this.committed;
    const wanted = replicas.filter((replica) => replica.phase === "running");
    for (const { id } of wanted) if (!this.running.has(id)) throw new Error(`${id} is wanted and does not run`);
    const kept = new Set(replicas.map(({ id }) => id));
    for (const id of this.running.keys()) if (!kept.has(id)) throw new Error(`${id} runs and nobody knows of it`);
    if (phase === "succeeded" && wanted.length !== plan.wanted) throw new Error(`${wanted.length} of ${plan.wanted}`);
    if (phase === "rolled_back" && kind !== "remove" && wanted.length !== this.#old.length) {
      throw new Error(`${wanted.length} replicas came back of ${this.#old.length}`);
    }
    if (phase === "succeeded" && !this.#newIsGood && (kind === "deploy" || kind === "rollback")) {
      throw new Error("a bad revision succeeded");
    }
  }
}

const failed = (effect: Effect): RolloutInput => ({ type: "failed", failure: failure(effect) });

test("in thousands of random rollouts with failures and crashes at any moment, no invariant breaks", () => {
  const ends = new Map<string, number>();
  for (let seed = 1; seed <= 3000; seed += 1) {
    const room = new Room(seed);
    try {
      const { phase } = room.run();
      room.check();
      ends.set(phase, (ends.get(phase) ?? 0) + 1);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message} after ${room.log.join(" ")}`, { cause: error });
    }
  }
  for (const phase of ["succeeded", "rolled_back", "failed"]) expect(ends.get(phase)).toBeGreaterThan(20);
}, 120_000);
