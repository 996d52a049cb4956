import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import type { HostEnvironment, InstancePaths } from "@hms/config";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { isDiskFull } from "../small-file.ts";
import { openControlGroups } from "./control-groups.ts";
import { launchProcess } from "./launch-process.ts";
import { RESOLV_CONF } from "./mount-plan.ts";
import { Surroundings } from "./surroundings.ts";

/** What this machine lets the installation do with its replicas, and why not more. */
export interface IsolationReport {
  isolation: agent.Isolation;
  /** Why the isolation is not better, empty if it is the best. */
  isolationReason: string;
  meshTier: agent.MeshTier;
  /** Why names do not work by DNS, empty if they do. */
  meshTierReason: string;
  /** How memory limits are kept: by the kernel, or by measuring and killing. */
  memoryLimits: "kernel" | "measured";
  /** False if processor limits cannot be kept here. */
  cpuLimits: boolean;
  /** Why limits are not all kept by the kernel, empty if they are. */
  limitsReason: string;
}

const { Isolation, MeshTier } = agent;
const DNS_PORT = 53;
const TOOLS = ["unshare", "setpriv", "prlimit", "setsid", "flock", "mount", "mkfifo"];

/** Tries the very launch that replicas get and answers what works. Takes about 0.1 s. */
export async function probeIsolation(paths: InstancePaths, host: HostEnvironment): Promise<IsolationReport> {
  const { isolation, reason } = await tryIsolation(paths, host);
  const groups = openControlGroups(controlGroupName(paths));
  const kernelLimits = groups.limits("memory") && groups.limits("cpu");
  return {
    isolation,
    isolationReason: reason,
    ...meshTier(isolation, reason),
    memoryLimits: groups.limits("memory") ? "kernel" : "measured",
    cpuLimits: groups.limits("cpu"),
    limitsReason: kernelLimits
      ? ""
      : "No control group of this process may be divided: run as root, or as a systemd user service with Delegate=yes.",
  };
}

/** The name of an installation's part of the control groups; two installations of one name lie in different directories. */
export function controlGroupName({ instance, data }: InstancePaths): string {
  return `hms-sys-${instance}-${createHash("sha256").update(data).digest("hex").slice(0, 8)}`;
}

async function tryIsolation(
  paths: InstancePaths,
  host: HostEnvironment,
): Promise<{ isolation: agent.Isolation; reason: string }> {
  const none = (reason: string) => ({ isolation: Isolation.NONE, reason });
  if (process.platform !== "linux") return none("Namespaces exist on Linux only.");
  const isRoot = process.getuid?.() === 0;
  const wanted = isRoot ? Isolation.OWN_UID : Isolation.USER_NAMESPACE;
  const surroundings = new Surroundings(wanted, { paths, host });
  const missing = TOOLS.filter(
    (tool) => !surroundings.toolPath.split(":").some((each) => existsSync(`${each}/${tool}`)),
  );
  if (missing.length > 0) return none(`Not found: ${missing.join(", ")}. Install util-linux and coreutils.`);
  const stateDirectory = `${paths.run}/probe-${process.pid}`;
  const directory = `${stateDirectory}/release`;
  try {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const program = await launchProcess({
      stateDirectory,
      label: "isolation probe",
      attempt: 1,
      command: "true",
      env: { PATH: surroundings.toolPath },
      workingDirectory: directory,
      toolPath: surroundings.toolPath,
      sandbox: surroundings.sandbox({ slot: 0, directory, dnsAddress: "127.0.0.1" }),
      maxProcesses: 64,
    });
    const said: Buffer[] = [];
    program.stderr.stream().on("data", (chunk: Buffer) => said.push(chunk));
    const end = await program.ended;
    program.detach();
    if (end.code === 0) return { isolation: wanted, reason: isRoot ? "" : USER_NAMESPACE_REASON };
    return none(
      `${Buffer.concat(said).toString().trim() || `the probe ended with ${end.code} ${end.signal}`}. ${hint()}`,
    );
  } catch (error) {
    // It cannot be tried without room. A replica that cannot be kept apart then does not start, rather than run unguarded.
    if (isDiskFull(error)) return { isolation: wanted, reason: isRoot ? "" : USER_NAMESPACE_REASON };
    return none(`${HmsError.from(error).message}. ${hint()}`);
  } finally {
    await rm(stateDirectory, { recursive: true, force: true });
  }
}

const USER_NAMESPACE_REASON = "Replicas share your uid inside their namespaces; run as root to give each its own.";

function setting(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, "utf8").trim();
  } catch {
    return undefined;
  }
}

function hint(): string {
  if (setting("user/max_user_namespaces") === "0") return "Allow them: sysctl user.max_user_namespaces=15000.";
  if (setting("kernel/unprivileged_userns_clone") === "0")
    return "Allow them: sysctl kernel.unprivileged_userns_clone=1.";
  if (setting("kernel/apparmor_restrict_unprivileged_userns") === "1") {
    return "AppArmor refuses them to ordinary users: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root.";
  }
  return "In a container, namespaces need --privileged or CAP_SYS_ADMIN.";
}

function meshTier(isolation: agent.Isolation, reason: string): { meshTier: agent.MeshTier; meshTierReason: string } {
  const proxy = (meshTierReason: string) => ({ meshTier: MeshTier.PROXY, meshTierReason });
  if (isolation === Isolation.NONE) return proxy(`Replicas cannot have a name server of their own: ${reason}`);
  if (!existsSync(RESOLV_CONF))
    return proxy(`${RESOLV_CONF} is missing, so there is nothing to replace for a replica.`);
  const firstPort = Number(setting("net/ipv4/ip_unprivileged_port_start") ?? 1024);
  if (process.getuid?.() !== 0 && firstPort > DNS_PORT) {
    return proxy(`Ordinary users may not bind port ${DNS_PORT} here: run "sudo hms-sys setup" once.`);
  }
  return { meshTier: MeshTier.DNS, meshTierReason: "" };
}
