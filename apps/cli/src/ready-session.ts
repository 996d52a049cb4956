import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import { shutDown } from "./agent-end.ts";
import type { AgentKeeper } from "./agent-keeper.ts";
import type { Invocation } from "./command-spec.ts";
import { runningSession, waitUntilReady } from "./platform-start.ts";
import type { Session } from "./session.ts";

const START_PATIENCE_MS = 120_000;

/** A platform that is being started. */
export interface PlatformStart {
  invocation: Invocation;
  keeper: AgentKeeper;
  /** Aborts when a person wants an end. */
  stop: AbortSignal;
}

/**
 * Waits until everything runs. If that fails everything is stopped again, unless replicas run: to stop those would turn a
 * broken part into an outage, so they are kept, the reason is said, and the rest is waited for. Undefined if a person
 * ended the wait; everything is stopped then.
 * @throws HmsError with the reason of the part that is broken.
 */
export async function readySession(start: PlatformStart): Promise<Session | undefined> {
  const { invocation, keeper, stop } = start;
  for (let told = ""; ; ) {
    try {
      const patience = AbortSignal.any([keeper.givenUp, stop, AbortSignal.timeout(START_PATIENCE_MS)]);
      return await Promise.race([waitUntilReady(invocation.globals, patience), keeper.failed]);
    } catch (error) {
      const left = await afterFailure(start, error);
      if (left === 0) {
        if (stop.aborted) return undefined;
        throw error;
      }
      told = tell(start, { problem: HmsError.from(error).message, left, told });
    }
  }
}

/** Answers with the number of replicas that run on. */
async function afterFailure({ invocation, keeper, stop }: PlatformStart, error: unknown): Promise<number> {
  const { globals, options, output } = invocation;
  // The agent itself has ended, and said why.
  if (keeper.givenUp.aborted) throw error;
  const session = await runningSession(globals);
  if (session === undefined) {
    keeper.release();
    output.note("The agent does not answer. What it has started may run; stop it with: hms-sys down");
    throw error;
  }
  try {
    const left = stop.aborted ? 0 : await runningReplicas(session);
    if (left > 0 && options.detach !== true) return left;
    keeper.release();
    if (left > 0) {
      output.note(`${counted(left)} on with what was known. Stop everything with: hms-sys down`);
      throw error;
    }
    output.note("Stopping …");
    await shutDown(session, keeper.ended);
    output.note("Stopped.");
    return 0;
  } finally {
    await session.close();
  }
}

async function runningReplicas(session: Session): Promise<number> {
  let running = 0;
  for await (const { replica, synced } of session.agent.watchReplicas({}, { timeoutMs: 5000 })) {
    if (synced) break;
    if (replica?.state === agent.ReplicaState.RUNNING) running += 1;
  }
  return running;
}

const counted = (replicas: number) => (replicas === 1 ? "1 replica serves" : `${replicas} replicas serve`);

function tell(
  { invocation, keeper }: PlatformStart,
  { problem, left, told }: { problem: string; left: number; told: string },
): string {
  const { output } = invocation;
  // From here on an agent that dies has a successor: it keeps what serves.
  keeper.confirm();
  if (problem === told) return told;
  output.note(`${output.paint.warn("!")} ${problem}`);
  output.note(`${counted(left)} on with what was known; the rest is tried again. Ctrl-C stops everything.`);
  return problem;
}
