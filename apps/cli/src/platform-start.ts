import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { type InstancePaths, programPath } from "@hms/config";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Session } from "./session.ts";
import { openSession } from "./session.ts";

/** The agent's own log. */
export const agentLog = (paths: InstancePaths) => `${paths.data}/logs/agent.log`;

/** How the agent is started. */
export interface AgentOptions {
  gatewayPort: number | undefined;
}

/** Starts the agent in a session of its own, so that it outlives this process and its terminal. */
export function spawnAgent(paths: InstancePaths, options: AgentOptions): ChildProcess {
  mkdirSync(`${paths.data}/logs`, { recursive: true, mode: 0o700 });
  const log = openSync(agentLog(paths), "a", 0o600);
  const args = ["--instance", paths.instance, "--data", paths.data];
  if (options.gatewayPort !== undefined) args.push("--port", String(options.gatewayPort));
  const child = spawn(process.execPath, [programPath("agent"), ...args], {
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.unref();
  return child;
}

/** What `up` knows of the agent it started. */
export interface AgentWatch {
  /** Rejects if the agent ends before the platform is ready. */
  readonly failed: Promise<never>;
}

/** The agent's last words since it was started. */
export function lastWords(paths: InstancePaths, since: number): string {
  const words = readFileSync(agentLog(paths)).subarray(since).toString();
  const lines = words.split("\n").filter((line) => line !== "");
  for (const line of lines.toReversed()) {
    const error = errorMessage(line);
    if (error) return error;
  }
  return lines.slice(-5).join("\n") || "It said nothing.";
}

function errorMessage(line: string): string | undefined {
  try {
    const { level, message } = JSON.parse(line) as { level?: string; message?: string };
    return level === "error" ? message : undefined;
  } catch {
    return undefined;
  }
}

/** The size of the agent's log now, to tell new words from old. */
export function logSize(paths: InstancePaths): number {
  try {
    return statSync(agentLog(paths)).size;
  } catch {
    return 0;
  }
}

/** True if an agent answers. */
export async function isRunning(session: Session): Promise<boolean> {
  try {
    await session.agent.getStatus({}, { timeoutMs: 1000 });
    return true;
  } catch {
    return false;
  }
}

/** A session if the installation has been started before and its agent answers, else undefined. */
export async function runningSession(globals: {
  instance: string | undefined;
  data: string | undefined;
}): Promise<Session | undefined> {
  let session: Session;
  try {
    session = openSession(globals);
  } catch (error) {
    if (HmsError.from(error).code === "UNAVAILABLE") return undefined;
    throw error;
  }
  if (await isRunning(session)) return session;
  await session.close();
  return undefined;
}

const ready = ({ components }: agent.GetStatusResponse) =>
  components.length > 0 && components.every(({ state }) => state === agent.ReplicaState.RUNNING);

/**
 * Waits until every part of the platform runs, the server answers and a data plane serves.
 * @throws HmsError DEADLINE_EXCEEDED with what is missing.
 */
export async function waitUntilReady(
  globals: { instance: string | undefined; data: string | undefined },
  signal: AbortSignal,
): Promise<Session> {
  let missing = "the agent does not answer";
  while (!signal.aborted) {
    const session = await runningSession(globals);
    if (session) {
      try {
        missing = await missingPart(session);
        if (missing === "") return session;
      } catch (error) {
        missing = HmsError.from(error).message;
      }
      await session.close();
    }
    await pause(50);
  }
  throw new HmsError(
    "DEADLINE_EXCEEDED",
    `The platform did not become ready: ${missing}. Its log: ${agentLog((await import("@hms/config")).resolveInstance(globals))}`,
  );
}

async function missingPart(session: Session): Promise<string> {
  const status = await session.agent.getStatus({}, { timeoutMs: 1000 });
  if (!ready(status)) {
    const waiting = status.components.filter(({ state }) => state !== agent.ReplicaState.RUNNING);
    return `waiting for ${waiting.map(({ name }) => name).join(", ")}`;
  }
  await session.deployments.listServices({ pageSize: 1 }, { timeoutMs: 1000 });
  const { nodes } = await session.mesh.getSnapshot({}, { timeoutMs: 1000 });
  return nodes.length === 0 ? "no data plane is connected" : "";
}
