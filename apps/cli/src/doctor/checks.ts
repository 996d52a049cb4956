import { statfsSync, statSync } from "node:fs";
import { get } from "node:http";
import { type InstancePaths, launcherPath, readNetwork, resolveInstance } from "@hms/config";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import { enumWord, humanBytes } from "../output/human.ts";
import { runningSession } from "../platform-start.ts";
import { type Session, upCommand } from "../session.ts";
import { accessFiles } from "./access-files.ts";

/** One thing looked at. */
export interface Finding {
  check: string;
  level: "ok" | "warning" | "problem";
  finding: string;
  /** What to do, unless all is well. */
  remedy?: string;
}

type Selector = { instance: string | undefined; data: string | undefined };

const LOW_DISK_BYTES = 1024 ** 3;

/** Looks at the machine and, if it runs, at the platform; every check reports, none throws. */
export async function examine(selector: Selector): Promise<Finding[]> {
  const paths = resolveInstance(selector);
  const findings = [nodeVersion(), operatingSystem(), dataDirectory(paths), disk(paths), ...accessFiles(paths)];
  const session = await runningSession(selector);
  if (session === undefined) {
    findings.push({
      check: "platform",
      level: "problem",
      finding: `instance "${paths.instance}" does not run`,
      remedy: upCommand(paths),
    });
    return findings;
  }
  try {
    for (const check of [agentState, database, dataPlanes, gateway]) findings.push(...(await guarded(check, session)));
  } finally {
    await session.close();
  }
  return findings;
}

async function guarded(check: (session: Session) => Promise<Finding[]>, session: Session): Promise<Finding[]> {
  try {
    return await check(session);
  } catch (error) {
    const name = check.name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    return [
      {
        check: name,
        level: "problem",
        finding: HmsError.from(error).message,
        remedy: `look into ${session.paths.data}/logs`,
      },
    ];
  }
}

function nodeVersion(): Finding {
  return { check: "node", level: "ok", finding: process.version };
}

function operatingSystem(): Finding {
  if (process.platform === "linux") return { check: "system", level: "ok", finding: `Linux ${process.arch}` };
  const finding = `${process.platform}: replicas run without isolation, mesh names by proxy variables`;
  return { check: "system", level: "warning", finding, remedy: "use Linux for anything but development" };
}

function dataDirectory(paths: InstancePaths): Finding {
  try {
    const { mode } = statSync(paths.data);
    const open = (mode & 0o077) !== 0;
    if (!open) return { check: "data directory", level: "ok", finding: `${paths.data}, only yours` };
    return {
      check: "data directory",
      level: "problem",
      finding: `others may look into ${paths.data}`,
      remedy: `chmod 700 ${paths.data}`,
    };
  } catch {
    return { check: "data directory", level: "ok", finding: `${paths.data}, not there yet` };
  }
}

function disk(paths: InstancePaths): Finding {
  let folder = paths.data;
  for (;;) {
    try {
      const { bavail, bsize } = statfsSync(folder);
      const free = bavail * bsize;
      const finding = `${humanBytes(free)} free`;
      if (free > LOW_DISK_BYTES) return { check: "disk", level: "ok", finding };
      return { check: "disk", level: "warning", finding, remedy: `make room on the file system of ${paths.data}` };
    } catch {
      folder = folder.slice(0, folder.lastIndexOf("/")) || "/";
    }
  }
}

async function agentState({ agent: client }: Session): Promise<Finding[]> {
  const status = await client.getStatus({}, { timeoutMs: 3000 });
  const { isolation, isolationReason, meshTier, meshTierReason } = status;
  const byDns = meshTier === agent.MeshTier.DNS;
  const isIsolated = isolation !== agent.Isolation.NONE;
  return [
    {
      check: "isolation",
      level: isIsolated ? "ok" : "warning",
      finding: `${enumWord(agent.Isolation, isolation)}${isolationReason ? `: ${isolationReason}` : ""}`,
      ...(isIsolated
        ? {}
        : { remedy: "run as root, or allow user namespaces; until then every service can read what you can" }),
    },
    {
      check: "mesh tier",
      level: byDns ? "ok" : "warning",
      finding: byDns ? "1, by DNS: every program resolves *.mesh" : `2, by proxy variables: ${meshTierReason}`,
      ...(byDns ? {} : { remedy: isIsolated ? setupRemedy() : "it takes isolation first, see above" }),
    },
    ...status.components.map(componentFinding),
  ];
}

const setupRemedy = () => `sudo ${launcherPath()} setup, once; then stop and start the platform`;

function componentFinding({ name, state, pid, restarts, memoryBytes }: agent.Component): Finding {
  const runs = state === agent.ReplicaState.RUNNING;
  const finding = `${enumWord(agent.ReplicaState, state)}, pid ${pid}, ${humanBytes(memoryBytes)}, ${restarts} ${restarts === 1 ? "restart" : "restarts"}`;
  if (runs) return { check: name, level: restarts > 3 ? "warning" : "ok", finding };
  return { check: name, level: "problem", finding, remedy: `its log is in the data directory: logs/${name}.log` };
}

async function database({ deployments }: Session): Promise<Finding[]> {
  const began = performance.now();
  await deployments.listServices({ pageSize: 1 }, { timeoutMs: 3000 });
  return [{ check: "database", level: "ok", finding: `answers in ${Math.round(performance.now() - began)} ms` }];
}

async function dataPlanes({ mesh }: Session): Promise<Finding[]> {
  const { version, nodes } = await mesh.getSnapshot({}, { timeoutMs: 3000 });
  if (nodes.length === 0) {
    return [
      {
        check: "data plane",
        level: "problem",
        finding: "none is connected; it serves its last snapshot",
        remedy: "hms-sys restart-component dataplane",
      },
    ];
  }
  return nodes.map(({ nodeId, appliedVersion }) => ({
    check: "data plane",
    level: appliedVersion >= version ? "ok" : "warning",
    finding: `${nodeId} serves snapshot ${appliedVersion} of ${version}`,
  }));
}

async function gateway({ paths }: Session): Promise<Finding[]> {
  const network = readNetwork(paths);
  if (network === undefined) return [];
  const status = await statusOf(network.metricsPort);
  const finding = `http://localhost:${network.gatewayPort}, metrics on ${network.metricsPort}`;
  if (status === 200) return [{ check: "gateway", level: "ok", finding }];
  return [
    {
      check: "gateway",
      level: "problem",
      finding: `health answers ${status}`,
      remedy: "hms-sys restart-component dataplane",
    },
  ];
}

function statusOf(port: number): Promise<number | string> {
  return new Promise((resolve) => {
    const request = get({ host: "127.0.0.1", port, path: "/healthz", timeout: 2000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("timeout", () => request.destroy(new Error("no answer in 2 s")));
    request.on("error", (error) => resolve(error.message));
  });
}
