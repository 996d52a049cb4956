import { timestampFromDate } from "@bufbuild/protobuf/wkt";
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
  /** Begins to stop everything; the answer has gone out before the socket closes. */
  shutdown: () => void;
}

const VERSION = "0.1.0";
const startedAt = new Date();

/** The agent's contract on what it keeps. */
export function agentService({ replicas, platform, report, shutdown }: AgentServiceParts): ServiceRegistration {
  return implement(agent.AgentService, {
    getStatus: () => ({
      isolation: report.isolation,
      isolationReason: report.isolationReason,
      meshTier: report.meshTier,
      meshTierReason: report.meshTierReason,
      components: [ownEntry(), ...platform.describe()],
      version: VERSION,
      bootId: bootId(),
    }),
    prepareRelease: (request, context) => replicas.prepareRelease(request, context.signal),
    pruneReleases: (request) => replicas.pruneReleases(request),
    startReplica: (request) => replicas.startReplica(request),
    stopReplica: (request) => replicas.stopReplica(request),
    watchReplicas: (request, context) => replicas.watchReplicas(request, context.signal),
    runTask: (request, context) => replicas.runTask(request, context.signal),
    readLogs: (request, context) => replicas.readLogs(request, context.signal),
    restartComponent: async ({ component }) => ({ component: await platform.restart(component) }),
    shutdown: () => {
      shutdown();
      return {};
    },
  }) as ServiceRegistration;
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
