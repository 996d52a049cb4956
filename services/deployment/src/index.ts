import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { mesh } from "@hms/contracts";
import type { Client, ServiceRegistration } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";
import { HealthMonitor } from "./health/health-monitor.ts";
import type { DeploymentRuntime } from "./ports.ts";
import { Reconciler } from "./reconciler.ts";
import { RolloutJournal } from "./rollout-journal.ts";
import { RolloutRequests } from "./rollout-requests.ts";
import { RolloutRunner } from "./rollout-runner.ts";
import { deploymentRegistration } from "./service.ts";
import { ServiceViews } from "./service-views.ts";
import { DeploymentStore } from "./store.ts";
import type { DeploymentTables } from "./tables.ts";
import { Traffic } from "./traffic.ts";

export type { DeploymentTables } from "./tables.ts";

/** The folder of the deployment's migrations. */
export const deploymentMigrations = new URL("../migrations/", import.meta.url);

/** What a deployment service is made of. */
export interface DeploymentServiceOptions {
  /** The service's own schema, with the migrations of `deploymentMigrations` applied. */
  database: ServiceDatabase<DeploymentTables>;
  mesh: Client<typeof mesh.MeshService>;
  runtime: DeploymentRuntime;
  log: Logger;
}

/** A deployment service; disposing it stops where it is, and the next one carries on. */
export interface DeploymentService extends AsyncDisposable {
  readonly registration: ServiceRegistration;
}

const CALLER_PATIENCE_MS = 10_000;
const START_AGAIN_MS = 500;
/** A rollout that nobody drives, because the database failed at the wrong moment, is found this soon. */
const RESUME_MS = 5_000;

/** Creates the deployment service, follows what runs, and carries on rollouts that have not ended. */
export function createDeploymentService({ database, mesh, runtime, log }: DeploymentServiceOptions): DeploymentService {
  const store = new DeploymentStore(database);
  const patient = store.withPatience(CALLER_PATIENCE_MS);
  const health = new HealthMonitor();
  const journal = new RolloutJournal(store);
  const traffic = new Traffic({ store, mesh, health, log });
  const owner = `${process.pid}-${randomBytes(4).toString("hex")}`;
  const runner = new RolloutRunner({ store, runtime, traffic, health, journal, log, owner });
  const reconciler = new Reconciler({ store, runtime, traffic, health, log });
  const requests = new RolloutRequests({ store: patient, journal, runner });
  let isClosed = false;
  const begin = async () => {
    while (!isClosed) {
      try {
        await reconciler.start();
        for (const rollout of await store.rollouts.running()) runner.run(rollout);
        return;
      } catch (error) {
        log.warn("what runs is not known yet; trying again", { error });
        await delay(START_AGAIN_MS);
      }
    }
  };
  const began = begin();
  const resume = async () => {
    const newest = Date.now() - RESUME_MS;
    for (const rollout of await patient.rollouts.running()) {
      if (rollout.startedAt.getTime() < newest && !isClosed) runner.run(rollout);
    }
  };
  const resuming = setInterval(() => {
    resume().catch((error) => log.warn("it is not known which rollouts run; it is looked up again", { error }));
  }, RESUME_MS);
  return {
    registration: deploymentRegistration({
      store: patient,
      journal,
      requests,
      views: new ServiceViews(patient, health),
      runtime,
      traffic,
    }),
    async [Symbol.asyncDispose]() {
      isClosed = true;
      clearInterval(resuming);
      reconciler.close();
      await runner.close();
      health.close();
      await Promise.race([began, delay(1000)]);
    },
  };
}
