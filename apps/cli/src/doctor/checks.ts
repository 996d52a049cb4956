import { statfsSync, statSync } from "node:fs";
import { get } from "node:http";
import { json } from "node:stream/consumers";
import { spoolSizes } from "@hms/audit-spool";
import {
  type InstancePaths,
  readDatabaseRoles,
  readNetwork,
  readRoutesDefaultAuth,
  resolveInstance,
} from "@hms/config";
import { audit, identityUsers } from "@hms/contracts";
import { createClient, HmsError } from "@hms/kernel";
import { humanBytes } from "../output/human.ts";
import { runningSession } from "../platform-start.ts";
import { type Session, upCommand } from "../session.ts";
import { accessFiles } from "./access-files.ts";
import { auditFindings, spoolSizeFindings } from "./audit-findings.ts";
import { breachedPasswords } from "./breached-passwords.ts";
import type { Finding } from "./finding.ts";
import { gatewayCertificates } from "./gateway-certificates.ts";
import { networkListener } from "./network-listener.ts";
import { outsideReach } from "./outside-reach.ts";
import { agentFindings, databaseRoleFindings, dataPlaneFindings } from "./platform-findings.ts";
import { publicRoutes } from "./public-routes.ts";
import { sealingKey } from "./sealing-key.ts";

type Selector = { instance: string | undefined; data: string | undefined };

const LOW_DISK_BYTES = 1024 ** 3;

/** Looks at the machine and, if it runs, at the platform; every check reports, none throws. */
export async function examine(selector: Selector): Promise<Finding[]> {
  const paths = resolveInstance(selector);
  const findings = [
    nodeVersion(),
    operatingSystem(),
    dataDirectory(paths),
    disk(paths),
    ...accessFiles(paths),
    ...networkListener(paths),
    ...outsideReach(paths),
    ...spoolSizeFindings(spoolSizes(paths.audit)),
    ...gatewayCertificates(paths),
    sealingKey(paths),
    await breachedPasswords(paths),
  ];
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
    for (const check of [agentState, database, registry, accounts, databaseRoles, dataPlanes, gateway, auditLog])
      findings.push(...(await guarded(check, session)));
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
    const { code, message } = HmsError.from(error);
    const finding = code === "DEADLINE_EXCEEDED" ? "no answer within 3 s" : message;
    const remedy = `look into ${session.paths.data}/logs; a process that runs and does not answer: hms-sys restart-component NAME`;
    return [{ check: name, level: "problem", finding, remedy }];
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
  return agentFindings(await client.getStatus({}, { timeoutMs: 3000 }));
}

async function database({ deployments }: Session): Promise<Finding[]> {
  const began = performance.now();
  await deployments.listServices({ pageSize: 1 }, { timeoutMs: 3000 });
  return [{ check: "database", level: "ok", finding: `answers in ${Math.round(performance.now() - began)} ms` }];
}

async function registry({ registry: client }: Session): Promise<Finding[]> {
  await client.list({ pageSize: 1 }, { timeoutMs: 3000 });
  return [{ check: "registry", level: "ok", finding: "answers" }];
}

async function accounts({ platform }: Session): Promise<Finding[]> {
  await createClient(identityUsers.UserService, platform).listUsers({ pageSize: 1 }, { timeoutMs: 3000 });
  return [{ check: "accounts", level: "ok", finding: "can be asked for" }];
}

async function databaseRoles({ paths }: Session): Promise<Finding[]> {
  return databaseRoleFindings(readDatabaseRoles(paths));
}

async function dataPlanes({ mesh, paths }: Session): Promise<Finding[]> {
  const snapshot = await mesh.getSnapshot({}, { timeoutMs: 3000 });
  return [...dataPlaneFindings(snapshot), ...publicRoutes(snapshot.content, readRoutesDefaultAuth(paths))];
}

async function auditLog({ platform }: Session): Promise<Finding[]> {
  const client = createClient(audit.AuditService, platform);
  return auditFindings(await client.getAuditStatus({}, { timeoutMs: 3000 }));
}

async function gateway({ paths }: Session): Promise<Finding[]> {
  const network = readNetwork(paths);
  if (network === undefined) return [];
  const { status, problems } = await healthAt(network.metricsPort);
  const finding = `http://localhost:${network.gatewayPort}, metrics on ${network.metricsPort}`;
  if (status === 200) {
    const remedy = `see what it says; more is in ${paths.data}/logs/dataplane.log`;
    const told = problems.map((problem): Finding => ({ check: "gateway", level: "warning", finding: problem, remedy }));
    return [{ check: "gateway", level: "ok", finding }, ...told];
  }
  return [
    {
      check: "gateway",
      level: "problem",
      finding: `health answers ${status}`,
      remedy: "hms-sys restart-component dataplane",
    },
  ];
}

interface Health {
  status: number | string;
  /** What the data plane says is not as it should be. */
  problems: string[];
}

function healthAt(port: number): Promise<Health> {
  return new Promise((resolve) => {
    const failed = (error: Error) => resolve({ status: error.message, problems: [] });
    const request = get({ host: "127.0.0.1", port, path: "/healthz", timeout: 2000 }, async (response) => {
      try {
        const { problems } = (await json(response)) as { problems?: string[] };
        resolve({ status: response.statusCode ?? 0, problems: problems ?? [] });
      } catch (error) {
        failed(error as Error);
      }
    });
    request.on("timeout", () => request.destroy(new Error("no answer in 2 s")));
    request.on("error", failed);
  });
}
