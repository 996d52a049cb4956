import { mkdir, readdir } from "node:fs/promises";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { SecretMask } from "@hms/secrets";
import type { ControlGroup } from "../launcher/control-groups.ts";
import { adoptProcess, launchProcess } from "../launcher/launch-process.ts";
import type { LaunchedProcess } from "../launcher/launched-process.ts";
import { kernelLimits, type Machine } from "../launcher/machine.ts";
import { programEnvironment } from "./program-environment.ts";
import type { ReplicaRecord } from "./replica-journal.ts";
import { replicaKey } from "./replica-name.ts";
import { isPortFree } from "./slot-allocator.ts";

/** A replica's running program and what limits it. */
export interface RunningProgram {
  process: LaunchedProcess;
  group: ControlGroup;
  /** Hides its secrets in what it says. */
  mask: SecretMask;
}

/** Where the FIFOs and the status file of a replica lie. */
export function replicaStateDirectory(machine: Machine, replicaId: string): string {
  return `${machine.paths.run}/replicas/${replicaKey(replicaId)}`;
}

/** The state directories that belong to no known replica. */
export async function strayStateDirectories(machine: Machine, known: ReadonlyMap<string, unknown>): Promise<string[]> {
  const root = `${machine.paths.run}/replicas`;
  const keys = new Set([...known.keys()].map(replicaKey));
  const names = await readdir(root).catch(() => []);
  return names.filter((name) => !keys.has(name)).map((name) => `${root}/${name}`);
}

/** Starts a replica's program in its release. @throws HmsError if it cannot be launched. */
export async function launchReplica(
  machine: Machine,
  { spec, slot }: ReplicaRecord,
  { attempt, directory }: { attempt: number; directory: string },
): Promise<RunningProgram> {
  if (!(await isPortFree(slot))) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `Port ${slot}, which belongs to this replica, is used by another program.`,
    );
  }
  const { surroundings, groups, report } = machine;
  const secrets = machine.secrets.open(spec);
  const stateDirectory = replicaStateDirectory(machine, spec.replicaId);
  const home = surroundings.contained ? "/tmp" : `${stateDirectory}/home`;
  await mkdir(surroundings.contained ? stateDirectory : home, { recursive: true, mode: 0o700 });
  const limits = kernelLimits(spec.limits);
  const group = groups.create(replicaKey(spec.replicaId), limits);
  const dnsAddress = report.meshTier === agent.MeshTier.DNS ? spec.mesh?.dnsAddress : undefined;
  const own = {
    PORT: String(slot),
    HMS_SERVICE: spec.service,
    HMS_ENVIRONMENT: spec.environment,
    HMS_REPLICA: spec.replicaId,
    HMS_REVISION: String(spec.revision),
  };
  const { programPath: path, toolPath } = surroundings;
  const launched = launchProcess({
    stateDirectory,
    label: spec.replicaId,
    attempt,
    command: spec.command,
    env: programEnvironment({
      env: { ...spec.env, ...secrets.env },
      path,
      home,
      mesh: spec.mesh,
      meshTier: report.meshTier,
      own,
    }),
    workingDirectory: directory,
    toolPath,
    sandbox: surroundings.sandbox({ slot, directory, dnsAddress, ffi: true }),
    controlGroups: group.directories,
    // Without a user of its own the limit would count the operator's processes.
    maxProcesses: surroundings.countsProcesses ? limits.maxProcesses : undefined,
  });
  const process = await launched.catch(async (error: unknown) => {
    await group.remove();
    throw error;
  });
  return { process, group, mask: secrets.mask };
}

/** Takes over a replica's program from an earlier agent; undefined if it does not run any more. */
export async function adoptReplica(machine: Machine, spec: agent.ReplicaSpec): Promise<RunningProgram | undefined> {
  const { replicaId } = spec;
  const stateDirectory = replicaStateDirectory(machine, replicaId);
  const process = await adoptProcess(stateDirectory);
  if (!process) return undefined;
  const main = await process.waitForMain();
  return { process, group: machine.groups.adopt(main?.pid ?? 0, replicaKey(replicaId)), mask: maskOf(machine, spec) };
}

/** Without the key nothing can be hidden; what runs is more than its log. */
function maskOf({ secrets }: Machine, spec: agent.ReplicaSpec): SecretMask {
  try {
    return secrets.open(spec).mask;
  } catch {
    return new SecretMask([]);
  }
}
