import { describe, expect, test } from "vitest";
import { plannedRollout, transition } from "./rollout-machine.ts";
import type {
  Effect,
  EffectResult,
  Failure,
  LockGrant,
  RolloutInput,
  RolloutKind,
  RolloutPolicy,
  RolloutReplica,
  RolloutState,
} from "./rollout-state.ts";
import { hasEnded } from "./rollout-state.ts";
import { plannedEndpoints } from "./traffic-endpoints.ts";

const policy = (change: Partial<RolloutPolicy> = {}): RolloutPolicy => ({
  wanted: 2,
  surge: 1,
  startTimeoutMs: 30_000,
  minHealthyTimeMs: 1000,
  drainTimeoutMs: 30_000,
  stopGraceMs: 10_000,
  deadlineMs: 300_000,
  release: "make",
  runsReleaseCommand: false,
  ...change,
});

const oldReplicas = (count: number): LockGrant["existing"] =>
  Array.from({ length: count }, (_, index) => ({
    id: `default/a/1/${index + 1}-old`,
    revision: 1,
    ordinal: index + 1,
    traffic: "active" as const,
  }));

function planned(kind: RolloutKind): RolloutState {
  const names = { rolloutId: "r-abcdef", environment: "default", service: "a" };
  return plannedRollout({ ...names, kind, revision: 2, previousRevision: 1 });
}

interface Script {
  kind?: RolloutKind;
  old?: number;
  /** Old replicas that are ready; default all. */
  oldReady?: number;
  policy?: Partial<RolloutPolicy>;
  revision?: number;
  /** What happens instead of success, by the n-th effect of a kind: "verify:2". */
  failing?: string[];
}

/** Walks a rollout through, every effect done at once; answers with what was done, in order. */
function walk(script: Script) {
  const { kind = "deploy", old = 2, oldReady = old, failing = [] } = script;
  const existing = oldReplicas(old);
  const ready = new Set(existing.slice(0, oldReady).map(({ id }) => id));
  const revision = script.revision ?? (kind === "deploy" ? 2 : 1);
  const previousRevision = old > 0 ? 1 : 0;
  const grant = {
    revision,
    previousRevision,
    trafficRevision: previousRevision,
    policy: policy(script.policy),
    existing,
  };
  const done: string[] = [];
  const titles: string[] = [];
  const counts = new Map<string, number>();
  let state = planned(kind);
  let input: RolloutInput = { type: "locked", grant };
  for (let now = 0; !hasEnded(state); now += 100) {
    const next = transition(state, input, { now, ready });
    state = next.state;
    for (const event of next.events) {
      const { title, ok } = (event.stepFinished ?? {}) as { title?: string; ok?: boolean };
      if (title !== undefined) titles.push(`${ok ? "✓" : "✗"} ${title}`);
    }
    const effect = state.doing;
    if (!effect) break;
    const count = (counts.get(effect.kind) ?? 0) + 1;
    counts.set(effect.kind, count);
    done.push(`${effect.kind}${effect.ids.length > 0 ? ` ${effect.ids.map(short).join(" ")}` : ""}`);
    input = failing.includes(`${effect.kind}:${count}`)
      ? { type: "failed", failure: failure(effect) }
      : success(effect);
    if (input.type === "done" && effect.kind === "verify") for (const id of effect.ids) ready.add(id);
    if (input.type === "done" && effect.kind === "stop") for (const id of effect.ids) ready.delete(id);
  }
  return { state, done, titles };
}

const short = (id: string) => id.split("/").slice(2).join("/").replace(/-.*/, "");
const failure = ({ kind }: Effect): Failure => ({ reason: `${kind} failed.`, remedy: "" });

function success({ kind }: Effect): RolloutInput {
  const result: EffectResult = { nodes: 1 };
  if (kind === "prepare") result.release = { digest: `sha256:${"ab".repeat(32)}`, fileCount: 12, reused: false };
  return { type: "done", result };
}

describe("a deploy", () => {
  test("of the first revision starts all replicas, registers them, and says what happened", () => {
    const { state, done, titles } = walk({ old: 0 });
    expect(done).toEqual([
      "prepare",
      "start 2/1 2/2",
      "verify 2/1 2/2",
      "shift 2/1 2/2",
      "bake 2/1 2/2",
      "prove 2/1 2/2",
    ]);
    expect(titles).toEqual([
      "✓ Release prepared (12 files, sha256:abababab…)",
      "✓ Replicas 1 and 2 of 2 started",
      "✓ Replicas 1 and 2 of 2 healthy",
      "✓ Registered in service mesh",
      "✓ Replicas 1 and 2 of 2 healthy under traffic",
      "✓ Revision 2 serves (2/2 replicas, sha256:abababab…)",
    ]);
    expect(state).toMatchObject({ phase: "succeeded", trafficRevision: 2 });
  });

  test("replaces one by one: new in, confirmed, then as many old ones out", () => {
    const { done } = walk({});
    const turn = (n: number, old: number) => [
      `start 2/${n}`,
      `verify 2/${n}`,
      `shift 2/${n}`,
      `bake 2/${n}`,
      `drain 1/${old}`,
      `stop 1/${old}`,
    ];
    expect(done).toEqual(["prepare", ...turn(1, 2), ...turn(2, 1), "prove 2/1 2/2"]);
  });

  test("lets the new revision's routes apply once no old replica gets requests", () => {
    const seen: string[] = [];
    let state = planned("deploy");
    const existing = oldReplicas(1);
    const grant = { revision: 2, previousRevision: 1, trafficRevision: 1, policy: policy({ wanted: 1 }), existing };
    let input: RolloutInput = { type: "locked", grant };
    while (!hasEnded(state)) {
      state = transition(state, input, { now: 0, ready: new Set(["default/a/1/1-old"]) }).state;
      if (state.doing) {
        seen.push(`${state.doing.kind} ${state.trafficRevision}`);
        input = success(state.doing);
      }
    }
    expect(seen.filter((entry) => /shift|drain/.test(entry))).toEqual(["shift 1", "drain 2"]);
  });

  test("runs the release command once, before anything starts", () => {
    const { done } = walk({ policy: { runsReleaseCommand: true } });
    expect(done.slice(0, 3)).toEqual(["prepare", "release", "start 2/1"]);
    expect(done.filter((entry) => entry === "release")).toHaveLength(1);
  });

  test("whose release command fails has touched nothing", () => {
    const { state, done } = walk({ policy: { runsReleaseCommand: true }, failing: ["release:1"] });
    expect(done).toEqual(["prepare", "release"]);
    expect(state.phase).toBe("rolled_back");
  });

  test("whose first replica does not become healthy stops it and never shifts traffic", () => {
    const { state, done } = walk({ failing: ["verify:1"] });
    expect(done).toEqual(["prepare", "start 2/1", "verify 2/1", "stop 2/1"]);
    expect(state).toMatchObject({ phase: "rolled_back", failure: { reason: "verify failed." } });
    expect(state.replicas.map(({ id }) => short(id))).toEqual(["1/1", "1/2"]);
  });

  test("that fails halfway brings the old replicas back before the new ones leave", () => {
    const { state, done } = walk({ failing: ["verify:2"] });
    expect(done.slice(done.indexOf("verify 2/2"))).toEqual([
      "verify 2/2",
      "start 1/2",
      "verify 1/2",
      "shift 1/1 1/2",
      "drain 2/1",
      "stop 2/1",
      "stop 2/2",
    ]);
    expect(state.phase).toBe("rolled_back");
    expect(state.trafficRevision).toBe(1);
  });

  test("that cannot be undone ends failed and leaves what serves alone", () => {
    const { state } = walk({ failing: ["verify:2", "verify:3"] });
    expect(state.phase).toBe("failed");
    const serving = state.replicas.filter(({ traffic, phase }) => traffic === "active" && phase === "running");
    expect(serving.map(({ id }) => short(id)).sort()).toEqual(["1/1", "1/2", "2/1"]);
    expect(state.failure?.reason).toContain("Undoing it failed too");
  });

  test("over a revision without a healthy replica goes direct: all at once, nothing to be careful with", () => {
    const { state, done } = walk({ old: 3, oldReady: 0, policy: { wanted: 3 } });
    expect(done.slice(1, 3)).toEqual(["start 2/1 2/2 2/3", "verify 2/1 2/2 2/3"]);
    expect(state).toMatchObject({ direct: true, phase: "succeeded" });
  });

  test("that was the first one and fails leaves nothing behind, also not in the mesh", () => {
    const early = walk({ old: 0, failing: ["verify:1"] });
    expect(early.done.at(-1)).toBe("stop 2/1 2/2");
    const late = walk({ old: 0, failing: ["bake:1"] });
    expect(late.done.slice(-4)).toEqual(["shift", "drain 2/1 2/2", "stop 2/1 2/2", "unregister"]);
    for (const { state } of [early, late]) expect(state).toMatchObject({ phase: "rolled_back", replicas: [] });
  });

  test("to more replicas uses the room, to fewer never goes below what is wanted", () => {
    expect(walk({ old: 2, policy: { wanted: 4 } }).done.slice(1, 2)).toEqual(["start 2/1 2/2 2/3"]);
    const fewer = walk({ old: 4, policy: { wanted: 2 } });
    expect(fewer.done.filter((entry) => entry.startsWith("drain"))).toEqual(
      ["drain 1/4", "drain 1/3 1/2 1/1"].map(sorted),
    );
    expect(fewer.state.phase).toBe("succeeded");
  });
});

const sorted = (entry: string) => {
  const [word, ...rest] = entry.split(" ");
  return [word, ...rest.sort()].join(" ");
};

describe("the other kinds", () => {
  test("scale up adds, scale down drains and stops the youngest", () => {
    expect(walk({ kind: "scale", policy: { wanted: 4, release: "none" } }).done).toEqual([
      "start 1/3 1/4",
      "verify 1/3 1/4",
      "shift 1/3 1/4",
      "bake 1/3 1/4",
      "prove 1/1 1/2 1/3 1/4",
    ]);
    expect(walk({ kind: "scale", policy: { wanted: 1, release: "none" } }).done).toEqual([
      "drain 1/2",
      "stop 1/2",
      "prove 1/1",
    ]);
  });

  test("restart replaces every replica by one of the same revision", () => {
    const { state, done } = walk({ kind: "restart", policy: { release: "none" } });
    expect(done.filter((entry) => entry.startsWith("start"))).toEqual(["start 1/1", "start 1/2"]);
    expect(state.replicas.every(({ id, revision }) => id.endsWith("abcdef") && revision === 1)).toBe(true);
  });

  test("stop drains and stops everything, remove also forgets it", () => {
    const nothing = { wanted: 0, release: "none" } as const;
    expect(walk({ kind: "stop", policy: nothing }).done).toEqual(["drain 1/1 1/2", "stop 1/1 1/2", "prove"]);
    const { done } = walk({ kind: "remove", policy: nothing });
    expect(done).toEqual(["drain 1/1 1/2", "stop 1/1 1/2", "unregister", "forget"]);
  });

  test("rollback only looks for its release before it starts", () => {
    const { titles, state } = walk({ kind: "rollback", revision: 2, policy: { release: "find" } });
    expect(titles[0]).toBe("✓ Release of revision 2 is there (sha256:abababab…)");
    expect(state.phase).toBe("succeeded");
  });
});

/** Small deterministic random numbers (mulberry32). */
function randomOf(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

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
    const plan = policy({
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

  get #ready(): Set<string> {
    return new Set([...this.running].filter(([, health]) => health === "ready").map(([id]) => id));
  }

  step(input: RolloutInput): void {
    this.now += 50;
    const { state } = transition(this.committed, input, { now: this.now, ready: this.#ready });
    // What is committed is JSON: nothing else survives the server.
    this.committed = JSON.parse(JSON.stringify(state)) as RolloutState;
    // The traffic keeper may act on it at once.
    if (this.#random() < 0.5) this.publish();
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
    this.routed = new Set(active.map(({ id }) => id));
    const ready = active.filter(({ id }) => this.running.get(id) === "ready").length;
    if (ready < this.#floor) throw new Error(`${ready} ready endpoints are left of ${this.#floor}`);
  }

  /** Does an effect as the outside would; may be killed in the middle (answers undefined) or fail. */
  perform(effect: Effect): RolloutInput | undefined {
    const fails = this.#random() < 0.12;
    const killed = () => this.#random() < 0.15;
    if (killed()) return undefined;
    switch (effect.kind) {
      case "start":
        for (const id of effect.ids) {
          if (!this.running.has(id)) this.running.set(id, "unproven");
          if (killed()) return undefined;
        }
        break;
      case "verify": {
        const good = effect.ids.every((id) => this.#newIsGood || id.startsWith("default/a/1/"));
        if (!good) return { type: "failed", failure: failure(effect) };
        if (!fails) for (const id of effect.ids) this.running.set(id, "ready");
        break;
      }
      case "shift":
        this.publish();
        break;
      case "drain":
        this.publish();
        // The last healthy ones stay, whatever was planned.
        if (effect.ids.some((id) => this.routed.has(id))) return { type: "failed", failure: failure(effect) };
        break;
      case "stop":
        for (const id of effect.ids) {
          if (this.routed.has(id)) throw new Error(`${id} is stopped while it gets traffic`);
          if (!fails) this.running.delete(id);
          if (killed()) return undefined;
        }
        break;
      case "unregister":
        this.routed.clear();
        break;
      default:
    }
    if (killed()) return undefined;
    return fails ? { type: "failed", failure: failure(effect) } : success(effect);
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
});
