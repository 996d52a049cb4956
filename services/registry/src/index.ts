import type { CallContext, HmsError, ServiceRegistration } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { stopping } from "./errors.ts";
import { ForeignKeeper } from "./foreign-keeper.ts";
import { ForeignStore } from "./foreign-store.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import type { ForeignServers } from "./ports.ts";
import { Registrations } from "./registrations.ts";
import { registryRegistration } from "./service.ts";
import { type RegistryDatabase, RegistryStore } from "./store.ts";
import { WatchHub } from "./watch-hub.ts";

export { type Announcement, type AnnouncementOptions, announceServices } from "./announcement.ts";
export type { RegistryTables } from "./store.ts";

/** The folder of the registry's migrations. */
export const registryMigrations = new URL("../migrations/", import.meta.url);

const DEFAULT_FOREIGN_LEASE_MS = 30_000;
const DEFAULT_KEEP_LOST_MS = 24 * 3_600_000;

/** What a registry is made of. */
export interface RegistryServiceOptions {
  /** The service's own schema, with the migrations of `registryMigrations` applied. */
  database: RegistryDatabase;
  /** How long a lost instance is shown before it is forgotten; default a day. */
  keepLostMs?: number;
  /** The way to stock gRPC servers; default: none can be registered. */
  foreignServers?: ForeignServers;
  /** How long a stock gRPC server stays available after it was last seen alive; default 30 s. */
  foreignLeaseMs?: number;
  /** Hears what fails with no caller to tell; default: nobody. */
  onFailure?: (failure: HmsError) => void;
}

/** A registry, ready to be registered; disposing it ends its watches with UNAVAILABLE. */
export interface RegistryServiceHandle extends AsyncDisposable {
  readonly registration: ServiceRegistration;
}

/**
 * Creates the registry. It answers at once: what it needs from PostgreSQL it waits for, so a server may start before its
 * database does.
 */
export function createRegistryService(options: RegistryServiceOptions): RegistryServiceHandle {
  const { database, keepLostMs = DEFAULT_KEEP_LOST_MS, onFailure = () => {} } = options;
  const end = new AbortController();
  const store = new RegistryStore(database);
  const hub = new WatchHub((keys) =>
    retryWhileUnavailable(() => store.findAll(keys), { signal: end.signal, deadlineMs: Number.POSITIVE_INFINITY }),
  );
  const leases = new LeaseKeeper(
    {
      expire: () => store.expire(keepLostMs),
      prolong: () => store.prolongAfterOutage(),
      changed: (keys) => hub.touch(keys),
      failed: onFailure,
    },
    end.signal,
  );
  const registrations = new Registrations(store, hub, leases);
  const { foreignServers: servers, foreignLeaseMs = DEFAULT_FOREIGN_LEASE_MS } = options;
  const common = { hub, leases, stopping: end.signal, failed: onFailure, leaseMs: foreignLeaseMs };
  const foreign = servers && new ForeignKeeper({ ...common, servers, store: new ForeignStore(database) });
  const untilEnd = (context: CallContext) => AbortSignal.any([context.signal, end.signal]);
  const ready = leases.sweep();
  void ready.then(() => foreign?.start());
  const registration = registryRegistration({ store, registrations, foreign, hub, ready, untilEnd });
  return {
    registration,
    async [Symbol.asyncDispose]() {
      end.abort(stopping());
      await foreign?.settled();
      await leases.settled();
      await hub.settled();
    },
  };
}
