import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { withoutSealed } from "./program-secrets.ts";
import type { ReplicaLife } from "./replica-journal.ts";

/** What a replica's message is made of. */
export interface ReplicaFacts {
  spec: agent.ReplicaSpec;
  state: agent.ReplicaState;
  pid: number;
  port: number;
  life: ReplicaLife;
  usage: agent.ReplicaUsage | undefined;
  adopted: boolean;
}

const stamp = (ms: number) => (ms > 0 ? { at: timestampFromMs(ms) } : {});

/** The replica as the contract shows it. */
export function replicaMessage(facts: ReplicaFacts): agent.Replica {
  const { spec, state, pid, port, life, usage, adopted } = facts;
  const backingOff = state === agent.ReplicaState.BACKING_OFF;
  const { at: startedAt } = stamp(life.startedAtMs);
  const { at: nextStartAt } = stamp(backingOff ? life.nextStartAtMs : 0);
  const lastExit = exitMessage(life.lastExit);
  return create(agent.ReplicaSchema, {
    spec: withoutSealed(spec),
    state,
    pid: BigInt(pid),
    port,
    restarts: life.restarts,
    adopted,
    ...(startedAt && { startedAt }),
    ...(nextStartAt && { nextStartAt }),
    ...(lastExit && { lastExit }),
    ...(usage && { usage }),
  });
}

/** How a process ended, as the contract shows it. */
export function exitMessage(exit: ReplicaLife["lastExit"]): agent.ExitStatus | undefined {
  if (!exit) return undefined;
  const { code, signal, atMs, outOfMemory, launchError } = exit;
  return create(agent.ExitStatusSchema, { code, signal, exitedAt: timestampFromMs(atMs), outOfMemory, launchError });
}
