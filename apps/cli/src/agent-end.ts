import { setTimeout as pause } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import type { Session } from "./session.ts";

const STOP_PATIENCE_MS = 60_000;
const LAST_MOMENT_MS = 10_000;
const KILL_PATIENCE_MS = 5000;

/**
 * Asks the agent to stop everything; one that has just died is waited for, because only it knows what runs. `ended`
 * resolves when it has gone.
 */
export async function shutDown({ agent }: Session, ended: Promise<unknown>): Promise<void> {
  const until = Date.now() + STOP_PATIENCE_MS;
  for (;;) {
    try {
      await agent.shutdown({}, { timeoutMs: STOP_PATIENCE_MS });
      break;
    } catch (error) {
      if (HmsError.from(error).code !== "UNAVAILABLE" || Date.now() > until) throw error;
      await pause(100);
    }
  }
  const gone = new AbortController();
  // The timer keeps this process alive: the agent's handle does not.
  const late = pause(LAST_MOMENT_MS, undefined, { signal: gone.signal }).catch(() => {});
  await Promise.race([ended, late]);
  gone.abort();
}

/**
 * Ends an agent whose parent has died, and nothing else: everything it kept goes on, and its successor adopts it.
 * @throws HmsError DEADLINE_EXCEEDED if it does not go.
 */
export async function endAgent({ agent }: Session): Promise<void> {
  const { components } = await agent.getStatus({}, { timeoutMs: KILL_PATIENCE_MS });
  const pid = Number(components.find(({ name }) => name === "agent")?.pid ?? 0n);
  if (pid === 0) throw new HmsError("INTERNAL", "The agent does not say which process it is.");
  // A signal that cannot be handled: an orderly end would stop what it keeps.
  process.kill(pid, "SIGKILL");
  const until = Date.now() + KILL_PATIENCE_MS;
  while (await answers(agent)) {
    if (Date.now() > until) throw new HmsError("DEADLINE_EXCEEDED", `The agent (pid ${pid}) does not end.`);
    await pause(20);
  }
}

async function answers(agent: Session["agent"]): Promise<boolean> {
  try {
    await agent.getStatus({}, { timeoutMs: 1000 });
    return true;
  } catch {
    return false;
  }
}
