import type { HostEnvironment, InstanceNetwork, InstancePaths } from "@hms/config";
import { ProgramSecrets } from "../replica/program-secrets.ts";
import { type ControlGroups, openControlGroups } from "./control-groups.ts";
import { closeInheritedDescriptors } from "./inherited-descriptors.ts";
import { controlGroupName, type IsolationReport } from "./isolation-probe.ts";
import { Surroundings } from "./surroundings.ts";

/** One installation on this machine, as launches see it. */
export interface Machine {
  paths: InstancePaths;
  network: InstanceNetwork;
  report: IsolationReport;
  surroundings: Surroundings;
  groups: ControlGroups;
  secrets: ProgramSecrets;
}

/** Puts together what every launch needs; `report` comes from probeIsolation. */
export function createMachine(options: {
  paths: InstancePaths;
  network: InstanceNetwork;
  host: HostEnvironment;
  report: IsolationReport;
}): Machine {
  const { paths, network, host, report } = options;
  closeInheritedDescriptors();
  return {
    paths,
    network,
    report,
    surroundings: new Surroundings(report.isolation, { paths, host, network }),
    groups: openControlGroups(controlGroupName(paths)),
    secrets: new ProgramSecrets(paths.sealingKey),
  };
}

/** Processes and threads of one program if its spec says nothing. */
const DEFAULT_MAX_PROCESSES = 512;

/** The limits of a spec as the kernel gets them. */
export function kernelLimits(limits: { memoryBytes: bigint; cpuMillicores: number; maxProcesses: number } | undefined) {
  return {
    memoryBytes: Number(limits?.memoryBytes ?? 0n),
    cpuMillicores: limits?.cpuMillicores ?? 0,
    maxProcesses: limits?.maxProcesses || DEFAULT_MAX_PROCESSES,
  };
}
