import { type CallContext, ChangeSignal, type HmsError, type Kernel, type ServiceRegistration } from "@hms/kernel";
import { CallbackWorker } from "./callback-worker.ts";
import { stopping } from "./errors.ts";
import { OperationWorker } from "./operation-worker.ts";
import { operationRegistration } from "./operations.ts";
import { type IntegrationDatabase, OperationStore } from "./store.ts";

export type { IntegrationTables } from "./store.ts";

/** The folder of the integration service's migrations. */
export const integrationMigrations = new URL("../migrations/", import.meta.url);

/** What an integration service is made of. */
export interface IntegrationServiceOptions {
  /** The service's own schema, with the migrations of `integrationMigrations` applied. */
  database: IntegrationDatabase;
  /** Makes the calls of operations and callbacks, authorized for whoever started them. */
  kernel: Kernel;
  /** Operations run at once in this process; default 64. */
  concurrency?: number;
  /** How long an operation stays a process's that says nothing; default 15 s. */
  leaseMs?: number;
  /** How often this process looks for what is due without being told; default 500 ms. */
  pollMs?: number;
  /** How long running operations may take to end when the service stops; default 3 s. */
  graceMs?: number;
  /** Hears what fails in the background; it is tried again. Default: nobody. */
  onFailure?: (failure: HmsError) => void;
}

/** An integration service, ready to be registered; disposing it lets go of what runs. */
export interface IntegrationService extends AsyncDisposable {
  readonly registrations: readonly ServiceRegistration[];
}

/** Creates the integration service: calls that outlive their caller. */
export function createIntegrationService(options: IntegrationServiceOptions): IntegrationService {
  const { database, kernel, concurrency = 64, leaseMs = 15_000, pollMs = 500, graceMs = 3000 } = options;
  const failed = options.onFailure ?? (() => {});
  const end = new AbortController();
  const store = new OperationStore(database);
  const changes = new ChangeSignal();
  const callbacks = new CallbackWorker({ store, kernel, pollMs, failed });
  const changed = () => {
    changes.notify();
    callbacks.wake();
  };
  const worker = new OperationWorker({ store, kernel, concurrency, leaseMs, pollMs, changed, failed });
  const untilEnd = (context: CallContext) => AbortSignal.any([context.signal, end.signal]);
  return {
    registrations: [operationRegistration({ kernel, store, worker, changes, untilEnd })],
    async [Symbol.asyncDispose]() {
      end.abort(stopping());
      await Promise.all([worker.stop(graceMs), callbacks.stop()]);
    },
  };
}
