import { statfsSync } from "node:fs";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { productVersion } from "@hms/config";
import { agent } from "@hms/contracts";
import { implement, type ServiceRegistration } from "@hms/kernel";
import type { Platform } from "./components/platform.ts";
import { bootId } from "./launcher/boot-id.ts";
import type { IsolationReport } from "./launcher/isolation-probe.ts";
import type { ReplicaKeeper } from "./replica/replica-keeper.ts";

/** What the agent's methods act on. */
export interface AgentServiceParts {
  replicas: ReplicaKeeper;
  platform: Platform;
  report: IsolationReport;
  /** The data directory. */
  data: string;
  /** Begins to stop everything; the answer has gone out before the socket closes. */
  shutdown: () => void;
}

const version = productVersion();
const startedAt = new Date();

/** The agent's contract on what it keeps. */
export function agentService({ replicas, platform, report, data, shutdown }: AgentServiceParts): ServiceRegistration {
  return implement(agent.AgentService, {
    getStatus: () => ({
      isolation: report.isolation,
      isolationReason: report.isolationReason,
      meshTier: report.meshTier,
      meshTierReason: report.meshTierReason,
      limitsReason: report.limitsReason,
      components: [ownEntry(), ...platform.describe()],
      version,
      bootId: bootId(),
      ...freeBytes(data),
    }),
    prepareRelease: (request, context) => replicas.prepareRelease(request, context.signal),
    compareRelease: (request) => replicas.compareRelease(request),
    pruneReleases: (request) => replicas.pruneReleases(request),
    startReplica: (request) => replicas.startReplica(request),
    stopReplica: (request) => replicas.stopReplica(request),
    watchReplicas: (request, context) => replicas.watchReplicas(request, context.signal),
    runTask: (request, context) => replicas.runTask(request, context.signal),
    resealReplicas: () => replicas.resealReplicas(),
    readLogs: (request, context) => replicas.readLogs(request, context.signal),
    restartComponent: async ({ component }) => ({ component: await platform.restart(component) }),
    shutdown: () => {
      shutdown();
      return {};
    },
  }) as ServiceRegistration;
}

function freeBytes(directory: string): { freeBytes?: bigint } {
  try {
    const { bavail, bsize } = statfsSync(directory, { bigint: true });
    return { freeBytes: bavail * bsize };
  } catch {
    // Some network file systems do not say.
    return {};
  }
}

function ownEntry() {
  return {
    name: "agent",
    state: agent.ReplicaState.RUNNING,
    pid: BigInt(process.pid),
    startedAt: timestampFromDate(startedAt),
    memoryBytes: BigInt(process.memoryUsage.rss()),
  };
}
