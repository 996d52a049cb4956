import { type DatabaseRole, launcherPath } from "@hms/config";
import { agent, type mesh } from "@hms/contracts";
import { enumWord, humanBytes } from "../output/human.ts";
import type { Finding } from "./finding.ts";

/** More restarts than these say that a part does not run well. */
const MANY_RESTARTS = 3;
const RESTART_DATA_PLANE = "hms-sys restart-component dataplane";

/** What the agent says of the machine and of the platform's processes. */
export function agentFindings(status: agent.GetStatusResponse): Finding[] {
  return [isolation(status), limits(status), meshTier(status), ...status.components.map(component)];
}

function isolation({ isolation, isolationReason }: agent.GetStatusResponse): Finding {
  const check = "isolation";
  const finding = `${enumWord(agent.Isolation, isolation)}${isolationReason ? `: ${isolationReason}` : ""}`;
  if (isolation !== agent.Isolation.NONE) return { check, level: "ok", finding };
  const remedy = "run as root, or allow user namespaces; until then every service can read what you can";
  return { check, level: "warning", finding, remedy };
}

function limits({ limitsReason }: agent.GetStatusResponse): Finding {
  const check = "limits";
  if (limitsReason === "") return { check, level: "ok", finding: "memory and processor limits are kept by the kernel" };
  const remedy =
    "start it where it may divide its control group, or set no resources.cpu; until then memory is measured from outside, and a service can take the processor from others";
  return { check, level: "warning", finding: `not all limits are kept: ${limitsReason}`, remedy };
}

function meshTier({ meshTier, meshTierReason, isolation }: agent.GetStatusResponse): Finding {
  const check = "mesh tier";
  if (meshTier === agent.MeshTier.DNS) {
    return { check, level: "ok", finding: "1, by DNS: every program resolves *.mesh" };
  }
  const isIsolated = isolation !== agent.Isolation.NONE;
  const setup = `sudo ${launcherPath()} setup, once; then stop and start the platform`;
  const remedy = isIsolated ? setup : "it takes isolation first, see above";
  return { check, level: "warning", finding: `2, by proxy variables: ${meshTierReason}`, remedy };
}

function component({ name, state, pid, restarts, memoryBytes }: agent.Component): Finding {
  const times = `${restarts} ${restarts === 1 ? "restart" : "restarts"}`;
  const finding = `${enumWord(agent.ReplicaState, state)}, pid ${pid}, ${humanBytes(memoryBytes)}, ${times}`;
  const log = `logs/${name}.log in the data directory`;
  if (state !== agent.ReplicaState.RUNNING)
    return { check: name, level: "problem", finding, remedy: `its log: ${log}` };
  if (restarts <= MANY_RESTARTS) return { check: name, level: "ok", finding };
  const remedy = `why it ended is in ${log}; the count begins anew when the platform is started`;
  return { check: name, level: "warning", finding, remedy };
}

/** Whether every data plane serves what is wanted. */
export function dataPlaneFindings({ version, nodes }: mesh.GetSnapshotResponse): Finding[] {
  const check = "data plane";
  if (nodes.length === 0) {
    const finding = "none is connected; it serves its last snapshot";
    return [{ check, level: "problem", finding, remedy: RESTART_DATA_PLANE }];
  }
  return nodes.map(({ nodeId, appliedVersion }) => {
    const finding = `${nodeId} serves snapshot ${appliedVersion} of ${version}`;
    if (appliedVersion >= version) return { check, level: "ok", finding };
    const remedy = `look again in a moment; if it stays behind: ${RESTART_DATA_PLANE} (no request is lost)`;
    return { check, level: "warning", finding, remedy };
  });
}

/** Whether services are kept apart in the database. */
export function databaseRoleFindings(roles: readonly DatabaseRole[]): Finding[] {
  const check = "database roles";
  const shared = roles.filter(({ sharedBecause }) => sharedBecause !== "");
  if (roles.length === 0) return [];
  if (shared.length === 0) return [{ check, level: "ok", finding: "every service has its own" }];
  return [...new Set(shared.map(({ sharedBecause }) => sharedBecause))].map((reason) => {
    const own = shared.filter(({ sharedBecause }) => sharedBecause === reason);
    const [, why = reason, remedy = "ask the database's administrator for CREATEROLE"] =
      /^(.*?\.) (To separate .*)$/s.exec(reason) ?? [];
    const services = own.map(({ service }) => service).join(", ");
    return {
      check,
      level: "warning",
      finding: `${services} share the role ${own[0]?.role}: ${why}`,
      remedy,
    };
  });
}
