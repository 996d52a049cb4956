import type { ReplicaScaler } from "../replica-scaler.ts";
import type { LoadTrace } from "./load-traces.ts";
import { type ReplicaAbilities, ReplicaModel } from "./replica-model.ts";

/** How a simulation is set up. */
export interface SimulationOptions {
  abilities: ReplicaAbilities;
  min: number;
  max: number;
  /** The share of a replica's processor time up to which it is well provided. */
  utilization: number;
  /** Processor time is known as the average of so many seconds. */
  cpuSeconds: number;
}

/** What a policy made of a load. */
export interface ScalingOutcome {
  /** The longest time, in seconds, from the first request that had to wait until none did. */
  recoverySeconds: number;
  /** All seconds in which requests waited. */
  overloadedSeconds: number;
  /** Clients that left, of all requests. */
  lostShare: number;
  /** Replicas beyond what the load needed, times seconds. */
  surplusReplicaSeconds: number;
  /** Replicas times seconds. */
  replicaSeconds: number;
  /** Times at which the number was changed. */
  changes: number;
  /** Replicas meant to run, each second. */
  replicas: number[];
}

const DECIDE_SECONDS = 2;

/** Lets a scaler follow a load in virtual time. */
export function simulateScaling(
  { requests }: LoadTrace,
  scaler: ReplicaScaler,
  { abilities, min, max, utilization, cpuSeconds }: SimulationOptions,
): ScalingOutcome {
  const needed = (load: number) =>
    Math.min(max, Math.max(min, Math.ceil(load / (abilities.requestsPerSecond * utilization))));
  const model = new ReplicaModel(abilities, needed(requests[0] ?? 0));
  const outcome = { overloadedSeconds: 0, surplusReplicaSeconds: 0, replicaSeconds: 0, changes: 0 };
  const replicas: number[] = [];
  const cpu: number[] = [];
  let busy = 0;
  let lost = 0;
  let stretch = 0;
  let longest = 0;
  for (const [second, load] of requests.entries()) {
    const seen = model.second(load);
    busy += seen.concurrency;
    cpu.push(seen.cpu);
    lost += seen.lost;
    stretch = seen.waiting > 0 ? stretch + 1 : 0;
    longest = Math.max(longest, stretch);
    outcome.overloadedSeconds += seen.waiting > 0 ? 1 : 0;
    outcome.surplusReplicaSeconds += Math.max(0, model.replicas - needed(load));
    outcome.replicaSeconds += model.replicas;
    replicas.push(model.replicas);
    if ((second + 1) % DECIDE_SECONDS !== 0) continue;
    const recent = cpu.slice(-cpuSeconds);
    const { to } = scaler.decide({
      atMs: (second + 1) * 1000,
      concurrency: busy / DECIDE_SECONDS,
      cpu: recent.reduce((sum, share) => sum + share, 0) / recent.length,
      ready: model.ready,
      replicas: model.replicas,
    });
    busy = 0;
    if (to === model.replicas) continue;
    outcome.changes += 1;
    model.scaleTo(to);
  }
  const all = requests.reduce((sum, load) => sum + load, 0);
  return { ...outcome, recoverySeconds: longest, lostShare: lost / all, replicas };
}
