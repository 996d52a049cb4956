import type { integrationEvents } from "@hms/contracts";
import { type EventLog, openOutbox, outboxTables } from "@hms/events";
import { type CallContext, ChangeSignal, type HmsError, type Kernel, type ServiceRegistration } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import { stopping } from "./errors.ts";
import { eventRegistration } from "./events/event-registration.ts";
import { LiveHub } from "./events/live-hub.ts";
import { CallbackWorker } from "./operations/callback-worker.ts";
import type { CurrentPrincipal } from "./operations/operation-attempt.ts";
import { operationRegistration } from "./operations/operation-registration.ts";
import { type IntegrationTables, OperationStore } from "./operations/operation-store.ts";
import { OperationWorker } from "./operations/operation-worker.ts";

export type { IntegrationTables } from "./operations/operation-store.ts";

/** The folder of the integration service's migrations. */
export const integrationMigrations = new URL("../migrations/", import.meta.url);

/** What else its schema holds: the outbox of published events. */
export const integrationComponents = [outboxTables];

/** What an integration service is made of. */
export interface IntegrationServiceOptions {
  /** The service's own schema, with `integrationMigrations` and `integrationComponents`. */
  database: Pick<ServiceDatabase<IntegrationTables>, "db" | "service" | "isolation">;
  /** The installation's event log. */
  events: EventLog;
  /** Makes the calls of operations and callbacks, authorized for whoever started them. */
  kernel: Kernel;
  /** Who a principal is when its operation runs, later than it was started; undefined: nobody any more. Default: the same. */
  current?: CurrentPrincipal;
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

/** Opens the integration service: calls that outlive their caller, and publishing and subscribing between services. */
export async function openIntegrationService(options: IntegrationServiceOptions): Promise<IntegrationService> {
  const { database, events: log, kernel } = options;
  const { concurrency = 64, leaseMs = 15_000, pollMs = 500, graceMs = 3000, onFailure: failed = () => {} } = options;
  const { current = (principal) => principal } = options;
  const end = new AbortController();
  const untilEnd = (context: CallContext) => AbortSignal.any([context.signal, end.signal]);
  const outbox = await openOutbox({ log, database });
  const store = new OperationStore(database);
  const changes = new ChangeSignal();
  const callbacks = new CallbackWorker({ store, kernel, current, pollMs, failed });
  const changed = () => {
    changes.notify();
    callbacks.wake();
  };
  const worker = new OperationWorker({ store, kernel, current, concurrency, leaseMs, pollMs, changed, failed });
  const live = new LiveHub<integrationEvents.Event>();
  return {
    registrations: [
      operationRegistration({ kernel, store, worker, changes, untilEnd }),
      eventRegistration({ log, outbox, live, untilEnd }),
    ],
    async [Symbol.asyncDispose]() {
      end.abort(stopping());
      await Promise.all([worker.stop(graceMs), callbacks.stop(), outbox[Symbol.asyncDispose]()]);
    },
  };
}
