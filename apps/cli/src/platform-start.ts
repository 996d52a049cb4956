import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import {
  type InstancePaths,
  type PartName,
  programPath,
  type RoutesDefaultAuth,
  resolveInstance,
  type WantedGatewayListen,
} from "@hms/config";
import { agent, deployment, mesh } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Session } from "./session.ts";
import { openSession } from "./session.ts";

/** The agent's own log. */
const agentLog = (paths: InstancePaths) => `${paths.data}/logs/agent.log`;

/** How the agent is started. */
export interface AgentOptions {
  gatewayPort: number | undefined;
  /** The parts that run in processes of their own from now on; undefined: as before. */
  apart: readonly PartName[] | undefined;
  /** Where other machines are answered from now on, or "none"; undefined: as before. */
  listen: string | undefined;
  /** Where the gateway listens beside loopback from now on; undefined: as before. */
  gatewayListen: WantedGatewayListen;
  /** What `auth` is for routes whose manifest does not say it, from now on; undefined: as before. */
  routesDefaultAuth: RoutesDefaultAuth | undefined;
}

/** The agent lives long and does little: it needs no room for many young objects. */
const AGENT_FLAGS = ["--max-semi-space-size=2"];

/**
 * Starts the agent in a session of its own, so that it outlives this process and its terminal, with an IPC channel for
 * listening sockets.
 */
export function spawnAgent(paths: InstancePaths, options: AgentOptions): ChildProcess {
  mkdirSync(`${paths.data}/logs`, { recursive: true, mode: 0o700 });
  const log = openSync(agentLog(paths), "a", 0o600);
  const args = ["--instance", paths.instance, "--data", paths.data];
  if (options.gatewayPort !== undefined) args.push("--port", String(options.gatewayPort));
  if (options.apart !== undefined) args.push("--apart", options.apart.join(","));
  if (options.listen !== undefined) args.push("--listen", options.listen);
  for (const [scheme, addresses] of Object.entries(options.gatewayListen))
    if (addresses !== undefined) args.push(`--${scheme}-listen`, addresses);
  if (options.routesDefaultAuth !== undefined) args.push("--routes-default-auth", options.routesDefaultAuth);
  const child = spawn(process.execPath, [...AGENT_FLAGS, programPath("agent"), ...args], {
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  child.unref();
  child.channel?.unref();
  return child;
}

/** The agent's last words since it was started. */
export function lastWords(paths: InstancePaths, since: number): string {
  const words = readFileSync(agentLog(paths)).subarray(since).toString();
  const lines = words.split("\n").filter((line) => line !== "");
  for (const line of lines.toReversed()) {
    const error = errorMessage(line);
    if (error) return error;
  }
  // A process that could not even load says so before its stack.
  return lines.findLast((line) => /^\w*Error\b.*: /.test(line)) ?? (lines.slice(-5).join("\n") || "It said nothing.");
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
async function isRunning(session: Session): Promise<boolean> {
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

/** A part that says for this long why it cannot start will not start by waiting. */
const HOPELESS_MS = 10_000;

/**
 * Waits until every part of the platform runs, the server answers and a data plane serves.
 * @throws HmsError DEADLINE_EXCEEDED with what is missing, UNAVAILABLE with the reason of a part that cannot start.
 */
export async function waitUntilReady(
  globals: { instance: string | undefined; data: string | undefined },
  signal: AbortSignal,
): Promise<Session> {
  let missing = "the agent does not answer";
  let hopelessSince: number | undefined;
  while (!signal.aborted) {
    const session = await runningSession(globals);
    if (session) {
      const look = await lookAround(session);
      if (look.missing === "") return session;
      missing = look.missing;
      hopelessSince = look.isBroken ? (hopelessSince ?? Date.now()) : undefined;
      await session.close();
      if (hopelessSince !== undefined && Date.now() - hopelessSince > HOPELESS_MS)
        throw new HmsError("UNAVAILABLE", missing);
    }
    await pause(50);
  }
  const log = agentLog(resolveInstance(globals));
  throw new HmsError("DEADLINE_EXCEEDED", `The platform did not become ready: ${missing}. Its log: ${log}`);
}

interface Look {
  /** Empty: nothing. */
  missing: string;
  /** True if a part says why it cannot start. */
  isBroken: boolean;
}

async function lookAround(session: Session): Promise<Look> {
  try {
    const { components } = await session.agent.getStatus({}, { timeoutMs: 1000 });
    const waiting = components.filter(({ state }) => state !== agent.ReplicaState.RUNNING);
    const broken = waiting.find(({ lastError }) => lastError !== "");
    if (broken) return { missing: `${broken.name}: ${broken.lastError}`, isBroken: true };
    if (waiting.length > 0)
      return { missing: `waiting for ${waiting.map(({ name }) => name).join(", ")}`, isBroken: false };
    const { nodes } = await session.mesh.getSnapshot({}, { timeoutMs: 1000 });
    return { missing: nodes.length === 0 ? "no data plane is connected" : "", isBroken: false };
  } catch (error) {
    return { missing: HmsError.from(error).message, isBroken: false };
  }
}

/**
 * Waits until every service that should serve does, in the data plane too, at most this long: a service that is broken
 * by itself must not keep the platform from being ready. Answers with the names of those that do not.
 */
export async function waitForServices(session: Session, patienceMs: number): Promise<string[]> {
  const until = Date.now() + patienceMs;
  for (;;) {
    const late = await servicesNotServing(session);
    if (late.length === 0 || Date.now() > until) return late;
    await pause(50);
  }
}

async function servicesNotServing(session: Session): Promise<string[]> {
  const { services } = await session.deployments.listServices({ pageSize: 1000 });
  const wanted = services.filter(({ replicasWanted }) => replicasWanted > 0);
  const unhealthy = wanted.filter(({ health }) => health !== deployment.ServiceHealth.HEALTHY);
  if (unhealthy.length > 0) return unhealthy.map(({ name }) => name);
  const { version, content, nodes } = await session.mesh.getSnapshot({});
  const isApplied = nodes.length > 0 && nodes.every(({ appliedVersion }) => appliedVersion >= version);
  return wanted.filter((service) => !isApplied || !hasEndpoint(content, service)).map(({ name }) => name);
}

function hasEndpoint(
  content: mesh.SnapshotContent | undefined,
  { environment, name }: deployment.ServiceSummary,
): boolean {
  const entry = content?.services.find((service) => service.environment === environment && service.name === name);
  return entry?.endpoints.some(({ state }) => state === mesh.EndpointState.ACTIVE) ?? false;
}
