import { PolicyBook } from "@hms/authorization";
import type { mesh } from "@hms/contracts";
import type { AuditSink, CallContext, Client, HmsError, ServiceRegistration } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { openAccess } from "./access/open-access.ts";
import type { RegistersOf } from "./access/ownership.ts";
import type { KnownPrincipals } from "./access/policy-request.ts";
import { policyRegistration } from "./access/policy-service.ts";
import { revocationsOf } from "./access/revocations.ts";
import { notReadYet, stopping } from "./errors.ts";
import { followMesh } from "./follow-mesh.ts";
import { ForeignKeeper } from "./foreign-keeper.ts";
import { ForeignStore } from "./foreign-store.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import type { ForeignServers } from "./ports.ts";
import { Registrations } from "./registrations.ts";
import { ReplicaShares } from "./replica-shares.ts";
import { type Patience, registryRegistration } from "./service.ts";
import type { Listed } from "./service-listing.ts";
import { SharedReads } from "./shared-reads.ts";
import { type ListingQuery, type RegistryDatabase, RegistryStore } from "./store.ts";
import { WatchHub } from "./watch-hub.ts";

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
  /** The policies that tickets follow; the stored ones are put in force here. Default: stored ones only. */
  policies?: PolicyBook;
  /** Takes what instances tell of their calls; default: nobody does. */
  audit?: AuditSink;
  /** The service ids a principal was given to register; default: nobody was given any. */
  registersOf?: RegistersOf;
  /**
   * The principal of a name as it is known now, for questions about it and for policies that speak of people; default:
   * nobody is known, and names in policies are taken as they are.
   */
  known?: KnownPrincipals;
  /** The way to stock gRPC servers; default: none can be registered. */
  foreignServers?: ForeignServers;
  /** How long a stock gRPC server stays available after it was last seen alive; default 30 s. */
  foreignLeaseMs?: number;
  /** Says what is sent to which replica, so that direct calls are divided alike; default: all instances get the same. */
  mesh?: Pick<Client<typeof mesh.MeshService>, "watchSnapshots">;
  /** Hears what fails with no caller to tell; default: nobody. */
  onFailure?: (failure: HmsError) => void;
}

/** A registry, ready to be registered; disposing it ends its watches with UNAVAILABLE. */
export interface RegistryServiceHandle extends AsyncDisposable {
  readonly registration: ServiceRegistration;
  /** The policies' own service. */
  readonly policies: ServiceRegistration;
  /** Hears of each change of the policy file: the services, as patterns of ids, of which somebody may call less. */
  policyFileChanged(services: readonly string[]): void;
  /** Revokes all tickets of a principal ("user:anna"). */
  revokePrincipal(principal: string): void;
}

function ownBook(): PolicyBook {
  const book = new PolicyBook();
  book.replace("file", []);
  return book;
}

const nowhere: AuditSink = { accepts: true, record: () => {} };

/**
 * Creates the registry. It answers at once: what it needs from PostgreSQL it waits for, so a server may start before its
 * database does.
 */
export function createRegistryService(options: RegistryServiceOptions): RegistryServiceHandle {
  const { database, keepLostMs = DEFAULT_KEEP_LOST_MS, onFailure = () => {} } = options;
  const end = new AbortController();
  const shares = new ReplicaShares();
  const store = new RegistryStore(database, (replica) => shares.of(replica));
  const unhurried = <T>(work: () => Promise<T>) =>
    retryWhileUnavailable(work, { signal: end.signal, deadlineMs: Number.POSITIVE_INFINITY });
  const hub = new WatchHub((keys) => unhurried(() => store.findAll(keys)));
  const leases = new LeaseKeeper(
    {
      expire: () => store.expire(keepLostMs),
      prolong: () => store.prolongAfterOutage(),
      changed: (keys) => void hub.touch(keys),
      failed: onFailure,
    },
    end.signal,
  );
  const registrations = new Registrations(store, hub, leases);
  // After a restart every client's watch begins at once, and most of them ask the same.
  const pages = new SharedReads<Listed[]>();
  const readPage = (query: ListingQuery) => pages.read(JSON.stringify(query), () => store.list(query));
  const { policies: book = ownBook(), audit = nowhere, registersOf = () => undefined } = options;
  const access = openAccess({ database, book, audit, registersOf, hub, signal: end.signal, failed: onFailure });
  const { foreignServers: servers, foreignLeaseMs = DEFAULT_FOREIGN_LEASE_MS } = options;
  const common = { hub, leases, stopping: end.signal, failed: onFailure, leaseMs: foreignLeaseMs };
  const foreign = servers && new ForeignKeeper({ ...common, servers, store: new ForeignStore(database) });
  const untilEnd = (context: CallContext) => AbortSignal.any([context.signal, end.signal]);
  const ready = Promise.all([leases.sweep(), access.ready]).then(() => {});
  void ready.then(() => foreign?.start());
  const following = options.mesh
    ? followMesh({
        mesh: options.mesh,
        signal: end.signal,
        failed: onFailure,
        changed: async (content) => {
          const deployed = shares.take(content);
          if (deployed.length > 0) await hub.touch(await unhurried(() => store.ofReplicas(deployed)));
        },
      })
    : undefined;
  const patiently = patience(ready, untilEnd);
  return {
    registration: registryRegistration({ store, registrations, foreign, hub, readPage, access, patiently, untilEnd }),
    policies: policyRegistration({ book, keeper: access.keeper, known: options.known, patiently, untilEnd }),
    policyFileChanged: (services) => access.keeper.fileChanged(services),
    revokePrincipal: (principal) =>
      access.revocations.revoke(revocationsOf([""]).map((each) => ({ ...each, principal }))),
    async [Symbol.asyncDispose]() {
      end.abort(stopping());
      await following;
      await foreign?.settled();
      await leases.settled();
      await hub.settled();
      await access.settled();
    },
  };
}

/** How long a call without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;

/** Every method may safely be tried again while PostgreSQL is away. */
function patience(ready: Promise<void>, untilEnd: (context: CallContext) => AbortSignal): Patience {
  return async (context, work) => {
    const signal = untilEnd(context);
    const deadlineMs = context.remainingMs ?? PATIENCE_MS;
    await inTime(ready, deadlineMs);
    return retryWhileUnavailable(work, { signal, deadlineMs });
  };
}

/** A registry that has started before its database is not waited for without end. */
async function inTime(ready: Promise<void>, ms: number): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(notReadYet()), ms);
  await Promise.race([ready, late.promise]).finally(() => clearTimeout(timer));
}
