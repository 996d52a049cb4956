import { get } from "node:http";
import { connect } from "node:net";
import { type InstanceNetwork, type InstancePaths, type PartName, partSocket, programPath } from "@hms/config";
import type { ListenerKeeper } from "@hms/handover";
import { explainServerExit, planEmbeddedPostgres } from "@hms/postgres";
import { identityOf, type ProcessIdentity } from "../launcher/process-identity.ts";
import { readProcess } from "../launcher/process-table.ts";
import type { ComponentSpec } from "./component-spec.ts";
import { explainEnd } from "./explain-end.ts";

/** What every process of the platform is told: which installation it belongs to. */
function platformEnv(paths: InstancePaths): Record<string, string | undefined> {
  return { ...inheritedEnv(), HMS_INSTANCE: paths.instance, HMS_DATA: paths.data };
}

/** The operator's environment as the agent got it; the platform's processes are the operator's, replicas are not. */
function inheritedEnv(): Record<string, string | undefined> {
  // biome-ignore lint/style/noProcessEnv: handed on whole, nothing is read from it
  return process.env;
}

/** The embedded PostgreSQL. */
export function postgresComponent(paths: InstancePaths): ComponentSpec {
  const plan = planEmbeddedPostgres(paths);
  return {
    name: "postgres",
    prepare: () => plan.prepare(),
    command: () => ({ argv: plan.argv, env: plan.env, cwd: plan.cwd }),
    stopSignal: plan.stopSignal,
    stopGraceMs: 30_000,
    explainEnd: (lastWords) => explainServerExit(lastWords).message,
    isReady: () => plan.isReady(),
    running: () => postmasterIdentity(plan.running()?.pid),
  };
}

function postmasterIdentity(pid: number | undefined): ProcessIdentity | undefined {
  const entry = pid === undefined ? undefined : readProcess(pid);
  return entry && identityOf(entry);
}

/** Half of a server's memory would else be young objects of its start; more than this makes nothing faster. */
const SERVER_FLAGS = ["--max-semi-space-size=4"];

/**
 * The server: every part of the platform but those that run apart. Its socket for deployed services is the last one that it
 * serves; at the others it may answer before everything is there.
 */
export function serverComponent(paths: InstancePaths, apart: readonly PartName[]): ComponentSpec {
  const options = apart.length === 0 ? [] : ["--apart", apart.join(",")];
  return { ...serverProgram(paths, options), name: "server", isReady: () => acceptsConnections(paths.ffiSocket) };
}

/** A part of the platform in a process of its own. */
export function partComponent(paths: InstancePaths, part: PartName): ComponentSpec {
  const isReady = () => acceptsConnections(partSocket(paths, part));
  return { ...serverProgram(paths, ["--only", part]), name: part, isReady };
}

function serverProgram(paths: InstancePaths, options: readonly string[]): Omit<ComponentSpec, "name" | "isReady"> {
  const argv = [process.execPath, ...SERVER_FLAGS, programPath("server"), ...options];
  return {
    command: () => ({ argv, env: platformEnv(paths), cwd: paths.data }),
    stopSignal: "SIGTERM",
    stopGraceMs: 15_000,
    explainEnd,
  };
}

interface DataplanePlaces {
  network: InstanceNetwork;
  /** Keeps its listening sockets. */
  listeners: ListenerKeeper;
}

/** The data plane: gateway and mesh. */
export function dataplaneComponent(paths: InstancePaths, { network, listeners }: DataplanePlaces): ComponentSpec {
  return {
    name: "dataplane",
    command: () => ({ argv: [process.execPath, programPath("dataplane")], env: platformEnv(paths), cwd: paths.data }),
    stopSignal: "SIGINT",
    replacedSignal: "SIGTERM",
    stopGraceMs: 35_000,
    explainEnd,
    isReady: () => answersOk(network.metricsPort),
    listeners,
  };
}

function acceptsConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function answersOk(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: "127.0.0.1", port, path: "/healthz", timeout: 1000, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
  });
}
