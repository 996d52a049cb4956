import type { mesh } from "@hms/contracts";
import type { AuditSink, Client, Policy } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { SealingKey } from "@hms/secrets";
import type { Logger } from "@hms/telemetry";
import type { DeploymentRuntime, ReplicaMethods } from "./ports.ts";
import type { CredentialsOf } from "./replica-keeper.ts";
import type { NewsOutbox } from "./rollout-news.ts";
import type { DeploymentTables } from "./tables.ts";

/** What a deployment service is made of. */
export interface DeploymentServiceOptions {
  /** The service's own schema, with the migrations of `deploymentMigrations` applied. */
  database: ServiceDatabase<DeploymentTables>;
  /** The mesh; without the right to `mesh:read` and `mesh:write` no rollout gets far. */
  mesh: Client<typeof mesh.MeshService>;
  runtime: DeploymentRuntime;
  /** Asks methods of replicas, for gates; default: nobody can. */
  methods?: ReplicaMethods;
  /** Variables by which a service's replicas call the platform; the same each time. Default: none. */
  credentials?: CredentialsOf;
  /** Seals secrets of services. Default: none can be set or revealed. */
  sealing?: SealingKey;
  /** Looks closer at calls that the kernel has let in: whom a service belongs to. Default: they may do everything. */
  policy?: Policy;
  /** What `auth` is for routes whose manifest does not say it, asked for each manifest; default public. */
  routesDefaultAuth?: () => "public" | "required";
  /** Where the steps of rollouts are published; default: nowhere. */
  outbox?: NewsOutbox;
  /** The folder of what lets a rollback work while the database is away; default: none, it does not then. */
  kept?: string;
  log: Logger;
  /** Hears of what the platform removes by itself; default: nobody. */
  audit?: Pick<AuditSink, "record">;
  /** The clock of previews, in epoch milliseconds; default the process's. */
  now?: () => number;
  /** Called at every moment at which a crash must do no harm, before it goes on; for tests that crash there. */
  checkpoint?: (moment: string) => void;
}
