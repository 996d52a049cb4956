/** How many checks in a row change a verdict. */
export interface HealthThresholds {
  rise: number;
  fall: number;
}

/** What is known of one replica's health. */
export interface ReplicaHealth {
  /** The running process ("pid@start"), empty if none runs. */
  readonly instance: string;
  /**
   * down: no process · unproven: this process has not passed its checks yet · ready: it passes them · failing: it passed
   * them once and does not any more.
   */
  readonly state: "down" | "unproven" | "ready" | "failing";
  /** Since when, epoch milliseconds. */
  readonly since: number;
  readonly passes: number;
  readonly failures: number;
  /** The last answer in words; empty before the first. */
  readonly lastProbe: string;
  readonly lastProbeAt: number;
}

/** A check's outcome. */
export interface ProbeAnswer {
  ok: boolean;
  /** "HTTP 200 OK", "connect ECONNREFUSED 127.0.0.1:20001". */
  text: string;
}

/** Nothing is known and nothing runs. */
export const unknownHealth: ReplicaHealth = Object.freeze({
  instance: "",
  state: "down",
  since: 0,
  passes: 0,
  failures: 0,
  lastProbe: "",
  lastProbeAt: 0,
});

/**
 * Takes note of the process that runs now. Another process than before has to prove itself again, unless it is the one
 * that is known to have done so (`proven`), as after a restart of the server.
 */
export function observeProcess(
  health: ReplicaHealth,
  { instance, proven, now }: { instance: string; proven: string; now: number },
): ReplicaHealth {
  if (instance === health.instance) return health;
  if (instance === "") return { ...health, instance, state: "down", since: now, passes: 0, failures: 0 };
  const state = instance === proven ? "ready" : "unproven";
  return { ...unknownHealth, instance, state, since: now };
}

/** Takes note of a check: `rise` passes in a row make ready, `fall` failures in a row make failing. */
export function observeProbe(
  health: ReplicaHealth,
  answer: ProbeAnswer,
  { thresholds, now }: { thresholds: HealthThresholds; now: number },
): ReplicaHealth {
  if (health.state === "down") return health;
  const passes = answer.ok ? health.passes + 1 : 0;
  const failures = answer.ok ? 0 : health.failures + 1;
  const seen = { ...health, passes, failures, lastProbe: answer.text, lastProbeAt: now };
  if (health.state !== "ready" && passes >= thresholds.rise) return { ...seen, state: "ready", since: now };
  if (health.state === "ready" && failures >= thresholds.fall) return { ...seen, state: "failing", since: now };
  return seen;
}
